//! Trees into metrics: what is counted is what happened, sampled or not, and the ledgers balance.
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, mpsc};

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ExemplarFilter, PipelineSettings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::id::TraceId;
use hiq_core::intern::SiteId;
use hiq_core::ledger::Custody;
use hiq_core::metric::ledgers::show_ledgers;
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::metric::{MetricBatch, Number, PointValue};
use hiq_core::pipeline::{Pipeline, PipelineBuilder};
use hiq_core::record::tracer::Tracer;
use hiq_core::resource::{Resource, Scope};
use hiq_core::sample::{KeepRules, RootSampler, Sampler};
use hiq_core::span::Status;
use hiq_core::tree::{ColumnKind, ColumnSpec, SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::Value;
use hiq_testkit::lines::LineEncoder;
use hiq_testkit::script::Script;
use hiq_testkit::{PATIENCE, assert_balances};

const START: u64 = 1_700_000_000_000_000_000;

fn service(name: &str) -> Arc<Resource> {
    Arc::new(Resource::new([("service.name", Value::from(name))]))
}

/// A call: its name, how many nanoseconds it took, how it ended.
type Call = (&'static str, u64, Status);

fn tree(resource: &Arc<Resource>, calls: &[Call], sampled: bool) -> SpanTree {
    build(resource, calls, sampled).finish()
}

fn build(resource: &Arc<Resource>, calls: &[Call], sampled: bool) -> TreeBuilder {
    let scope = Arc::new(Scope::default());
    let mut start = TreeStart::new(TraceId::random(), Arc::clone(resource), scope);
    start.trace_flags = u8::from(sampled);
    let mut builder = TreeBuilder::new(start, SpanLimits::default());
    for (name, nanos, status) in calls {
        let name = builder.symbol(name);
        let parent = (!builder.is_empty()).then_some(0);
        let span = builder.start(name, SiteId::NONE, parent, START);
        builder.set_status(span, *status, "");
        builder.end(span, START + nanos);
    }
    builder
}

fn counting(registry: &Registry, options: TreeMetricsOptions) -> PipelineBuilder {
    let counted = TreeMetrics::new(registry, options).unwrap();
    Pipeline::builder()
        .settings(PipelineSettings::default())
        .exporter_before_sampling("metrics", counted.builder())
}

#[track_caller]
fn finish(pipeline: &Pipeline) {
    let report = pipeline.shutdown(PATIENCE);
    assert!(report.is_complete(), "{report:?}");
    for exporter in report.exporters() {
        assert_balances(&exporter.ledger);
    }
}

/// Every point as `name{labels}` and its number; of a summary, its count and its sum.
fn read(batch: &MetricBatch) -> BTreeMap<String, f64> {
    let mut read = BTreeMap::new();
    let mut cursor = batch.cursor();
    while let Some((family, point)) = cursor.next_point() {
        let labels: Vec<_> = point
            .labels()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let name = format!("{}{{{}}}", family.descriptor().name(), labels.join(","));
        match point.value() {
            PointValue::Number(number) => {
                read.insert(name, number.as_f64());
            }
            PointValue::Summary(summary) => {
                let count = i64::try_from(summary.count).unwrap();
                read.insert(format!("{name} count"), Number::Int(count).as_f64());
                read.insert(format!("{name} sum"), summary.sum);
            }
            other => panic!("{other:?}"),
        }
    }
    read
}

#[track_caller]
fn assert_read(registry: &Registry, expected: &[(&str, f64)]) {
    let read = read(&registry.collect(&CollectOptions::default()));
    for (name, value) in expected {
        let shown = read.get(*name);
        let is_near = |shown: &f64| (shown - value).abs() <= 1e-12 + 1e-9 * value.abs();
        assert!(
            shown.is_some_and(is_near),
            "{name}: {shown:?} for {value} in {read:#?}"
        );
    }
    assert_eq!(read.len(), expected.len(), "{read:#?}");
}

#[test]
fn calls_errors_and_durations_are_counted_by_function_and_service() {
    let (shop, bank) = (service("shop"), service("bank"));
    let registry = Registry::of(Arc::clone(&shop));
    let pipeline = counting(&registry, TreeMetricsOptions::default()).build();
    let calls = [
        ("checkout", 3_000_000_000, Status::Unset),
        ("pay", 500_000_000, Status::Error),
        ("pay", 250_000_000, Status::Ok),
    ];
    pipeline.offer(tree(&shop, &calls, true));
    pipeline.offer(tree(&service("shop"), &calls[..1], true));
    pipeline.offer(tree(&bank, &[("pay", 1, Status::Error)], true));
    finish(&pipeline);
    assert_read(
        &registry,
        &[
            ("hiq.function.calls{function=checkout}", 2.0),
            ("hiq.function.calls{function=pay}", 2.0),
            ("hiq.function.calls{function=pay,service.name=bank}", 1.0),
            ("hiq.function.errors{function=checkout}", 0.0),
            ("hiq.function.errors{function=pay}", 1.0),
            ("hiq.function.errors{function=pay,service.name=bank}", 1.0),
            ("hiq.function.duration{function=checkout} count", 2.0),
            ("hiq.function.duration{function=checkout} sum", 6.0),
            ("hiq.function.duration{function=pay} count", 2.0),
            ("hiq.function.duration{function=pay} sum", 0.75),
            (
                "hiq.function.duration{function=pay,service.name=bank} count",
                1.0,
            ),
            (
                "hiq.function.duration{function=pay,service.name=bank} sum",
                1e-9,
            ),
        ],
    );
}

/// One root of two spans with each tracer; every second one fails.
fn record(tracer: &Tracer, roots: usize) {
    for root in 0..roots {
        let _outer = tracer.span("outer");
        let mut inner = tracer.span("inner");
        if root % 2 == 0 {
            inner.set_status(Status::Error, "no");
        }
    }
}

fn exporting(builder: PipelineBuilder, script: &Script) -> PipelineBuilder {
    let script = script.clone();
    builder.exporter("lines", move || -> Result<_, Infallible> {
        let options = DeliveryOptions::default();
        let exporter = EncodedExporter::new(LineEncoder::new(), script.transport(), options);
        Ok(Box::new(exporter) as Box<dyn Exporter<TreeBatch>>)
    })
}

#[test]
fn what_is_sampled_out_is_counted_but_not_exported() {
    let registry = Registry::new();
    let script = Script::accepting();
    let pipeline = exporting(counting(&registry, TreeMetricsOptions::default()), &script)
        .sampler(Sampler::new(RootSampler::trace_id_ratio(0.25), true))
        .build();
    record(&Tracer::new(pipeline.clone()), 400);
    finish(&pipeline);
    let read = read(&registry.collect(&CollectOptions::default()));
    assert_eq!(read["hiq.function.calls{function=outer}"], 400.0);
    assert_eq!(read["hiq.function.calls{function=inner}"], 400.0);
    assert_eq!(read["hiq.function.errors{function=inner}"], 200.0);
    let stats = pipeline.stats();
    let (metrics, lines) = (
        stats.ledger("metrics").unwrap(),
        stats.ledger("lines").unwrap(),
    );
    assert_eq!(
        (metrics.offered, metrics.exported, metrics.sampled_out),
        (800, 800, 0)
    );
    assert_eq!(lines.offered + lines.sampled_out, 800);
    assert!(lines.offered > 0 && lines.sampled_out > 0, "{lines:?}");
    let exported: usize = script.attempts().iter().map(|attempt| attempt.items).sum();
    assert_eq!(exported as u64, lines.exported);
}

#[test]
fn what_a_rule_keeps_is_counted_once() {
    let registry = Registry::new();
    let script = Script::accepting();
    let pipeline = exporting(counting(&registry, TreeMetricsOptions::default()), &script)
        .sampler(Sampler::new(RootSampler::AlwaysOff, false))
        .build();
    let mut rules = KeepRules::new();
    rules.errors = true;
    record(&Tracer::new(pipeline.clone()).with_keep_rules(rules), 10);
    finish(&pipeline);
    let read = read(&registry.collect(&CollectOptions::default()));
    assert_eq!(read["hiq.function.calls{function=outer}"], 10.0);
    let stats = pipeline.stats();
    let lines = stats.ledger("lines").unwrap();
    assert_eq!((lines.exported, lines.sampled_out), (10, 10));
}

#[test]
fn without_somebody_who_counts_a_sampled_out_root_is_not_recorded() {
    let pipeline = exporting(Pipeline::builder(), &Script::accepting())
        .sampler(Sampler::new(RootSampler::AlwaysOff, false))
        .build();
    assert!(!pipeline.wants_sampled_out());
    record(&Tracer::new(pipeline.clone()), 5);
    assert_eq!(pipeline.stats().ledger("lines").unwrap().sampled_out, 10);
    let counted = TreeMetrics::new(&Registry::new(), TreeMetricsOptions::default()).unwrap();
    let id = pipeline.attach_before_sampling("metrics", counted.builder());
    assert!(pipeline.wants_sampled_out());
    record(&Tracer::new(pipeline.clone()), 5);
    assert_eq!(pipeline.detach(id, PATIENCE).unwrap().ledger.exported, 10);
    assert!(!pipeline.wants_sampled_out());
    finish(&pipeline);
}

#[test]
fn examples_are_of_sampled_traces_unless_told_otherwise() {
    let shop = service("shop");
    for (filter, sampled, shown) in [
        (ExemplarFilter::TraceBased, true, true),
        (ExemplarFilter::TraceBased, false, false),
        (ExemplarFilter::AlwaysOn, false, true),
        (ExemplarFilter::AlwaysOff, true, false),
    ] {
        let registry = Registry::of(Arc::clone(&shop));
        let mut options = TreeMetricsOptions::default();
        options.exemplars = filter;
        let pipeline = counting(&registry, options).build();
        let calls = [("a", 7, Status::Unset), ("b", 2_000_000_000, Status::Error)];
        let tree = tree(&shop, &calls, sampled);
        let (trace, failed) = (tree.trace_id(), tree.span(1).unwrap().id());
        pipeline.offer(tree);
        finish(&pipeline);
        let batch = registry.collect(&CollectOptions::default());
        let mut examples = Vec::new();
        for family in batch.families() {
            let point = &family.points()[1];
            let found = point.exemplars().iter().map(|example| {
                assert_eq!((example.trace_id, example.span_id), (trace, failed));
                assert_eq!(example.time.0, START + 2_000_000_000);
                example.value.as_f64()
            });
            examples.extend(found);
        }
        let expected: &[f64] = if shown { &[1.0, 1.0, 2.0] } else { &[] };
        assert_eq!(examples, expected, "{filter:?}");
    }
}

#[test]
fn columns_are_gauges_and_counters_in_base_units() {
    let shop = service("shop");
    let registry = Registry::of(Arc::clone(&shop));
    let pipeline = counting(&registry, TreeMetricsOptions::default()).build();
    let column = |name: &str, unit: &str, kind| Arc::new(ColumnSpec::new(name, unit, kind));
    let memory = column("get_memory_mb", "MBy", ColumnKind::Level);
    let read = column("dio_bytes_r", "By", ColumnKind::Delta { monotonic: true });
    let balance = column("balance", "ms", ColumnKind::Delta { monotonic: false });
    let calls = [("f", 5, Status::Unset), ("g", 5, Status::Unset)];
    let mut tree = build(&shop, &calls, true);
    tree.set_metric(0, &memory, 1.5, 2.5);
    tree.set_metric(0, &read, 100.0, 140.0);
    tree.set_metric(1, &read, 110.0, 112.0);
    tree.set_metric(1, &balance, 10.0, 4.0);
    pipeline.offer(tree.finish());
    finish(&pipeline);
    let all = read_columns(&registry);
    let expected = [
        ("hiq.function.balance [s] g", -0.006),
        ("hiq.function.dio_bytes_r [By] f", 40.0),
        ("hiq.function.dio_bytes_r [By] g", 2.0),
        ("hiq.function.memory [By] f", 2_500_000.0),
    ];
    assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value)));
}

