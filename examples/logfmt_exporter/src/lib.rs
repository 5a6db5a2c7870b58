//! Spans as logfmt lines (`key=value key="a value"`), sent to whatever takes lines over TCP.
//!
//! An exporter is two things: an [`Encoder`], which knows the format and what an answer means, and a [`Transport`], which knows the
//! wire. Queue, worker, retries, spool, deadlines and the ledger are the pipeline's.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::config::ConfigError;
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Page, Verdict, fill};
use hiq_core::export::{Deadline, Exporter};
use hiq_core::span::{Span, Status};
use hiq_core::transport::{
    Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};

/// What a pipeline is given: `Pipeline::builder().exporter("logfmt", move || logfmt.build())`.
#[derive(Clone, Copy, Debug)]
pub struct LogfmtExporter {
    address: SocketAddr,
}

impl LogfmtExporter {
    /// Sends to `address`. Opens nothing yet.
    pub fn new(address: &str) -> Result<Self, ConfigError> {
        let parsed = address.parse();
        parsed.map(|address| Self { address }).map_err(|_| {
            let problem = format!("`{}` is no address", address.escape_debug());
            ConfigError::new("address", problem, "write it as 127.0.0.1:5170")
        })
    }

    /// The exporter; the pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let transport = Lines::to(self.address);
        Ok(Box::new(EncodedExporter::new(
            LogfmtEncoder,
            transport,
            DeliveryOptions::default(),
        )))
    }
}

/// The format.
#[derive(Debug)]
pub struct LogfmtEncoder;

impl Encoder<TreeBatch> for LogfmtEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("logfmt", "text/plain")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        // `fill` decides which spans go in; the page only writes them.
        fill(
            cursor,
            limits,
            &mut LinesPage {
                before_last: out.len(),
                start: out.len(),
                out,
            },
        )
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        match reply {
            // A line that was written may still be lost: nobody answers.
            Reply::Unconfirmed => Verdict::SentUnconfirmed,
            other => Verdict::Rejected {
                message: format!("{other:?} is no answer to lines"),
            },
        }
    }
}

struct LinesPage<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    before_last: usize,
}

impl<'a> Page<'a> for LinesPage<'_> {
    fn push(&mut self, span: Span<'a>) -> bool {
        self.before_last = self.out.len();
        self.out.extend_from_slice(line(span).as_bytes());
        true
    }

    fn fits(&self, max_bytes: usize) -> bool {
        self.out.len() - self.start <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before_last);
    }

    fn finish(&mut self) {}
}

fn line(span: Span<'_>) -> String {
    let mut line = format!("trace_id={} span_id={}", span.trace_id(), span.id());
    if let Some(parent) = span.parent_id() {
        let _ = write!(line, " parent_id={parent}");
    }
    push(&mut line, "service", span.tree().resource().service_name());
    push(&mut line, "name", span.name().as_str());
    let _ = write!(line, " duration_ns={}", span.duration_nanos());
    if span.status() == Status::Error {
        line.push_str(" error=true");
    }
    let mut scratch = Vec::new();
    for (key, value) in span.attributes() {
        push(&mut line, key.as_str(), value.text(&mut scratch));
    }
    line.push('\n');
    line
}

/// ` key=value`, in quotes where it needs them.
fn push(line: &mut String, key: &str, value: &str) {
    let key = key.replace(
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '"'),
        "_",
    );
    let is_plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '=' | '"' | '\\');
    if !value.is_empty() && value.chars().all(is_plain) {
        let _ = write!(line, " {key}={value}");
    } else {
        let _ = write!(line, " {key}=\"{}\"", value.escape_default());
    }
}

/// The wire: a connection that is made with the first payload, and again after an error.
#[derive(Debug)]
struct Lines {
    address: SocketAddr,
    connection: Option<TcpStream>,
    settled: Vec<Outcome>,
}

impl Lines {
    fn to(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
            settled: Vec::new(),
        }
    }

    fn send(&mut self, body: &[u8], within: Duration) -> std::io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(TcpStream::connect_timeout(&self.address, within)?),
        };
        connection.set_write_timeout(Some(within))?;
        connection.write_all(body)
    }
}

impl Transport for Lines {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(1 << 20)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        const LONGEST: Duration = Duration::from_secs(10);
        let left = deadline.remaining().unwrap_or(LONGEST).min(LONGEST);
        let sent = self.send(payload.body, left.max(Duration::from_millis(1)));
        let result = sent.map(|()| Reply::Unconfirmed).map_err(|error| {
            self.connection = None;
            let message = format!(
                "{}: {error}; does something take lines there?",
                self.address
            );
            // An error of which sending again may get rid: the pipeline does.
            TransportError::new(TransportErrorKind::Connect, message)
        });
        self.settled.push(Outcome::new(id, result));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }
}
