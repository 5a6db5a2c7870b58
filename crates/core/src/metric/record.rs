//! Recording metrics: a [`Registry`] of instruments that any thread may use, read as a whole.
//!
//! ```
//! use hiq_core::metric::record::{Registry, Spec};
//!
//! let registry = Registry::new();
//! let latency = registry.summary(Spec::new("shop.latency").with_unit("s"))?;
//! let checkout = latency.with([("route", "/checkout")]); // keep it: recording then costs a few ns
//! checkout.observe(0.25);
//! let snapshot = registry.collect(&Default::default());
//! assert_eq!(snapshot.families()[0].points().len(), 1);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! A forked child begins at zero, whatever its parent had counted, with the handles that it inherited.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::{Descriptor, Exemplar, Family, Kind, LabelSet, MetricBatch, Number, PointValue};
use crate::config::ConfigError;
use crate::fork::Lock;
use crate::ledger::Ledger;
use crate::resource::{Resource, Scope};
use crate::time::{Clock, UnixNanos};

mod chunk;
mod counters;
mod counts;
mod fetch;
mod histogram;
mod index;
mod life;
pub(super) mod list;
mod number;
mod observed;
mod octaves;
mod offers;
mod rank;
mod series;
mod sketch;
mod table;
mod window;

pub use histogram::{ExponentialHistogram, Histogram, Summary};
pub use number::{Counter, Gauge, UpDownCounter};
pub use series::Instrument;

pub(super) use counts::{Counts, Distribution};
pub(super) use sketch::to_histogram;

use life::Life;
use list::List;
use observed::Observed;
use offers::Offers;
use series::{Metric, Series};
use sketch::Room;

/// Series of a metric unless told otherwise.
pub const DEFAULT_MAX_SERIES: usize = 10_000;
/// Shares whose quantiles a summary shows unless told otherwise.
pub const DEFAULT_QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// How long a measurement counts for a summary's quantiles unless told otherwise.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
/// OpenTelemetry's bounds of a histogram, in seconds (`http.server.request.duration`).
pub const DEFAULT_BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Describes an instrument.
#[derive(Clone, Debug)]
#[must_use]
pub struct Spec {
    name: String,
    description: String,
    unit: String,
    /// Nothing where nobody has said.
    bounds: Option<Arc<[f64]>>,
    quantiles: Option<Arc<[f64]>>,
    max_age: Duration,
    max_series: usize,
}

