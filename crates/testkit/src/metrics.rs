//! Snapshots of metrics of every shape, and an exporter of them by itself.

use std::sync::Arc;
use std::time::Instant;

use hiq_core::batch::Batch as _;
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::ledger::{Ledger, LedgerSnapshot};
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet,
    MetricBatch, MetricCursor, Number, Point, PointPage, PointValue, QuantileValue, Summary,
    fill_points,
};
use hiq_core::resource::{Resource, Scope};
use hiq_core::time::UnixNanos;
use hiq_core::transport::Reply;
use hiq_core::value::Value;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::assert_balances;

/// Hands `batch` to `exporter` and goes on until nothing is left to do.
///
/// # Panics
/// When points are left over, or the ledger does not balance.
#[track_caller]
pub fn deliver(exporter: &mut dyn Exporter<MetricBatch>, batch: MetricBatch) -> LedgerSnapshot {
    let (ledger, deadline) = (Ledger::new(), Deadline::never());
    exporter.start(&ledger);
    ledger.offer(batch.items());
    let custody = ledger.take(batch.items(), Instant::now());
    let mut progress = exporter.export(Arc::new(batch), custody, &deadline);
    while progress != Progress::Done {
        assert_balances(&ledger.snapshot());
        if let Progress::Waiting { until, .. } = progress {
            let wait = until.saturating_duration_since(Instant::now());
            assert!(deadline.sleep(wait), "the deadline was over");
        }
        progress = exporter.poll(&deadline);
    }
    let snapshot = ledger.snapshot();
    assert_balances(&snapshot);
    assert_eq!(snapshot.unsettled(), 0, "{snapshot:?}");
    snapshot
}

/// `name value` a line, of whole numbers; other points are left out. 200 takes a payload, 400 rejects it, all else is tried
/// again.
#[derive(Debug, Default)]
pub struct PointLineEncoder;

impl Encoder<MetricBatch> for PointLineEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("lines", "text/plain")
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        fill_points(cursor, limits, &mut Page(out))
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        let message = "as the script says".to_owned();
        match reply {
            Reply::Http(reply) if reply.status == 200 => Verdict::Delivered {
                rejected: 0,
                message: None,
            },
            Reply::Http(reply) if reply.status == 400 => Verdict::Rejected { message },
            Reply::Http(reply) => Verdict::Retry {
                after: reply.retry_after,
                message,
            },
            _ => Verdict::Retry {
                after: None,
                message,
            },
        }
    }
}

struct Page<'o>(&'o mut Vec<u8>);

impl<'a> PointPage<'a> for Page<'_> {
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool {
        let PointValue::Number(Number::Int(value)) = point.value() else {
            return false;
        };
        let line = format!("{} {value}\n", family.descriptor().name());
        self.0.extend_from_slice(line.as_bytes());
        true
    }

    fn fits(&self, _max_bytes: usize) -> bool {
        true
    }

    fn pop(&mut self) {}

    fn finish(&mut self) {}
}

