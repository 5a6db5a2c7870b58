//! Instruments of one number: counters and gauges.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::life::Life;
use super::{Cell, Measured, Reading, Spec};
use crate::fork::Lock;
use crate::metric::{Exemplar, Kind, Number, PointValue};

/// A double that threads add to.
#[derive(Debug)]
pub(super) struct AtomicF64(AtomicU64);

impl AtomicF64 {
    pub(super) const fn new(value: f64) -> Self {
        Self(AtomicU64::new(value.to_bits()))
    }

    #[inline]
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn add(&self, value: f64) {
        self.add_to(self.get(), value);
    }

    /// Adds to what was `before` a moment ago.
    #[inline]
    pub(super) fn add_to(&self, before: f64, value: f64) {
        let mut before = before.to_bits();
        loop {
            let after = (f64::from_bits(before) + value).to_bits();
            let order = (Ordering::Relaxed, Ordering::Relaxed);
            match (self.0).compare_exchange_weak(before, after, order.0, order.1) {
                Ok(_) => return,
                Err(other) => before = other,
            }
        }
    }
}

/// Adds up what never falls: calls, bytes, seconds.
#[derive(Debug)]
pub struct Counter {
    life: Life,
    whole: AtomicU64,
    parts: AtomicF64,
    example: Lock<Option<Exemplar>>,
}

impl Counter {
    /// Adds `amount`.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.ensure();
        self.whole.fetch_add(amount, Ordering::Relaxed);
    }

    /// Adds `amount`. What is negative, infinite or not a number is left out.
    #[inline]
    pub fn add_f64(&self, amount: f64) {
        if amount >= 0.0 && amount.is_finite() {
            self.ensure();
            self.parts.add(amount);
        }
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
            self.whole.store(0, Ordering::Relaxed);
            self.parts.set(0.0);
            *self.example.lock() = None;
        });
    }
}

impl Cell for Counter {
    const KIND: Kind = Kind::COUNTER;

    fn new(_spec: &Spec) -> Self {
        Self {
            life: Life::new(),
            whole: AtomicU64::new(0),
            parts: AtomicF64::new(0.0),
            example: Lock::new(None),
        }
    }

    fn read(&self, _reading: &mut Reading) -> Option<Measured> {
        let whole = self.whole.load(Ordering::Relaxed);
        let parts = self.parts.get();
        let number = match i64::try_from(whole) {
            Ok(whole) if parts == 0.0 => Number::Int(whole),
            #[expect(
                clippy::cast_precision_loss,
                reason = "beside parts there is no better"
            )]
            _ => Number::F64(whole as f64 + parts),
        };
        Measured::of(&self.life, number.into(), || {
            self.example.lock().iter().cloned().collect()
        })
    }
}

/// Adds up what rises and falls: requests under way, bytes held.
#[derive(Debug)]
pub struct UpDownCounter {
    life: Life,
    whole: AtomicI64,
    parts: AtomicF64,
}

impl UpDownCounter {
    /// Adds `amount`, which may be negative.
    #[inline]
    pub fn add(&self, amount: i64) {
        self.ensure();
        self.whole.fetch_add(amount, Ordering::Relaxed);
    }

    /// Adds `amount`, which may be negative. What is infinite or not a number is left out.
    #[inline]
    pub fn add_f64(&self, amount: f64) {
        if amount.is_finite() {
            self.ensure();
            self.parts.add(amount);
        }
    }

    #[inline]
    fn ensure(&self) {
        self.life.ensure(|| {
            self.whole.store(0, Ordering::Relaxed);
            self.parts.set(0.0);
        });
    }
}

impl Cell for UpDownCounter {
    const KIND: Kind = Kind::UP_DOWN_COUNTER;

    fn new(_spec: &Spec) -> Self {
        Self {
            life: Life::new(),
            whole: AtomicI64::new(0),
            parts: AtomicF64::new(0.0),
        }
    }

    fn read(&self, _reading: &mut Reading) -> Option<Measured> {
        let whole = self.whole.load(Ordering::Relaxed);
        let parts = self.parts.get();
        let number = if parts == 0.0 {
            Number::Int(whole)
        } else {
            #[expect(
                clippy::cast_precision_loss,
                reason = "beside parts there is no better"
            )]
            Number::F64(whole as f64 + parts)
        };
        Measured::of(&self.life, number.into(), Vec::new)
    }
}

/// Holds what was read last: a temperature, a size.
#[derive(Debug)]
pub struct Gauge {
    life: Life,
    value: AtomicF64,
}

impl Gauge {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: f64) {
        self.ensure();
        self.value.set(value);
    }

    /// Adds `amount` to the value.
    #[inline]
    pub fn add(&self, amount: f64) {
        self.ensure();
        self.value.add(amount);
    }

    #[inline]
    fn ensure(&self) {
        self.life.ensure(|| self.value.set(0.0));
    }
}

impl Cell for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn new(_spec: &Spec) -> Self {
        Self {
            life: Life::new(),
            value: AtomicF64::new(0.0),
        }
    }

    fn read(&self, _reading: &mut Reading) -> Option<Measured> {
        let value = PointValue::Number(Number::F64(self.value.get()));
        Measured::of(&self.life, value, Vec::new)
    }
}
