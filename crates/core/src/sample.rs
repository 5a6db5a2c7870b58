//! Which traces are kept: decided once at the root, and looked at again when a fragment is complete.

use std::time::Duration;

use crate::context::Context;
use crate::id::TraceId;
use crate::span::Status;
use crate::time::duration_nanos;
use crate::tree::SpanTree;

/// Decides at the root of a fragment whether it is recorded, by OpenTelemetry's rules.
///
/// ```
/// # use hiq_core::context::Context;
/// # use hiq_core::id::{SpanId, TraceId};
/// # use hiq_core::sample::{RootSampler, Sampler};
/// let sampler = Sampler::new(RootSampler::AlwaysOff, true);
/// let parent = Context::local(TraceId::random(), SpanId::next(), 1);
/// assert!(sampler.samples(parent.trace_id, Some(&parent)));
/// assert!(!sampler.samples(TraceId::random(), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    root: RootSampler,
    follows_parent: bool,
}

/// What decides when there is no parent to follow.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RootSampler {
    /// Every trace.
    AlwaysOn,
    /// No trace.
    AlwaysOff,
    /// A share of the traces, chosen by their ids, so that every process chooses the same ones.
    TraceIdRatio(TraceIdRatio),
}

/// A share of all trace ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceIdRatio {
    ratio: f64,
    /// Of the 2^63 values that the last 63 bits but one of an id can have, those below are sampled.
    bound: u64,
}

impl Sampler {
    /// Asks `root`, unless `follows_parent` and there is a parent, whose decision then counts.
    pub const fn new(root: RootSampler, follows_parent: bool) -> Self {
        Self {
            root,
            follows_parent,
        }
    }

    /// True when a fragment of `trace_id` under `parent` is to be recorded.
    #[inline]
    pub fn samples(&self, trace_id: TraceId, parent: Option<&Context>) -> bool {
        match parent {
            Some(parent) if self.follows_parent && parent.counts() && !parent.is_deferred => {
                parent.is_sampled()
            }
            _ => self.root.samples(trace_id),
        }
    }

    /// True when no trace is ever left out.
    pub fn is_always_on(&self) -> bool {
        self.root == RootSampler::AlwaysOn && !self.follows_parent
    }

    /// What decides when there is no parent to follow.
    pub fn root(&self) -> RootSampler {
        self.root
    }

    /// Whether a parent's decision counts.
    pub fn follows_parent(&self) -> bool {
        self.follows_parent
    }
}

/// OpenTelemetry's `parentbased_always_on`.
impl Default for Sampler {
    fn default() -> Self {
        Self::new(RootSampler::AlwaysOn, true)
    }
}

impl RootSampler {
    /// The share `ratio` of all traces; at or below 0 (and for NaN) none, at or above 1 all.
    pub fn trace_id_ratio(ratio: f64) -> Self {
        Self::TraceIdRatio(TraceIdRatio::new(ratio))
    }

    #[inline]
    fn samples(self, trace_id: TraceId) -> bool {
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            Self::TraceIdRatio(ratio) => ratio.contains(trace_id),
        }
    }
}

impl TraceIdRatio {
    /// The share `ratio`, brought into 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the product lies between 0 and 2^63, both exact"
    )]
    pub fn new(ratio: f64) -> Self {
        let ratio = if ratio.is_nan() {
            0.0
        } else {
            ratio.clamp(0.0, 1.0)
        };
        Self {
            ratio,
            bound: (ratio * (1_u64 << 63) as f64) as u64,
        }
    }

    /// The share, from 0 to 1.
    pub fn ratio(self) -> f64 {
        self.ratio
    }

    /// True for ids within the share.
    #[inline]
    pub fn contains(self, trace_id: TraceId) -> bool {
        let low = trace_id.0[8..]
            .iter()
            .fold(0_u64, |low, byte| low << 8 | u64::from(*byte));
        low >> 1 < self.bound
    }
}

/// What is kept of completed fragments although the head sampler left their trace out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepRules {
    /// Fragments with a span whose status is an error.
    pub errors: bool,
    /// Fragments that took longer, from the first start to the last end.
    pub slower_than: Option<Duration>,
}

impl KeepRules {
    /// Rules that keep nothing; set the fields.
    pub const fn new() -> Self {
        Self {
            errors: false,
            slower_than: None,
        }
    }

    /// True when there is no rule, so that what is not sampled need not be recorded.
    pub fn is_empty(&self) -> bool {
        !self.errors && self.slower_than.is_none()
    }

    /// True when a rule keeps `fragment`.
    pub fn keeps(&self, fragment: &SpanTree) -> bool {
        self.errors && has_error(fragment)
            || self
                .slower_than
                .is_some_and(|limit| took_longer(fragment, limit))
    }
}

fn has_error(fragment: &SpanTree) -> bool {
    fragment.spans().any(|span| span.status() == Status::Error)
}

fn took_longer(fragment: &SpanTree, limit: Duration) -> bool {
    let start = fragment.spans().map(|span| span.start()).min();
    let end = fragment.spans().map(|span| span.end()).max();
    match (start, end) {
        (Some(start), Some(end)) => u128::from(duration_nanos(start, end)) > limit.as_nanos(),
        _ => false,
    }
}
