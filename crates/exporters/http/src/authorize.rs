//! Headers that are made anew for each attempt.

use std::fmt;

use hiq_core::config::{Endpoint, Secret};
use hiq_core::export::Deadline;
use hiq_core::transport::TransportError;

use crate::Method;

/// Signs requests, or adds credentials that expire. Called on the transport's worker thread.
pub trait Authorizer: fmt::Debug + Send {
    /// Headers for one attempt; each replaces the transport's own of that name. An error ends the attempt.
    fn headers(&mut self, draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError>;

    /// The far side did not accept them: fetches new credentials. False when there are none to fetch.
    fn renew(&mut self, _deadline: &Deadline) -> bool {
        false
    }
}

/// The request that an [`Authorizer`] sees.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Draft<'a> {
    /// The method.
    pub method: Method,
    /// The address, with its query.
    pub endpoint: &'a Endpoint,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The bytes as they are sent, compressed or not.
    pub body: &'a [u8],
    /// When the attempt ends, for authorizers that have to fetch something first.
    pub deadline: &'a Deadline,
}
