//! From points to series: what stands behind a family's name, which labels it has, and its value.

use std::borrow::Cow;

use hiq_core::metric::{
    Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet, Point,
    PointValue,
};
use hiq_core::resource::Resource;
use hiq_core::value::ValueRef;

use crate::names::{Alphabet, family_name, label_name, label_number, unit};
use crate::octaves::octaves;
use crate::target::{Naming, merge};

/// Name and value of a label.
pub(crate) type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What all series of a family share.
#[derive(Clone, Debug, Default)]
pub(crate) struct FamilyNames {
    /// Without a suffix.
    pub(crate) name: String,
    pub(crate) help: String,
    /// In Prometheus' words; empty where there is none.
    pub(crate) unit: String,
    pub(crate) kind: FamilyKind,
}

/// Prometheus' types, with their numbers in remote write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum FamilyKind {
    #[default]
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    Summary = 5,
}

impl FamilyKind {
    /// Labels that a format adds to series of this kind, whichever form they leave in.
    pub(crate) const fn reserved_labels(self) -> &'static [&'static str] {
        match self {
            Self::Counter | Self::Gauge => &[],
            Self::Histogram | Self::Summary => &["le", "quantile"],
        }
    }

    /// What a family's name gets for its series, beside those that are called as it is. Times of creation stand in
    /// `OpenMetrics` alone, but what is a series in one form is none of another metric in the other.
    pub(crate) const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["_total", "_created"],
            Self::Gauge => &[],
            Self::Histogram => &["_bucket", "_sum", "_count", "_created"],
            Self::Summary => &["_sum", "_count", "_created"],
        }
    }
}

impl FamilyNames {
    /// `None` for a kind that Prometheus has no type for. `natives`: summaries may become native histograms.
    pub(crate) fn of(family: &Family, alphabet: Alphabet, natives: bool) -> Option<Self> {
        let descriptor: &Descriptor = family.descriptor();
        let has_sketch = |point: &Point| matches!(point.value(), PointValue::Summary(summary) if summary.sketch.is_some());
        let kind = match descriptor.kind() {
            Kind::Sum { monotonic: true } => FamilyKind::Counter,
            Kind::Gauge | Kind::Sum { monotonic: false } => FamilyKind::Gauge,
            Kind::Histogram | Kind::ExponentialHistogram => FamilyKind::Histogram,
            Kind::Summary if natives && family.points().iter().all(has_sketch) => {
                FamilyKind::Histogram
            }
            Kind::Summary => FamilyKind::Summary,
            _ => return None,
        };
        Some(Self {
            name: family_name(descriptor, alphabet),
            help: descriptor.description().to_owned(),
            unit: unit(descriptor, alphabet),
            kind,
        })
    }
}

/// One series of a point at its time.
#[derive(Debug)]
pub(crate) struct Row<'p> {
    /// Behind the family's name.
    pub(crate) suffix: &'static str,
    /// `le` or `quantile`.
    pub(crate) extra: Option<(&'static str, String)>,
    pub(crate) value: Sample<'p>,
    /// Those that belong to this series.
    pub(crate) exemplars: Vec<&'p Exemplar>,
}

/// The value of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample<'p> {
    Float(f64),
    Native(&'p ExponentialHistogram),
}

impl<'p> Row<'p> {
    fn float(suffix: &'static str, value: f64) -> Self {
        Self {
            suffix,
            extra: None,
            value: Sample::Float(value),
            exemplars: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, number: f64) -> Self {
        self.extra = Some((name, label_number(number)));
        self
    }

    fn with_exemplars(mut self, exemplars: impl Iterator<Item = &'p Exemplar>) -> Self {
        self.exemplars = exemplars.collect();
        self
    }
}

/// Hands the series of `point`, one of a family of `kind`, to `each`. False when it is none of `kind`. Without `natives`,
/// exponential histograms have a bucket for each power of two.
pub(crate) fn rows<'p>(
    point: &'p Point,
    kind: FamilyKind,
    natives: bool,
    mut each: impl FnMut(Row<'p>),
) -> bool {
    let exemplars = point.exemplars().iter();
    match point.value() {
        PointValue::Number(number) if kind == FamilyKind::Counter => {
            each(Row::float("_total", number.as_f64()).with_exemplars(exemplars));
        }
        PointValue::Number(number) => each(Row::float("", number.as_f64())),
        PointValue::Histogram(histogram) => classic_histogram(point, histogram, each),
        PointValue::ExponentialHistogram(histogram) if natives => each(native(histogram, point)),
        PointValue::ExponentialHistogram(histogram) => {
            let whole = [(f64::INFINITY, histogram.count)];
            let buckets = octaves(histogram).into_iter().chain(whole);
            classic_buckets(point, buckets, histogram.sum, histogram.count, each);
        }
        PointValue::Summary(summary) => match &summary.sketch {
            Some(sketch) if kind == FamilyKind::Histogram => each(native(sketch, point)),
            _ => {
                for quantile in &summary.quantiles {
                    each(Row::float("", quantile.value).with("quantile", quantile.quantile));
                }
                each(Row::float("_sum", summary.sum));
                each(Row::float("_count", count(summary.count)));
            }
        },
        _ => return false,
    }
    true
}

fn native<'p>(histogram: &'p ExponentialHistogram, point: &'p Point) -> Row<'p> {
    Row {
        suffix: "",
        extra: None,
        value: Sample::Native(histogram),
        exemplars: point.exemplars().iter().collect(),
    }
}

/// A bucket's exemplars are those that were counted in it alone.
fn classic_histogram<'p>(point: &'p Point, histogram: &'p Histogram, each: impl FnMut(Row<'p>)) {
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    let buckets = bounds
        .zip(&histogram.counts)
        .scan(0_u64, |cumulative, (bound, counted)| {
            *cumulative = cumulative.saturating_add(*counted);
            Some((bound, *cumulative))
        });
    classic_buckets(point, buckets, histogram.sum, histogram.count, each);
}

