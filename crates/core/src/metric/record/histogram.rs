//! Instruments of many measurements: histograms and summaries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::life::Life;
use super::number::AtomicF64;
use super::sketch::{Sketch, to_histogram};
use super::window::Window;
use super::{Cell, Measured, Reading, Spec};
use crate::fork::Lock;
use crate::metric;
use crate::metric::{Exemplar, Kind};

/// Counts measurements between given bounds.
#[derive(Debug)]
pub struct Histogram {
    life: Life,
    bounds: Arc<[f64]>,
    counts: Box<[AtomicU64]>,
    sum: AtomicF64,
    /// One a bucket.
    examples: Lock<Vec<Option<Exemplar>>>,
}

impl Histogram {
    /// Adds one measurement. What is infinite or not a number is left out.
    #[inline]
    pub fn observe(&self, value: f64) {
        if value.is_finite() {
            self.ensure();
            self.counts[self.bucket(value)].fetch_add(1, Ordering::Relaxed);
            self.sum.add(value);
        }
    }

    /// Shows a measurement as an example, in the place of the last one of its bucket.
    pub fn set_example(&self, example: Exemplar) {
        self.ensure();
        self.life.include(example.time);
        let bucket = self.bucket(example.value.as_f64());
        let mut examples = self.examples.lock();
        examples.resize(self.counts.len(), None);
        examples[bucket] = Some(example);
    }

    #[inline]
    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    #[inline]
    fn ensure(&self) {
        self.life.ensure(|| {
            let zero = |count: &AtomicU64| count.store(0, Ordering::Relaxed);
            self.counts.iter().for_each(zero);
            self.sum.set(0.0);
            self.examples.lock().clear();
        });
    }
}

impl Cell for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn new(spec: &Spec) -> Self {
        let bounds = spec.bounds();
        Self {
            life: Life::new(),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            bounds,
            sum: AtomicF64::new(0.0),
            examples: Lock::new(Vec::new()),
        }
    }

    fn read(&self, _reading: &mut Reading) -> Option<Measured> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts: Vec<_> = self.counts.iter().map(load).collect();
        let value = metric::Histogram {
            count: counts.iter().sum(),
            sum: Some(self.sum.get()),
            min: None,
            max: None,
            bounds: Arc::clone(&self.bounds),
            counts,
        };
        let examples = || self.examples.lock().iter().flatten().cloned().collect();
        Measured::of(&self.life, value.into(), examples)
    }
}

/// Counts measurements between powers of `2^(1/64)`: 0.54 % of error in any range.
#[derive(Debug)]
pub struct ExponentialHistogram {
    life: Life,
    sketch: Sketch,
    example: Lock<Option<Exemplar>>,
}

impl ExponentialHistogram {
    /// Adds one measurement. What is infinite or not a number is left out.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.ensure();
        self.sketch.add(value);
    }

    /// Shows one measurement as an example, in the place of the last one.
    pub fn set_example(&self, example: Exemplar) {
        self.ensure();
        self.life.include(example.time);
        *self.example.lock() = Some(example);
    }

    #[inline]
    fn ensure(&self) {
        self.life.ensure(|| {
            self.sketch.reset();
            *self.example.lock() = None;
        });
    }
}

impl Cell for ExponentialHistogram {
    const KIND: Kind = Kind::ExponentialHistogram;

    fn new(_spec: &Spec) -> Self {
        Self {
            life: Life::new(),
            sketch: Sketch::new(),
            example: Lock::new(None),
        }
    }

    fn fetch(&self, depth: usize) {
        self.sketch.fetch(depth);
    }

    fn read(&self, reading: &mut Reading) -> Option<Measured> {
        let all = &mut reading.scratch;
        self.sketch.read(all);
        let value = to_histogram(all, self.sketch.sum());
        Measured::of(&self.life, value.into(), || {
            self.example.lock().iter().cloned().collect()
        })
    }
}

/// Counts and adds up all measurements, and knows the quantiles of the recent ones to 0.54 %.
#[derive(Debug)]
pub struct Summary {
    life: Life,
    sketch: Sketch,
    quantiles: Arc<[f64]>,
    max_age: Duration,
    window: Lock<Window>,
    example: Lock<Option<Exemplar>>,
}

/// Measurements in one bucket after which the clock is looked at, should nobody read for a while.
const LOOK_AT_CLOCK_EVERY: u16 = 128;

impl Summary {
    /// Adds one measurement. What is infinite or not a number is left out.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.ensure();
        let before = self.sketch.add(value);
        if before.is_some_and(|before| before.is_multiple_of(LOOK_AT_CLOCK_EVERY)) {
            self.look_at_clock();
        }
    }

    /// Shows one measurement as an example, in the place of the last one.
    pub fn set_example(&self, example: Exemplar) {
        self.ensure();
        self.life.include(example.time);
        *self.example.lock() = Some(example);
    }

    #[cold]
    fn look_at_clock(&self) {
        // Somebody who holds it is doing the same.
        if let Some(mut window) = self.window.try_lock() {
            window.slide(&self.sketch, Instant::now(), self.max_age);
        }
    }

    #[inline]
    fn ensure(&self) {
        self.life.ensure(|| {
            self.sketch.reset();
            *self.window.lock() = Window::default();
            *self.example.lock() = None;
        });
    }
}

impl Cell for Summary {
    const KIND: Kind = Kind::Summary;

    fn new(spec: &Spec) -> Self {
        Self {
            life: Life::new(),
            sketch: Sketch::new(),
            quantiles: spec.quantiles(),
            max_age: spec.max_age,
            window: Lock::new(Window::new(Instant::now())),
            example: Lock::new(None),
        }
    }

    fn fetch(&self, depth: usize) {
        self.sketch.fetch(depth);
    }

    fn read(&self, reading: &mut Reading) -> Option<Measured> {
        if !self.life.is_current() {
            return None;
        }
        let mut window = self.window.lock();
        window.slide(&self.sketch, reading.now, self.max_age);
        let recent = self.sketch.look(&mut reading.room);
        let mut value = metric::Summary {
            count: window.past_count() + recent.count(),
            sum: self.sketch.sum(),
            quantiles: Vec::with_capacity(self.quantiles.len()),
            sketch: None,
        };
        recent.quantiles(&self.quantiles, &mut value.quantiles);
        if reading.sketches {
            let shown = &mut reading.scratch;
            recent.read(shown);
            let mut sum = f64::NAN;
            if !reading.recent {
                shown.add(&window.past().to_sparse());
                sum = value.sum;
            }
            value.sketch = Some(Box::new(to_histogram(shown, sum)));
        }
        drop(recent);
        drop(window);
        Measured::of(&self.life, value.into(), || {
            self.example.lock().iter().cloned().collect()
        })
    }
}
