//! Metrics of ours in a `prometheus::Registry` that a service already has.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hiq_core::config::ConfigError;
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::metric::{Histogram, Point, PointValue, Summary};
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::clash::{Group, Groups};
use crate::exposition::ClashReport;
use crate::names::Alphabet;
use crate::octaves::octaves;
use crate::series::FamilyKind;
use crate::target::{Naming, point_labels};

/// Shows what a [`Registry`] of hiq holds as part of a `prometheus::Registry`, with summaries and their quantiles, which that
/// crate has no instrument for.
///
/// The crate's formats know no native histograms: exponential ones have a bucket at each power of two. Exemplars and units
/// are left out for the same reason.
///
/// ```
/// use hiq_core::metric::record::Registry;
/// use hiq_prometheus::RegistryCollector;
///
/// let ours = Registry::new();
/// ours.summary("shop.latency")?.with([("route", "/pay")]).observe(0.25);
/// let theirs = prometheus::Registry::new();
/// theirs.register(Box::new(RegistryCollector::new(&ours)?))?;
/// let page = prometheus::TextEncoder::new().encode_to_string(&theirs.gather())?;
/// assert!(page.contains("shop_latency_count{route=\"/pay\"} 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RegistryCollector {
    registry: Registry,
    /// What a `prometheus::Registry` tells it from others by. No metric has this name.
    desc: Desc,
    report: ClashReport,
}

impl RegistryCollector {
    /// A collector of `registry`, which goes on counting.
    pub fn new(registry: &Registry) -> Result<Self, ConfigError> {
        static COLLECTORS: AtomicU64 = AtomicU64::new(0);
        let number = COLLECTORS.fetch_add(1, Ordering::Relaxed);
        let name = format!("hiq_registry_{number}");
        let desc = Desc::new(
            name,
            "Metrics of hiq.".to_owned(),
            Vec::new(),
            HashMap::default(),
        );
        let desc = desc.map_err(|error| {
            let fix = "this is an error of hiq: please report it";
            ConfigError::new("collector", error.to_string(), fix)
        })?;
        Ok(Self {
            registry: registry.clone(),
            desc,
            report: ClashReport::default(),
        })
    }

    /// The same with other words than those on standard error for metrics that are left out because another has their name.
    #[must_use]
    pub fn with_clash_report(mut self, report: ClashReport) -> Self {
        self.report = report;
        self
    }
}

impl fmt::Debug for RegistryCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryCollector")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl Collector for RegistryCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let batch = self.registry.collect(&CollectOptions::default());
        let groups = Groups::of(&batch, NAMING, false);
        self.report.say(&groups.clashes);
        groups.list.iter().map(family).collect()
    }
}

const NAMING: Naming<'_> = Naming {
    alphabet: Alphabet::Classic,
    taken: &[],
};

fn family(group: &Group<'_>) -> proto::MetricFamily {
    let names = &group.names;
    let (suffix, kind) = match names.kind {
        FamilyKind::Counter => ("_total", proto::MetricType::COUNTER),
        FamilyKind::Gauge => ("", proto::MetricType::GAUGE),
        FamilyKind::Histogram => ("", proto::MetricType::HISTOGRAM),
        FamilyKind::Summary => ("", proto::MetricType::SUMMARY),
    };
    let mut family = proto::MetricFamily::default();
    family.set_name(format!("{}{suffix}", names.name));
    family.set_help(names.help.clone());
    family.set_field_type(kind);
    let metric = |point: &Point| metric(point, names.kind);
    family.set_metric(group.points().map(metric).collect());
    family
}

fn metric(point: &Point, kind: FamilyKind) -> proto::Metric {
    let label = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        let mut label = proto::LabelPair::default();
        label.set_name(name.into_owned());
        label.set_value(value.into_owned());
        label
    };
    let labels = point_labels(point.labels(), kind, NAMING);
    let mut metric = proto::Metric::from_label(labels.into_iter().map(label).collect());
    match point.value() {
        PointValue::Number(number) if kind == FamilyKind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(number.as_f64());
            metric.set_counter(counter);
        }
        PointValue::Number(number) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(number.as_f64());
            metric.set_gauge(gauge);
        }
        PointValue::Histogram(value) => {
            metric.set_histogram(histogram(value.count, value.sum, cumulative(value)));
        }
        PointValue::ExponentialHistogram(value) => {
            let buckets = octaves(value).into_iter();
            metric.set_histogram(histogram(value.count, value.sum, buckets));
        }
        PointValue::Summary(value) => metric.set_summary(summary(value)),
        // No kind of family takes another value.
        _ => {}
    }
    metric
}

/// Bounds, and what was measured up to each.
fn cumulative(histogram: &Histogram) -> impl Iterator<Item = (f64, u64)> {
    let counted = histogram.bounds.iter().zip(&histogram.counts);
    counted.scan(0_u64, |sum, (bound, count)| {
        *sum = sum.saturating_add(*count);
        Some((*bound, *sum))
    })
}

/// Without the bucket at infinity, which the crate adds.
fn histogram(
    count: u64,
    sum: Option<f64>,
    buckets: impl Iterator<Item = (f64, u64)>,
) -> proto::Histogram {
    let bucket = |(bound, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum.unwrap_or_default());
    histogram.set_bucket(buckets.map(bucket).collect());
    histogram
}

fn summary(value: &Summary) -> proto::Summary {
    let quantile = |each: &hiq_core::metric::QuantileValue| {
        let mut quantile = proto::Quantile::default();
        quantile.set_quantile(each.quantile);
        quantile.set_value(each.value);
        quantile
    };
    let mut summary = proto::Summary::default();
    summary.set_sample_count(value.count);
    summary.set_sample_sum(value.sum);
    summary.set_quantile(value.quantiles.iter().map(quantile).collect());
    summary
}