/// `buckets`: bounds, and what was measured up to each.
fn classic_buckets<'p>(
    point: &'p Point,
    buckets: impl Iterator<Item = (f64, u64)>,
    sum: Option<f64>,
    measured: u64,
    mut each: impl FnMut(Row<'p>),
) {
    let mut below = f64::NEG_INFINITY;
    for (bound, cumulative) in buckets {
        let in_bucket = |exemplar: &&Exemplar| {
            let value = exemplar.value.as_f64();
            value <= bound && (value > below || below == f64::NEG_INFINITY)
        };
        let row = Row::float("_bucket", count(cumulative)).with("le", bound);
        each(row.with_exemplars(point.exemplars().iter().filter(in_bucket)));
        below = bound;
    }
    if let Some(sum) = sum {
        each(Row::float("_sum", sum));
    }
    each(Row::float("_count", count(measured)));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "all of Prometheus' samples are doubles"
)]
fn count(count: u64) -> f64 {
    count as f64
}

/// Who sends: `job` and `instance`, as Prometheus would set them if it scraped, and what else is known.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Target {
    /// `service.namespace/service.name`.
    job: String,
    /// `service.instance.id`; may be empty.
    instance: String,
    /// The other attributes, for `target_info`.
    pub(crate) info: Vec<(String, String)>,
}

impl Target {
    pub(crate) fn of(resource: &Resource) -> Self {
        let mut scratch = Vec::new();
        let mut text = |key: &str| {
            let value = resource.attribute(key);
            value.map_or(String::new(), |value| plain(value, &mut scratch))
        };
        let (namespace, instance) = (text("service.namespace"), text("service.instance.id"));
        let name = resource.service_name();
        let identifying = ["service.namespace", "service.name", "service.instance.id"];
        let others = resource
            .attributes()
            .filter(|(key, _)| !identifying.contains(&key.as_str()));
        Self {
            job: match namespace.as_str() {
                "" => name.to_owned(),
                namespace => format!("{namespace}/{name}"),
            },
            instance,
            info: others
                .map(|(key, value)| (key.as_str().to_owned(), plain(value, &mut scratch)))
                .collect(),
        }
    }
}

impl Target {
    /// What labels of points are called beside its own.
    pub(crate) fn naming(&self, alphabet: Alphabet) -> Naming<'static> {
        let taken: &[&str] = if self.instance.is_empty() {
            &["job"]
        } else {
            &["job", "instance"]
        };
        Naming { alphabet, taken }
    }
}

fn plain(value: ValueRef<'_>, scratch: &mut Vec<u8>) -> String {
    value.text(scratch).to_owned()
}

/// The labels of a point of `kind`, sorted by name, without those that are empty: to Prometheus they are absent.
///
/// A label of the point that is called as one of the target is `exported_` to it, as in a scrape. Where two names
/// become one, their values stand between semicolons.
pub(crate) fn labels_of<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    kind: FamilyKind,
    target: &'a Target,
    alphabet: Alphabet,
    sorted: &mut Vec<Label<'a>>,
) {
    sorted.clear();
    let naming = target.naming(alphabet);
    for (name, value) in labels.filter(|(_, value)| !value.is_empty()) {
        sorted.push((naming.name(name, kind), value.into()));
    }
    for (name, value) in [("job", &target.job), ("instance", &target.instance)] {
        if !value.is_empty() {
            sorted.push((name.into(), value.as_str().into()));
        }
    }
    merge(sorted);
}

/// Labels of an exemplar: trace and span, and what its point's labels leave out, as far as 128 characters go.
pub(crate) fn exemplar_labels(exemplar: &Exemplar, alphabet: Alphabet) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    if exemplar.trace_id.is_valid() {
        labels.push(("trace_id".to_owned(), exemplar.trace_id.to_string()));
    }
    if exemplar.span_id.is_valid() {
        labels.push(("span_id".to_owned(), exemplar.span_id.to_string()));
    }
    let chars = |(name, value): &(String, String)| name.chars().count() + value.chars().count();
    let mut left = MAX_EXEMPLAR_CHARS - labels.iter().map(chars).sum::<usize>();
    for (name, value) in exemplar.labels.iter().flat_map(|labels| labels.iter()) {
        let label = (label_name(name, alphabet).into_owned(), value.to_owned());
        let is_known = labels.iter().any(|(known, _)| *known == label.0);
        if !is_known && !value.is_empty() && chars(&label) <= left {
            left -= chars(&label);
            labels.push(label);
        }
    }
    labels.sort();
    labels
}

/// `OpenMetrics` 1.0, "Exemplars": names and values together.
const MAX_EXEMPLAR_CHARS: usize = 128;

/// A point's labels as [`labels_of`] takes them.
pub(crate) fn pairs(labels: &LabelSet) -> impl Iterator<Item = (&str, &str)> {
    labels.iter()
}
