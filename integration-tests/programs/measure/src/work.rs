//! What is measured: the work of a made-up shop, by a generator of numbers whose seed is fixed.

use std::collections::BTreeMap;

use hiq_core::config::ConfigError;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::metric::record::{Reading, Registry, Spec};
use hiq_core::metric::{Descriptor, Exemplar, Family, Kind, LabelSet, Number, Point};
use hiq_core::time::{Clock, UnixNanos};
use serde_json::{Value as Json, json};

use crate::Asked;

const CITIES: [&str; 3] = ["Hà Nội", "Huế", "say \"hi\"\\\n"];
const FUNCTIONS: [&str; 2] = ["checkout", "search"];
const MEASUREMENTS: usize = 5_000;
const NANOS_OF_A_DAY: u64 = 86_400_000_000_000;

/// Measures with the instruments of `registry`, and returns the program's own account of it.
pub(crate) fn measure(registry: &Registry, asked: &Asked) -> Result<Json, ConfigError> {
    if asked.one_too_old {
        registry.add_source(|reading| vec![of_yesterday(reading)]);
    }
    Ok(json!({
        "orders": orders(registry)?,
        "queue": queue(registry)?,
        "temperature": temperature(registry)?,
        "wait": wait(registry)?,
        "size": size(registry)?,
        "work": work(registry)?,
        "series": series(registry, asked.series)?,
    }))
}

/// A counter of each city, with the trace of its last order.
fn orders(registry: &Registry) -> Result<Json, ConfigError> {
    let spec = Spec::new("shop.orders").with_description("Orders taken.");
    let orders = registry.counter(spec.with_unit("{order}"))?;
    let mut counted = BTreeMap::new();
    for (city, amount) in CITIES.into_iter().zip([7_u64, 1, 1_000_000]) {
        let of_city = orders.with([("city", city)]);
        for _ in 0..3 {
            of_city.add(amount);
        }
        let (trace_id, span_id) = (TraceId::random(), SpanId::next());
        let now = Clock::unix_nanos();
        of_city.set_example(Exemplar::new(now, Number::Int(1), trace_id, span_id));
        let traced = json!({"total": 3 * amount, "trace_id": trace_id.to_string()});
        counted.insert(city, traced);
    }
    Ok(json!(counted))
}

fn queue(registry: &Registry) -> Result<Json, ConfigError> {
    let queue = registry.up_down_counter(Spec::new("shop.queue"))?.plain();
    queue.add(5);
    queue.add(-7);
    Ok(json!(5 - 7))
}

fn temperature(registry: &Registry) -> Result<Json, ConfigError> {
    let spec = Spec::new("shop.temperature").with_unit("Cel");
    registry.gauge(spec)?.plain().set(36.6);
    Ok(json!(36.6))
}

/// A histogram with bounds.
fn wait(registry: &Registry) -> Result<Json, ConfigError> {
    let bounds = [0.25, 0.5, 1.0, 2.5];
    let spec = Spec::new("shop.wait").with_description("Time of waiting.");
    let spec = spec.with_unit("s").with_bounds(bounds);
    let wait = registry.histogram(spec)?.plain();
    let values = Values::new(1).take(MEASUREMENTS);
    for value in &values {
        wait.observe(*value);
    }
    Ok(json!({"bounds": bounds, "values": values}))
}

/// A histogram without.
fn size(registry: &Registry) -> Result<Json, ConfigError> {
    let spec = Spec::new("shop.size").with_unit("By");
    let size = registry.exponential_histogram(spec)?.plain();
    let mut values = Values::new(2).take(MEASUREMENTS);
    values.extend([0.0, -3.0, 1e9]);
    for value in &values {
        size.observe(*value);
    }
    Ok(json!(values))
}

/// A summary of each function.
fn work(registry: &Registry) -> Result<Json, ConfigError> {
    let spec = Spec::new("shop.work").with_unit("s");
    let work = registry.summary(spec.with_quantiles([0.5, 0.9, 0.99]))?;
    let mut measured = BTreeMap::new();
    for (function, seed) in FUNCTIONS.into_iter().zip([3, 4]) {
        let of_function = work.with([("function", function)]);
        let values = Values::new(seed).take(MEASUREMENTS);
        for value in &values {
            of_function.observe(*value);
        }
        measured.insert(function, values);
    }
    Ok(json!(measured))
}

/// A counter with as many series as asked for, each of its number.
fn series(registry: &Registry, count: usize) -> Result<Json, ConfigError> {
    let numbered = registry.counter(Spec::new("shop.numbered").with_max_series(count.max(1)))?;
    for number in 0..count {
        let labels = [("number", number.to_string())];
        numbered.with(labels).add(number as u64);
    }
    Ok(json!(count))
}

/// A gauge that was read a day ago: no server takes it beside what is of today.
fn of_yesterday(reading: &Reading) -> Family {
    let time = UnixNanos(reading.time().0 - NANOS_OF_A_DAY);
    let point = Point::new(LabelSet::empty(), time, time, Number::Int(1));
    Family::new(
        Descriptor::new("shop.yesterday", Kind::Gauge).into(),
        vec![point],
    )
}

/// Times as they are in services: many short, few long.
struct Values(u64);

impl Values {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn take(mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The sum of two even ones, raised: from e^-4 to e^4.
    fn next(&mut self) -> f64 {
        let sum = self.even() + self.even();
        ((sum - 1.0) * 4.0).exp()
    }

    /// From 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits of it are enough")]
    fn even(&mut self) -> f64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