impl Spec {
    /// An instrument named `name`: any UTF-8 text.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            unit: String::new(),
            bounds: None,
            quantiles: None,
            max_age: DEFAULT_MAX_AGE,
            max_series: DEFAULT_MAX_SERIES,
        }
    }

    /// Says what it means, for people. Default: nothing.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the unit by UCUM: `s`, `By`, `1`. Default: none.
    pub fn with_unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Sets the upper bounds of a histogram's buckets, inclusive and rising. Default: [`DEFAULT_BOUNDS`].
    pub fn with_bounds(mut self, bounds: impl Into<Arc<[f64]>>) -> Self {
        self.bounds = Some(bounds.into());
        self
    }

    /// Sets the shares whose quantiles a summary shows, rising. Default: [`DEFAULT_QUANTILES`].
    pub fn with_quantiles(mut self, quantiles: impl Into<Arc<[f64]>>) -> Self {
        self.quantiles = Some(quantiles.into());
        self
    }

    /// Sets how long a measurement counts for a summary's quantiles, to a fifth of it. Count and sum never forget.
    /// Default: 10 minutes.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets how many sets of labels are told apart, 1 at least; further ones share a series. Default: [`DEFAULT_MAX_SERIES`].
    pub fn with_max_series(mut self, max_series: usize) -> Self {
        self.max_series = max_series;
        self
    }

    fn bounds(&self) -> Arc<[f64]> {
        let given = self.bounds.as_ref();
        given.map_or_else(|| DEFAULT_BOUNDS.into(), Arc::clone)
    }

    fn quantiles(&self) -> Arc<[f64]> {
        let given = self.quantiles.as_ref();
        given.map_or_else(|| DEFAULT_QUANTILES.into(), Arc::clone)
    }

    fn place(&self) -> String {
        format!("metric `{}`", self.name)
    }

    fn into_descriptor(self, kind: Kind) -> Descriptor {
        Descriptor::new(self.name, kind)
            .with_unit(self.unit)
            .with_description(self.description)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let place = || self.place();
        if self.name.is_empty() {
            return Err(ConfigError::new("metric", "it has no name", "name it"));
        }
        let rises = |numbers: &[f64]| numbers.is_sorted_by(|a, b| a < b);
        let (bounds, quantiles) = (self.bounds(), self.quantiles());
        if !rises(&bounds) || !bounds.iter().all(|bound| bound.is_finite()) {
            let problem = format!("its bounds {bounds:?} do not rise");
            let fix = "give finite numbers, each above the one before";
            return Err(ConfigError::new(place(), problem, fix));
        }
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        if !rises(&quantiles) || !quantiles.iter().all(is_share) {
            let problem = format!("its quantiles {quantiles:?} do not rise from 0 to 1");
            return Err(ConfigError::new(
                place(),
                problem,
                "give 0.5 for the median",
            ));
        }
        if self.max_series == 0 {
            let fix = "use a whole number from 1 on";
            return Err(ConfigError::new(place(), "its max_series is 0", fix));
        }
        Ok(())
    }

    /// Fails where this one says something else of an instrument of `kind` than `known` has. What it does not say, it takes
    /// as it is.
    fn agrees_with(&self, known: &Self, kind: Kind) -> Result<(), ConfigError> {
        let (what, given, has) = match kind {
            Kind::Histogram => ("bounds", &self.bounds, known.bounds()),
            Kind::Summary => ("quantiles", &self.quantiles, known.quantiles()),
            _ => return Ok(()),
        };
        match given {
            Some(given) if *given != has => {
                let problem = format!("its {what} are {has:?} already, and cannot be {given:?}");
                let fix = "give the same ones, or none, or another name";
                Err(ConfigError::new(self.place(), problem, fix))
            }
            _ => Ok(()),
        }
    }
}

impl From<&str> for Spec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// Instruments, and what has been measured with them. A cheap handle: clones are the same registry.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    resource: ArcSwap<Resource>,
    scope: Arc<Scope>,
    metrics: List<Arc<dyn Metric>>,
    sources: List<Source>,
    adding: Lock<()>,
    offers: Offers,
}

struct Source(Box<Ask>);

