//! A wire to a server and what it is made of: opened late, closed after a failure, left alone in a forked child.

use std::fmt::Debug;

use hiq_core::fork;
use hiq_core::transport::{TransportError, TransportErrorKind as Kind};
use rustls::ClientConfig;

use crate::outgoing::Outgoing;
use crate::peer::Peer;
use crate::progress::{Progress, Stage};
use crate::tls;

/// A connection with its private runtime.
pub trait Wire: Debug {
    /// Closes an idle connection as its protocols want it, goodbyes first.
    fn close_properly(self);
    /// Closes it at once, without waiting for anything. In a forked child: forgets it, for it is the parent's.
    fn close(self);
}

/// The one wire of a transport.
#[derive(Debug)]
pub struct Line<W: Wire> {
    /// Opened by the first payload, and again after an attempt that failed and in a forked child.
    wire: Option<W>,
    /// What the certificate files held; read again after a TLS error.
    tls: Option<ClientConfig>,
    outgoing: Outgoing,
    progress: Progress,
    /// The process that all this belongs to.
    generation: u32,
}

/// A wire that is ready for an attempt.
#[derive(Debug)]
pub struct Ready<'a, W> {
    /// The wire.
    pub wire: &'a mut W,
    /// Makes the body.
    pub outgoing: &'a mut Outgoing,
    /// How far the attempt has come.
    pub progress: &'a Progress,
}

impl<W: Wire> Default for Line<W> {
    fn default() -> Self {
        Self {
            wire: None,
            tls: None,
            outgoing: Outgoing::default(),
            progress: Progress::default(),
            generation: fork::generation(),
        }
    }
}

impl<W: Wire> Line<W> {
    /// The wire for the next attempt: the one that is there, or what `open` makes with the settings of TLS; those are from
    /// `files`, or [`tls::none`].
    pub fn ready(
        &mut self,
        peer: &Peer,
        files: Option<&tls::Files>,
        open: impl FnOnce(ClientConfig, &Progress) -> Result<W, TransportError>,
    ) -> Result<Ready<'_, W>, TransportError> {
        self.progress.is_at(Stage::Connecting);
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => open(self.tls_config(peer, files)?, &self.progress)?,
        };
        Ok(Ready {
            wire: self.wire.insert(wire),
            outgoing: &mut self.outgoing,
            progress: &self.progress,
        })
    }

    fn tls_config(
        &mut self,
        peer: &Peer,
        files: Option<&tls::Files>,
    ) -> Result<ClientConfig, TransportError> {
        if let Some(config) = &self.tls {
            return Ok(config.clone());
        }
        let config = files.map_or_else(tls::none, tls::Files::load);
        let config = config.map_err(|wrong| peer.wrong_tls_files(&wrong))?;
        self.tls = Some(config.clone());
        Ok(config)
    }

    /// After an attempt that failed: a connection that failed is of no more use, and what led to it may have changed: names,
    /// certificates, proxies.
    pub fn start_over(&mut self, kind: Kind) {
        self.close();
        if kind == Kind::Tls {
            self.tls = None;
        }
    }

    /// Before an attempt: in a forked child everything under way is the parent's business.
    pub fn leave_parents(&mut self) {
        if self.generation != fork::generation() {
            self.close();
            *self = Self::default();
        }
    }

    /// At the end: says goodbye as the protocols want it.
    pub fn close_properly(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.close_properly();
        }
    }

    fn close(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.close();
        }
    }
}

impl<W: Wire> Drop for Line<W> {
    fn drop(&mut self) {
        self.close();
    }
}