fn read_columns(registry: &Registry) -> Vec<(String, f64)> {
    let batch = registry.collect(&CollectOptions::default());
    let mut all = Vec::new();
    for family in &batch.families()[3..] {
        let descriptor = family.descriptor();
        for point in family.points() {
            let PointValue::Number(number) = point.value() else {
                panic!("{point:?}");
            };
            let function = point.labels().get("function").unwrap();
            let name = format!("{} [{}] {function}", descriptor.name(), descriptor.unit());
            all.push((name, number.as_f64()));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn beyond_the_limit_functions_are_counted_together() {
    let shop = service("shop");
    let registry = Registry::of(Arc::clone(&shop));
    let mut options = TreeMetricsOptions::default();
    options.max_series = 2;
    let pipeline = counting(&registry, options).build();
    let calls = ["a", "b", "c", "d", "a", "c"].map(|name| (name, 1, Status::Unset));
    pipeline.offer(tree(&shop, &calls, true));
    pipeline.offer(tree(&shop, &calls, true));
    finish(&pipeline);
    let read = read(&registry.collect(&CollectOptions::default()));
    assert_eq!(read["hiq.function.calls{function=a}"], 4.0);
    assert_eq!(read["hiq.function.calls{function=b}"], 2.0);
    assert_eq!(read["hiq.function.calls{otel.metric.overflow=true}"], 6.0);
    assert_eq!(
        read["hiq.function.duration{otel.metric.overflow=true} count"],
        6.0
    );
    assert_eq!(read.len(), 12, "{read:#?}");
}

/// Holds a batch until it is let go.
#[derive(Debug)]
struct Stuck(mpsc::Receiver<()>);

impl Exporter<TreeBatch> for Stuck {
    fn export(&mut self, _: Arc<TreeBatch>, custody: Custody, _: &Deadline) -> Progress {
        self.0.recv().unwrap();
        custody.delivered();
        Progress::Done
    }
}

#[test]
fn counts_are_up_to_date_without_waiting_for_what_is_sent() {
    let shop = service("shop");
    let registry = Registry::of(Arc::clone(&shop));
    let (let_go, stuck) = mpsc::channel();
    let stuck = Mutex::new(Some(stuck));
    let pipeline = counting(&registry, TreeMetricsOptions::default())
        .exporter("stuck", move || {
            let stuck = stuck.lock().unwrap().take().unwrap();
            Ok::<_, Infallible>(Box::new(Stuck(stuck)) as Box<dyn Exporter<TreeBatch>>)
        })
        .build();
    pipeline.offer(tree(&shop, &[("checkout", 1, Status::Unset)], true));
    let report = pipeline.flush_before_sampling(PATIENCE);
    assert!(report.is_complete());
    let flushed = report.exporters().iter().map(|exporter| &*exporter.name);
    assert_eq!(flushed.collect::<Vec<_>>(), ["metrics"]);
    let read = read(&registry.collect(&CollectOptions::default()));
    assert_eq!(
        read.get("hiq.function.calls{function=checkout}"),
        Some(&1.0)
    );
    let_go.send(()).unwrap();
    finish(&pipeline);
}

#[test]
fn ledgers_are_shown_as_metrics() {
    let registry = Registry::new();
    let pipeline = exporting(Pipeline::builder(), &Script::accepting()).build();
    let never = || Err::<Box<dyn Exporter<TreeBatch>>, _>("never needed");
    let beside = Pipeline::builder().exporter("beside", never).build();
    let stats = (pipeline.clone(), beside);
    show_ledgers(&registry, move || stats.0.stats().and(stats.1.stats()));
    let shop = service("shop");
    pipeline.offer(tree(
        &shop,
        &[("a", 1, Status::Unset), ("b", 1, Status::Ok)],
        true,
    ));
    let before = read(&registry.collect(&CollectOptions::default()));
    let held: f64 = ["queued", "in_flight", "spooled"]
        .map(|place| before[&format!("hiq.exporter.held{{exporter=lines,place={place}}}")])
        .iter()
        .sum();
    let exported = "hiq.exporter.items{exporter=lines,outcome=exported}";
    assert_eq!(held + before[exported], 2.0);
    assert_eq!(
        before["hiq.exporter.items{exporter=beside,outcome=exported}"],
        0.0
    );
    finish(&pipeline);
    pipeline.offer(tree(&shop, &[("late", 1, Status::Unset)], true));
    let after = read(&registry.collect(&CollectOptions::default()));
    assert_eq!(after[exported], 2.0);
    assert_eq!(after["hiq.exporter.held{exporter=lines,place=queued}"], 0.0);
    let late = "hiq.exporter.items{exporter=lines,outcome=dropped,reason=shutdown}";
    assert_eq!(after[late], 1.0);
}
