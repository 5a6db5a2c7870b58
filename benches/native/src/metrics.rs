//! S12: a measurement of a summary, a page of summaries with quantiles, and metrics from trees; by hiq, by `metrics` with its
//! exporter for Prometheus, and by the floor.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hiq_core::batch::{Batch, TreeBatch};
use hiq_core::export::{Deadline, Exporter};
use hiq_core::id::TraceId;
use hiq_core::intern::{SiteId, symbol};
use hiq_core::ledger::Ledger;
use hiq_core::metric::record::{CollectOptions, DEFAULT_MAX_AGE, Instrument, Registry, Summary};
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::resource::{Resource, Scope};
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_prometheus::expose;
use hiq_prometheus::form::{Form, Format};
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::worker::Worker;

/// Summaries of a page, with two labels each.
const SUMMARIES: usize = 1_000;
/// Measurements in each, made anew before every page: a summary forgets, and the quantiles of nothing are cheap.
const MEASURED: usize = 200;
/// Series of the large scrape.
const SERIES: usize = 10_000;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Until the runner closes the pipe.
pub fn main() {
    let values = durations(1_024);
    let registry = Registry::new();
    let ours = summary(&registry, "one");
    let floor = Floor::default();
    let (peer, _) = peer();
    let theirs = peer_histogram(&peer, "one", &[]);

    let (page, floors, peers) = (Page::new(), many_floors(), PeerPage::new());
    page.outlive_the_window(&values);
    let large = many_counters();
    let (mut out, mut large_out, mut floor_out) = (Vec::new(), Vec::new(), Vec::new());

    let mut worker = Worker::default();
    let each = values.len();
    worker.call("observe_hiq", each, || {
        observe(&values, |value| ours.observe(value))
    });
    worker.call("observe_floor", each, || {
        observe(&values, |value| floor.observe(value))
    });
    worker.call("observe_metrics", each, || {
        observe(&values, |value| theirs.record(value))
    });
    worker.prepared(
        "expose_hiq",
        SUMMARIES,
        || page.measure(&values),
        || expose_all(&page.registry, &mut out),
    );
    worker.prepared(
        "expose_floor",
        SUMMARIES,
        || measure_floors(&floors, &values),
        || expose_floors(&floors, &mut floor_out),
    );
    worker.prepared(
        "expose_metrics",
        SUMMARIES,
        || peers.measure(&values),
        || peers.handle.render(),
    );
    worker.call("scrape_10000", 1_000_000, || {
        expose_all(&large, &mut large_out)
    });
    worker.call("trees", 512, count_trees());
    worker.serve();
}

fn observe(values: &[f64], mut observe: impl FnMut(f64)) {
    for value in values {
        observe(black_box(*value));
    }
}

/// From 1 to 368 ms, in seconds, as many in each power of ten.
fn durations(count: usize) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(12);
    (0..count)
        .map(|_| (random.f64() * 6.0 - 7.0).exp())
        .collect()
}

/// What the series of this number measures, the same each time.
fn measurements(values: &[f64], series: usize) -> impl Iterator<Item = f64> {
    let values = values.iter().cycle();
    values.skip(series * MEASURED).take(MEASURED).copied()
}

fn summary(registry: &Registry, name: &str) -> Arc<Summary> {
    registry.summary(name).expect("a new name").plain()
}