type Ask = dyn Fn(&Reading) -> Vec<Family> + Send + Sync;

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl Registry {
    /// Without instruments, for nobody in particular.
    pub fn new() -> Self {
        Self::of(Arc::default())
    }

    /// Without instruments, for `resource`.
    pub fn of(resource: Arc<Resource>) -> Self {
        Self {
            inner: Arc::new(Inner {
                resource: ArcSwap::new(resource),
                scope: Arc::new(Scope::new("hiq", env!("CARGO_PKG_VERSION"))),
                ..Inner::default()
            }),
        }
    }

    /// Who counts.
    pub fn resource(&self) -> Arc<Resource> {
        self.inner.resource.load_full()
    }

    /// Says anew who counts: a forked child is another instance than its parent.
    pub fn set_resource(&self, resource: Arc<Resource>) {
        self.inner.resource.store(resource);
    }

    /// The counter that `spec` describes. The same name means the same counter; of its first description. Fails when there is
    /// an instrument of that name and another kind, or a histogram or summary with other bounds or quantiles.
    pub fn counter(&self, spec: impl Into<Spec>) -> Result<Instrument<Counter>, ConfigError> {
        self.instrument(spec.into())
    }

    /// The up-down counter that `spec` describes.
    pub fn up_down_counter(
        &self,
        spec: impl Into<Spec>,
    ) -> Result<Instrument<UpDownCounter>, ConfigError> {
        self.instrument(spec.into())
    }

    /// The gauge that `spec` describes.
    pub fn gauge(&self, spec: impl Into<Spec>) -> Result<Instrument<Gauge>, ConfigError> {
        self.instrument(spec.into())
    }

    /// The histogram with [bounds](Spec::with_bounds) that `spec` describes.
    pub fn histogram(&self, spec: impl Into<Spec>) -> Result<Instrument<Histogram>, ConfigError> {
        self.instrument(spec.into())
    }

    /// The exponential histogram that `spec` describes.
    pub fn exponential_histogram(
        &self,
        spec: impl Into<Spec>,
    ) -> Result<Instrument<ExponentialHistogram>, ConfigError> {
        self.instrument(spec.into())
    }

    /// The summary that `spec` describes.
    pub fn summary(&self, spec: impl Into<Spec>) -> Result<Instrument<Summary>, ConfigError> {
        self.instrument(spec.into())
    }

    fn instrument<T: Cell>(&self, spec: Spec) -> Result<Instrument<T>, ConfigError> {
        spec.validate()?;
        let _one_at_a_time = self.inner.adding.lock();
        let mut metrics = self.inner.metrics.iter();
        let Some(known) = metrics.find(|metric| metric.descriptor().name() == spec.name) else {
            let series = Arc::new(Series::<T>::new(spec));
            self.inner
                .metrics
                .push(Arc::clone(&series) as Arc<dyn Metric>);
            return Ok(Instrument::new(series));
        };
        let kind = known.descriptor().kind();
        match Arc::clone(known).into_any().downcast::<Series<T>>() {
            Ok(series) => {
                spec.agrees_with(series.spec(), T::KIND)?;
                Ok(Instrument::new(series))
            }
            Err(_) => Err(ConfigError::new(
                spec.place(),
                format!("it is a {kind:?} already, and cannot be a {:?}", T::KIND),
                "give one of the two another name",
            )),
        }
    }

    /// A metric of `kind` (a gauge or a sum) whose numbers somebody else knows: `ask` tells them at every reading, on the
    /// thread that reads. Of a sum they are what it has come to. What is infinite or not a number is left out, as are
    /// numbers below zero of a counter. Fails when there is a metric of that name.
    ///
    /// ```
    /// use hiq_core::metric::record::Registry;
    /// use hiq_core::metric::{Kind, LabelSet, Number};
    ///
    /// let registry = Registry::new();
    /// registry.observe(Kind::Gauge, "shop.open", |_| vec![(LabelSet::empty(), Number::Int(2))])?;
    /// let snapshot = registry.collect(&Default::default());
    /// assert_eq!(snapshot.families()[0].points().len(), 1);
    /// # Ok::<(), hiq_core::config::ConfigError>(())
    /// ```
    pub fn observe(
        &self,
        kind: Kind,
        spec: impl Into<Spec>,
        ask: impl Fn(&Reading) -> Vec<(Arc<LabelSet>, Number)> + Send + Sync + 'static,
    ) -> Result<(), ConfigError> {
        let spec = spec.into();
        spec.validate()?;
        if !matches!(kind, Kind::Gauge | Kind::Sum { .. }) {
            let problem = format!("a {kind:?} cannot be asked for");
            let fix = "ask for a gauge or a sum";
            return Err(ConfigError::new(spec.place(), problem, fix));
        }
        let _one_at_a_time = self.inner.adding.lock();
        let mut metrics = self.inner.metrics.iter();
        if metrics.any(|metric| metric.descriptor().name() == spec.name) {
            let fix = "give one of the two another name";
            return Err(ConfigError::new(spec.place(), "it is there already", fix));
        }
        let observed: Arc<dyn Metric> = Arc::new(Observed::new(kind, spec, ask));
        self.inner.metrics.push(observed);
        Ok(())
    }

    /// True when an instrument has a series.
    pub(super) fn has_series(&self) -> bool {
        self.inner.metrics.iter().any(|metric| metric.has_series())
    }

    /// Has the spans that are offered to be counted here added to `mirror` as well, which outlives this process when that is
    /// killed. What of them is in a snapshot says [`Registry::spans_in`].
    pub fn mirror_offered_spans(&self, mirror: &'static AtomicU64) {
        self.inner.offers.mirror(mirror);
    }

    /// The spans that have been counted in a snapshot of this registry.
    pub fn spans_in(&self, snapshot: &MetricBatch) -> u64 {
        self.inner.offers.spans_in(snapshot)
    }

    pub(super) fn note_calls(&self, descriptor: &Arc<Descriptor>) {
        self.inner.offers.note_calls(descriptor);
    }

    pub(super) fn note_ledger(&self, ledger: &Arc<Ledger>) {
        self.inner.offers.note_ledger(ledger);
    }

    /// Has `source` asked for further families with every reading: for what somebody else counts.
    pub fn add_source(&self, source: impl Fn(&Reading) -> Vec<Family> + Send + Sync + 'static) {
        self.inner.sources.push(Source(Box::new(source)));
    }

    /// What has been measured up to now, in the order in which instruments and series were made.
    pub fn collect(&self, options: &CollectOptions) -> MetricBatch {
        let mut reading = Reading::new(options);
        let mut families: Vec<_> = (self.inner.metrics.iter())
            .map(|metric| metric.collect(&mut reading))
            .collect();
        families.reverse();
        let sources: Vec<_> = self.inner.sources.iter().collect();
        for source in sources.into_iter().rev() {
            families.extend((source.0)(&reading));
        }
        let inner = &self.inner;
        MetricBatch::new(
            inner.resource.load_full(),
            Arc::clone(&inner.scope),
            families,
        )
    }
}