/// Snapshots of every kind of metric; names and labels are any text, doubles any double.
pub fn arbitrary() -> impl Strategy<Value = MetricBatch> {
    let resource = vec((any::<String>(), value()), 0..3).prop_map(Resource::new);
    let scope =
        (any::<String>(), any::<String>()).prop_map(|(name, version)| Scope::new(&name, &version));
    (resource, scope, vec(family(), 0..6)).prop_map(|(resource, scope, families)| {
        MetricBatch::new(Arc::new(resource), Arc::new(scope), families)
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::Str),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    let kind = prop_oneof![
        Just(Kind::Gauge),
        Just(Kind::COUNTER),
        Just(Kind::UP_DOWN_COUNTER),
        Just(Kind::Histogram),
        Just(Kind::ExponentialHistogram),
        Just(Kind::Summary),
    ];
    let texts = (any::<String>(), any::<String>(), any::<String>());
    (texts, kind).prop_flat_map(|((name, description, unit), kind)| {
        let descriptor = Descriptor::new(name, kind)
            .with_description(description)
            .with_unit(unit);
        let descriptor = Arc::new(descriptor);
        vec(point(kind), 0..5).prop_map(move |points| Family::new(Arc::clone(&descriptor), points))
    })
}

fn point(kind: Kind) -> impl Strategy<Value = Point> {
    let times = (any::<u64>(), any::<u64>());
    let exemplars = vec(exemplar(), 0..3);
    (labels(), times, value_of(kind), exemplars).prop_map(|(labels, times, value, exemplars)| {
        Point::new(labels, UnixNanos(times.0), UnixNanos(times.1), value).with_exemplars(exemplars)
    })
}

/// Labels of any text.
pub fn labels() -> impl Strategy<Value = Arc<LabelSet>> {
    vec((any::<String>(), any::<String>()), 0..4).prop_map(LabelSet::new)
}

fn value_of(kind: Kind) -> BoxedStrategy<PointValue> {
    match kind {
        Kind::Histogram => histogram().prop_map(PointValue::from).boxed(),
        Kind::ExponentialHistogram => exponential().prop_map(PointValue::from).boxed(),
        Kind::Summary => summary().prop_map(PointValue::from).boxed(),
        _ => number().prop_map(PointValue::from).boxed(),
    }
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::Int),
        double().prop_map(Number::F64),
    ]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => any::<f64>(),
        1 => Just(0.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
    ]
    // Plus zero makes a zero of -0, which readers of protobuf disagree about.
    .prop_map(|double| double + 0.0)
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let extremes = (option::of(double()), option::of(double()));
    let measured = vec((any::<u32>().prop_map(f64::from), any::<u64>()), 0..6);
    (
        any::<u64>(),
        option::of(double()),
        extremes,
        measured,
        any::<u64>(),
    )
        .prop_map(|(count, sum, (min, max), mut measured, above)| {
            measured.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            measured.dedup_by(|(a, _), (b, _)| a.total_cmp(b).is_eq());
            let (bounds, mut counts): (Vec<f64>, Vec<u64>) = measured.into_iter().unzip();
            counts.push(above);
            Histogram {
                count,
                sum,
                min,
                max,
                bounds: bounds.into(),
                counts,
            }
        })
}

fn exponential() -> impl Strategy<Value = ExponentialHistogram> {
    let extremes = (option::of(double()), option::of(double()));
    let zero = (any::<u64>(), prop_oneof![Just(0.0), 0.0..1.0]);
    let counts = (any::<u64>(), option::of(double()), -10..=20);
    (counts, extremes, zero, buckets(), buckets()).prop_map(
        |((count, sum, scale), (min, max), (zero_count, zero_threshold), positive, negative)| {
            ExponentialHistogram {
                count,
                sum,
                min,
                max,
                scale,
                zero_count,
                zero_threshold,
                positive,
                negative,
            }
        },
    )
}

fn buckets() -> impl Strategy<Value = Buckets> {
    let counts = vec(prop_oneof![Just(0), 0..300_u64, any::<u64>()], 0..20);
    (-70_000..70_000, counts).prop_map(|(offset, counts)| Buckets { offset, counts })
}

fn summary() -> impl Strategy<Value = Summary> {
    let quantiles = vec((0.0..=1.0, double()), 0..4).prop_map(|mut quantiles: Vec<(f64, f64)>| {
        quantiles.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let quantile = |(quantile, value)| QuantileValue { quantile, value };
        quantiles.into_iter().map(quantile).collect()
    });
    let sketch = option::of(exponential().prop_map(Box::new));
    (any::<u64>(), double(), quantiles, sketch).prop_map(|(count, sum, quantiles, sketch)| {
        Summary {
            count,
            sum,
            quantiles,
            sketch,
        }
    })
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let ids = (any::<[u8; 16]>(), any::<u64>(), any::<bool>());
    (any::<u64>(), number(), ids, option::of(labels())).prop_map(
        |(time, value, (trace, span, traced), labels)| {
            let ids = if traced {
                (TraceId(trace), SpanId(span))
            } else {
                (TraceId::INVALID, SpanId::INVALID)
            };
            let mut exemplar = Exemplar::new(UnixNanos(time), value, ids.0, ids.1);
            exemplar.labels = labels;
            exemplar
        },
    )
}