fn labels(number: usize) -> [(&'static str, String); 2] {
    [
        ("function", format!("function-{number}")),
        ("service", "shop".to_owned()),
    ]
}

/// Summaries of hiq.
struct Page {
    registry: Registry,
    summaries: Vec<Arc<Summary>>,
}

impl Page {
    fn new() -> Self {
        let registry = Registry::new();
        let took: Instrument<Summary> = registry.summary("took").expect("a new name");
        let summaries = (0..SUMMARIES).map(|number| took.with(labels(number)));
        Self {
            summaries: summaries.collect(),
            registry,
        }
    }

    fn measure(&self, values: &[f64]) {
        for (number, one) in self.summaries.iter().enumerate() {
            measurements(values, number).for_each(|value| one.observe(value));
        }
    }

    /// Measures for longer than the window lasts, so that reading has to tell what is recent from what is not.
    fn outlive_the_window(&self, values: &[f64]) {
        let start = Instant::now();
        for minutes in 0..DEFAULT_MAX_AGE.as_secs() / 60 * 2 {
            self.measure(values);
            let mut options = CollectOptions::default();
            options.now = Some(start + Duration::from_secs(60 * minutes));
            self.registry.collect(&options);
        }
    }
}

fn many_counters() -> Registry {
    let registry = Registry::new();
    let calls = registry.counter("calls").expect("a new name");
    for number in 0..SERIES {
        calls.with(labels(number)).add(number as u64);
    }
    registry
}

fn expose_all(registry: &Registry, out: &mut Vec<u8>) -> usize {
    out.clear();
    let snapshot = registry.collect(&CollectOptions::default());
    expose(&snapshot, Form::new(Format::Text), out)
}

/// As it comes: with seven quantiles, where hiq has three.
fn peer() -> (
    metrics_exporter_prometheus::PrometheusRecorder,
    PrometheusHandle,
) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

fn peer_histogram(
    recorder: &impl Recorder,
    name: &'static str,
    labels: &[(&'static str, String)],
) -> metrics::Histogram {
    static METADATA: Metadata<'static> = Metadata::new("bench", Level::INFO, None);
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| Label::new(*name, value.clone()))
        .collect();
    recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
}

/// Summaries of the peer, which keeps 60 seconds of them.
struct PeerPage {
    handle: PrometheusHandle,
    histograms: Vec<metrics::Histogram>,
}

impl PeerPage {
    fn new() -> Self {
        let (recorder, handle) = peer();
        let one = |number| peer_histogram(&recorder, "took", &labels(number));
        Self {
            histograms: (0..SUMMARIES).map(one).collect(),
            handle,
        }
    }

    fn measure(&self, values: &[f64]) {
        for (number, one) in self.histograms.iter().enumerate() {
            measurements(values, number).for_each(|value| one.record(value));
        }
        // Else the first page would be the one that takes them into its sketches.
        self.handle.run_upkeep();
    }
}

/// Counts trees of 64 spans, eight a batch, by twenty functions.
fn count_trees() -> impl FnMut() {
    let counted = TreeMetrics::new(&Registry::new(), TreeMetricsOptions::default());
    let mut exporter = counted.expect("new names").exporter();
    let resource = Arc::new(Resource::default());
    let trees = (0..8).map(|number| Arc::new(tree(&resource, number)));
    let batch = Arc::new(TreeBatch::new(trees.collect()));
    let (ledger, deadline) = (Ledger::new(), Deadline::never());
    move || {
        ledger.offer(batch.items());
        let custody = ledger.take(batch.items(), Instant::now());
        exporter.export(Arc::clone(&batch), custody, &deadline);
    }
}

fn tree(resource: &Arc<Resource>, number: u64) -> SpanTree {
    const START: u64 = 1_700_000_000_000_000_000;
    let scope = Arc::new(Scope::default());
    let start = TreeStart::new(TraceId::random(), Arc::clone(resource), scope);
    let mut tree = TreeBuilder::new(start, SpanLimits::default());
    for place in 0..64_u64 {
        let name = symbol(&format!("function-{}", (place * 7 + number) % 20)).expect("room");
        let parent = (place > 0).then_some(0);
        let span = tree.start(name, SiteId::NONE, parent, START + place);
        tree.end(span, START + place + 1_000 + place * place * 37 + number);
    }
    tree.finish()
}

/// As little as a shared summary of this precision can do: 64 buckets an octave, a sum, the range in use, no window.
struct Floor {
    counts: Box<[AtomicU32]>,
    first: AtomicU32,
    last: AtomicU32,
    sum: AtomicU64,
}

/// The top of a double: 11 bits of exponent, 6 of mantissa; 32 octaves from 2^-16 on are kept.
const SHIFT: u32 = 46;
const FIRST: u64 = (1023 - 16) << 6;

impl Default for Floor {
    fn default() -> Self {
        Self {
            counts: (0..32 * 64).map(|_| AtomicU32::new(0)).collect(),
            first: AtomicU32::new(u32::MAX),
            last: AtomicU32::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

impl Floor {
    #[inline]
    fn observe(&self, value: f64) {
        let place = (value.to_bits() >> SHIFT).saturating_sub(FIRST) as u32;
        if place < self.first.load(Ordering::Relaxed) {
            self.first.fetch_min(place, Ordering::Relaxed);
        }
        if place > self.last.load(Ordering::Relaxed) {
            self.last.fetch_max(place, Ordering::Relaxed);
        }
        self.counts[place as usize].fetch_add(1, Ordering::Relaxed);
        let mut before = self.sum.load(Ordering::Relaxed);
        loop {
            let after = (f64::from_bits(before) + value).to_bits();
            let order = (Ordering::Relaxed, Ordering::Relaxed);
            match (self.sum).compare_exchange_weak(before, after, order.0, order.1) {
                Ok(_) => return,
                Err(other) => before = other,
            }
        }
    }
}

/// A summary, with what its lines begin with.
struct FloorSeries {
    starts: [String; QUANTILES.len() + 2],
    floor: Floor,
}

impl FloorSeries {
    fn new(number: usize) -> Self {
        let labels = format!("function=\"function-{number}\",service=\"shop\"");
        let [median, nine, most] =
            QUANTILES.map(|share| format!("took{{{labels},quantile=\"{share}\"}} "));
        let [sum, count] = ["sum", "count"].map(|what| format!("took_{what}{{{labels}}} "));
        Self {
            starts: [median, nine, most, sum, count],
            floor: Floor::default(),
        }
    }
}

fn many_floors() -> Vec<FloorSeries> {
    (0..SUMMARIES).map(FloorSeries::new).collect()
}

fn measure_floors(floors: &[FloorSeries], values: &[f64]) {
    for (number, one) in floors.iter().enumerate() {
        measurements(values, number).for_each(|value| one.floor.observe(value));
    }
}

fn expose_floors(floors: &[FloorSeries], out: &mut Vec<u8>) {
    let mut numbers = (zmij::Buffer::new(), itoa::Buffer::new());
    out.clear();
    for FloorSeries { starts, floor } in floors {
        let (quantiles, total) = floor.read();
        let sum = f64::from_bits(floor.sum.load(Ordering::Relaxed));
        let [starts @ .., count] = starts;
        for (start, number) in starts.iter().zip(quantiles.into_iter().chain([sum])) {
            out.extend_from_slice(start.as_bytes());
            out.extend_from_slice(numbers.0.format_finite(number).as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(count.as_bytes());
        out.extend_from_slice(numbers.1.format(total).as_bytes());
        out.push(b'\n');
    }
}

impl Floor {
    /// The quantiles, and how many measurements there are.
    fn read(&self) -> ([f64; QUANTILES.len()], u64) {
        let load = |count: &AtomicU32| u64::from(count.load(Ordering::Relaxed));
        let [first, last] = [&self.first, &self.last].map(|end| end.load(Ordering::Relaxed) / 64);
        let octaves = &self.counts.as_chunks::<64>().0[first as usize..=last as usize];
        let mut totals = [0; 32];
        for (total, octave) in totals.iter_mut().zip(octaves) {
            *total = octave.iter().map(load).sum::<u64>();
        }
        let total = totals.iter().sum();
        let (mut seen, mut above) = (0, 0);
        let quantiles = QUANTILES.map(|share| {
            let rank = (share * total as f64).ceil() as u64;
            while above + 1 < octaves.len() && seen + totals[above] < rank {
                seen += totals[above];
                above += 1;
            }
            let mut left = rank - seen;
            let place = octaves[above].iter().position(|count| {
                left = left.saturating_sub(load(count));
                left == 0
            });
            let place = (u64::from(first) + above as u64) * 64 + place.unwrap_or(63) as u64;
            f64::from_bits((FIRST + place + 1) << SHIFT)
        });
        (quantiles, total)
    }
}