/// What is read of a registry.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CollectOptions {
    /// Summaries come with [all measurements as a histogram](super::Summary::sketch) as well. Default: no.
    pub sketches: bool,
    /// Those histograms hold only what the quantiles are of: the measurements of the sliding window. For a
    /// [merge](super::merge). Default: no.
    pub recent: bool,
    /// The moment that quantiles are seen from. Default: now.
    pub now: Option<Instant>,
}

impl CollectOptions {
    /// Summaries as histograms as well.
    pub const fn with_sketches() -> Self {
        Self {
            sketches: true,
            recent: false,
            now: None,
        }
    }

    /// Summaries with their recent measurements, to be [merged](super::merge) with those of other processes.
    pub const fn to_merge() -> Self {
        Self {
            sketches: true,
            recent: true,
            now: None,
        }
    }
}

/// One reading of a registry.
#[derive(Debug)]
pub struct Reading {
    time: UnixNanos,
    now: Instant,
    sketches: bool,
    recent: bool,
    room: Room,
    scratch: Distribution,
}

impl Reading {
    fn new(options: &CollectOptions) -> Self {
        Self {
            time: Clock::unix_nanos(),
            now: options.now.unwrap_or_else(Instant::now),
            sketches: options.sketches,
            recent: options.recent,
            room: Room::default(),
            scratch: Distribution::default(),
        }
    }

    /// When it is made: the time of its points.
    pub fn time(&self) -> UnixNanos {
        self.time
    }
}

/// What one series counts with.
pub trait Cell: fmt::Debug + Send + Sync + Sized + 'static {
    /// What kind of metric it makes.
    const KIND: Kind;

    /// A series of `spec` that has measured nothing.
    fn new(spec: &Spec) -> Self;

    /// Has what will be read by way of it on its way from memory. `depth` is 1 for what it points to, 2 for what that points
    /// to, when the former has had time to arrive.
    fn fetch(&self, _depth: usize) {}

    /// What it has come to; `None` where nothing was measured in this process.
    fn read(&self, reading: &mut Reading) -> Option<Measured>;
}

/// What a series has come to.
#[derive(Debug)]
pub struct Measured {
    start: UnixNanos,
    value: PointValue,
    exemplars: Vec<Exemplar>,
}

impl Measured {
    #[inline]
    fn of(
        life: &Life,
        value: PointValue,
        exemplars: impl FnOnce() -> Vec<Exemplar>,
    ) -> Option<Self> {
        life.is_current().then(|| Self {
            start: life.start(),
            value,
            exemplars: exemplars(),
        })
    }
}
