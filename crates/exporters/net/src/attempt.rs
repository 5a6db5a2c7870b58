//! An attempt that has ended without a reply: what became of it, where every protocol says the same.

use std::error::Error;
use std::io;
use std::time::Instant;

use hiq_core::export::Deadline;
use hiq_core::transport::{TransportError, TransportErrorKind as Kind};

use crate::explain::innermost_io;
use crate::peer::Peer;
use crate::progress::Stage;

/// An attempt that has ended.
#[derive(Debug)]
pub struct Attempt<'a> {
    peer: &'a Peer,
    deadline: &'a Deadline,
    began: Instant,
    stage: Stage,
}

impl<'a> Attempt<'a> {
    /// To `peer` until `deadline`; it came as far as `stage`.
    pub fn new(peer: &'a Peer, deadline: &'a Deadline, began: Instant, stage: Stage) -> Self {
        Self {
            peer,
            deadline,
            began,
            stage,
        }
    }

    /// Who it went to.
    pub fn peer(&self) -> &'a Peer {
        self.peer
    }

    /// How far it came.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The deadline was over, or pulled forward.
    pub fn out_of_time(&self) -> TransportError {
        let seconds = self.began.elapsed().as_secs_f64();
        if self.deadline.is_pulled() {
            let what =
                format!("given up after {seconds:.1} s, because the exporter is told to stop");
            return self.peer.says(Kind::Cancelled, what);
        }
        if self.stage == Stage::Sending {
            let what = format!(
                "no whole reply within {seconds:.1} s; the server is slow, or the timeout too short"
            );
            return self.peer.says(Kind::Timeout, what);
        }
        self.no_connection_in_time()
    }

    /// The time for connecting was over.
    pub fn no_connection_in_time(&self) -> TransportError {
        let seconds = self.began.elapsed().as_secs_f64();
        let peer = self.peer.nearest();
        if self.stage == Stage::LookingUp {
            let what = format!(
                "the name of {peer} was not looked up within {seconds:.1} s; does DNS work here?"
            );
            return self.peer.says(Kind::Dns, what);
        }
        let what = format!(
            "{peer} did not {} within {seconds:.1} s; is the address right, and no firewall in between?",
            self.peer.connects()
        );
        self.peer.says(Kind::Connect, what)
    }

    /// The name has no address.
    pub fn unknown_name(&self, error: &(dyn Error + 'static)) -> TransportError {
        let why = innermost_io(error).map_or_else(String::new, |io| format!(" ({io})"));
        let what = format!(
            "the name of {} is not known{why}; is it spelled right, and does DNS work here?",
            self.peer.nearest()
        );
        self.peer.says(Kind::Dns, what)
    }

    /// There is no connection; `why`, where the system says it.
    pub fn unconnected(&self, why: Option<&io::Error>) -> TransportError {
        let peer = self.peer.nearest();
        let what = match why {
            Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
                let who = self.peer.nearest_is();
                format!("connection refused by {peer}; is {who} listening there?")
            }
            Some(io) => format!("no connection to {peer}: {io}"),
            None => format!("no connection to {peer}"),
        };
        self.peer.says(Kind::Connect, what)
    }

    /// `who`, the server or the proxy, closed the connection when TLS began.
    pub fn no_tls_wanted(&self, who: &str) -> TransportError {
        let what = format!(
            "{who} closed the connection instead of agreeing on TLS; is it a plain-text port? then write http://"
        );
        self.peer.says(Kind::Tls, what)
    }
}

#[cfg(test)]
mod tests {
    use hiq_core::config::Endpoint;

    use super::*;

    /// A name server that does not answer cannot be had in a test; the transports' tests have the other cases.
    #[test]
    fn a_name_that_is_not_found_in_time_is_told_apart_from_a_server_that_is_not() {
        let endpoint = Endpoint::parse("test", "http://collector.example:4318/").unwrap();
        let shown = endpoint.to_string();
        let peer = Peer::new(shown, &endpoint, None, None, "accept a connection");
        let deadline = Deadline::never();
        let at = |stage| Attempt::new(&peer, &deadline, Instant::now(), stage).out_of_time();
        let lookup = at(Stage::LookingUp);
        assert_eq!(lookup.kind, Kind::Dns);
        assert!(
            lookup
                .message
                .contains("the name of collector.example:4318 was not looked up")
        );
        let connect = at(Stage::Connecting);
        assert_eq!(connect.kind, Kind::Connect);
        assert!(
            connect
                .message
                .contains("collector.example:4318 did not accept a connection within")
        );
        assert_eq!(at(Stage::Sending).kind, Kind::Timeout);
    }
}
