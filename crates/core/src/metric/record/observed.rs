//! A metric of numbers that somebody else knows: it is asked for at every reading.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::series::Metric;
use super::{Reading, Spec};
use crate::fork;
use crate::metric::{Descriptor, Family, Kind, LabelSet, Number, Point, reader};
use crate::time::{Clock, UnixNanos};

type Ask = dyn Fn(&Reading) -> Vec<(Arc<LabelSet>, Number)> + Send + Sync;

pub(super) struct Observed {
    descriptor: Arc<Descriptor>,
    max_series: usize,
    ask: Box<Ask>,
    /// The process that `start_unix_nanos` is of.
    generation: AtomicU32,
    start_unix_nanos: AtomicU64,
}

impl Observed {
    pub(super) fn new(
        kind: Kind,
        spec: Spec,
        ask: impl Fn(&Reading) -> Vec<(Arc<LabelSet>, Number)> + Send + Sync + 'static,
    ) -> Self {
        reader::wake_all();
        Self {
            max_series: spec.max_series,
            descriptor: Arc::new(spec.into_descriptor(kind)),
            ask: Box::new(ask),
            generation: AtomicU32::new(fork::generation()),
            start_unix_nanos: AtomicU64::new(Clock::unix_nanos().0),
        }
    }

    /// Since when it is known here: a forked child has its own. Wakes nobody, as a reading may be what is being woken.
    fn start(&self) -> UnixNanos {
        if self.generation.swap(fork::generation(), Ordering::Relaxed) != fork::generation() {
            let now = Clock::unix_nanos().0;
            self.start_unix_nanos.store(now, Ordering::Relaxed);
        }
        UnixNanos(self.start_unix_nanos.load(Ordering::Relaxed))
    }
}

impl Metric for Observed {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn collect(&self, reading: &mut Reading) -> Family {
        let (start, time) = (self.start(), reading.time());
        let kind = self.descriptor.kind();
        let mut numbers = (self.ask)(reading);
        numbers.retain(|(_, number)| is_of(kind, *number));
        let numbers = unique(numbers, kind != Kind::Gauge, self.max_series);
        let points = numbers
            .into_iter()
            .map(|(labels, number)| Point::new(labels, start, time, number));
        Family::new(Arc::clone(&self.descriptor), points.collect())
    }

    fn has_series(&self) -> bool {
        true
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

fn is_of(kind: Kind, number: Number) -> bool {
    let double = number.as_f64();
    double.is_finite() && (kind != Kind::COUNTER || double >= 0.0)
}

/// One number for each set of labels, in the order given: of several the last, of a sum their sum. Sets beyond
/// `max_series` share one.
fn unique(
    given: Vec<(Arc<LabelSet>, Number)>,
    is_sum: bool,
    max_series: usize,
) -> Vec<(Arc<LabelSet>, Number)> {
    let mut places: HashMap<Arc<LabelSet>, usize> = HashMap::with_capacity(given.len());
    let mut numbers: Vec<(Arc<LabelSet>, Number)> = Vec::with_capacity(given.len());
    for (mut labels, number) in given {
        if !places.contains_key(&labels) && places.len() >= max_series {
            labels = LabelSet::overflow();
        }
        match places.get(&labels) {
            Some(place) => {
                let known = &mut numbers[*place].1;
                *known = if is_sum {
                    added(*known, number)
                } else {
                    number
                };
            }
            None => {
                places.insert(Arc::clone(&labels), numbers.len());
                numbers.push((labels, number));
            }
        }
    }
    numbers
}

fn added(one: Number, other: Number) -> Number {
    match (one, other) {
        (Number::Int(one), Number::Int(other)) => Number::Int(one.saturating_add(other)),
        (one, other) => Number::F64(one.as_f64() + other.as_f64()),
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({})", self.descriptor.name())
    }
}
