use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::batch::TreeBatch;
use crate::config::ConfigError;
use crate::context::Propagator;
use crate::export::{Deadline, Exporter, Progress};
use crate::ledger::Custody;
use crate::sample::{RootSampler, Sampler};
use crate::span::Status;
use crate::value::{Value, ValueRef};

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Arc<SpanTree>>>>);

impl Exporter<TreeBatch> for Kept {
    fn export(
        &mut self,
        batch: Arc<TreeBatch>,
        custody: Custody,
        _deadline: &Deadline,
    ) -> Progress {
        self.0.lock().unwrap().extend(batch.trees().iter().cloned());
        custody.delivered();
        Progress::Done
    }
}

fn tracer(sampler: Sampler) -> (Tracer, Kept) {
    let kept = Kept::default();
    let exporter = kept.clone();
    let build = move || Ok::<Box<dyn Exporter<TreeBatch>>, ConfigError>(Box::new(exporter.clone()));
    (
        Tracer::new(
            Pipeline::builder()
                .sampler(sampler)
                .exporter("kept", build)
                .build(),
        ),
        kept,
    )
}

const ALWAYS: Sampler = Sampler::new(RootSampler::AlwaysOn, true);

/// (name, parent's name) of every span that arrived, sorted; checks that the ledger balances.
fn edges(tracer: &Tracer, kept: &Kept) -> Vec<(String, Option<String>)> {
    assert!(
        tracer
            .pipeline()
            .flush(Duration::from_secs(10))
            .is_complete()
    );
    let stats = tracer.pipeline().stats();
    assert!(stats.ledger("kept").unwrap().balances());
    let trees = kept.0.lock().unwrap();
    let all: Vec<_> = trees.iter().flat_map(|tree| tree.spans()).collect();
    let name_of = |id| {
        all.iter()
            .find(|span| span.id() == id)
            .map(|span| span.name().as_str().to_owned())
    };
    let mut edges: Vec<_> = all
        .iter()
        .map(|span| {
            (
                span.name().as_str().to_owned(),
                span.parent_id().and_then(name_of),
            )
        })
        .collect();
    edges.sort();
    edges
}

fn edge(name: &str, parent: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), parent.map(str::to_owned))
}

#[test]
fn spans_of_a_thread_nest_and_other_threads_hang_under_the_context_they_were_given() {
    let (tracer, kept) = tracer(ALWAYS);
    {
        let root = tracer.span("root");
        let context = root.context();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _work =
                    tracer.span_with("work", &SpanOptions::default().under(context.as_ref()));
                let _inner = tracer.span("inner");
            });
        });
        let _child = tracer.span("child");
    }
    let expected = [
        edge("child", Some("root")),
        edge("inner", Some("work")),
        edge("root", None),
        edge("work", Some("root")),
    ];
    assert_eq!(edges(&tracer, &kept), expected);
}

#[test]
fn attributes_events_and_errors_arrive_on_their_span() {
    static KEY: Key = Key::new("tracer.test.key");
    let (tracer, kept) = tracer(ALWAYS);
    {
        let mut root = tracer.span_with("root", &SpanOptions::kind(Kind::Server));
        {
            let mut child = tracer.span("child");
            child.set_attribute(&KEY, 5_i64).set_attribute("text", "t");
            root.set_attribute("late", true);
            child.record_error(&std::io::Error::other("disk full"));
        }
    }
    tracer.pipeline().flush(Duration::from_secs(10));
    let trees = kept.0.lock().unwrap();
    let (root, child) = (trees[0].span(0).unwrap(), trees[0].span(1).unwrap());
    let read = |span: crate::span::Span<'_>| -> Vec<_> {
        span.own_attributes()
            .map(|(key, value)| (key.as_str().to_owned(), value.to_value()))
            .collect()
    };
    assert_eq!(read(root), [("late".to_owned(), Value::Bool(true))]);
    assert_eq!(root.kind(), Kind::Server);
    assert_eq!(
        read(child),
        [
            ("tracer.test.key".to_owned(), Value::Int(5)),
            ("text".to_owned(), "t".into())
        ]
    );
    assert_eq!(
        (child.status(), child.status_message().unwrap().as_str()),
        (Status::Error, "disk full")
    );
    assert_eq!(child.events().next().unwrap().name().as_str(), "exception");
}

#[test]
fn a_sampled_out_root_silences_what_is_inside_and_passes_the_decision_on() {
    let (tracer, kept) = tracer(Sampler::new(RootSampler::AlwaysOff, true));
    {
        let root = tracer.span("root");
        let context = root.context().unwrap();
        assert!(context.is_valid() && !context.is_sampled());
        let inner = tracer.span("inner");
        assert_eq!(inner.context().unwrap().trace_id, context.trace_id);
    }
    assert!(tracer.current_context().is_none());
    assert_eq!(edges(&tracer, &kept), []);
}

#[test]
fn a_remote_parent_decides_on_sampling_and_is_named() {
    let (tracer, kept) = tracer(Sampler::new(RootSampler::AlwaysOff, true));
    let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let remote = Context::extract(|name| (name == "traceparent").then_some(header));
    drop(tracer.span_with(
        "handler",
        &SpanOptions::kind(Kind::Server).under(remote.as_ref()),
    ));
    tracer.pipeline().flush(Duration::from_secs(10));
    let trees = kept.0.lock().unwrap();
    let span = trees[0].span(0).unwrap();
    assert_eq!(span.parent_id().unwrap().to_string(), "b7ad6b7169203331");
    assert!(span.has_remote_parent());
}

fn of_b3(header: &str) -> Context {
    Context::from_headers(&[Propagator::B3], [("b3", header)]).unwrap()
}

#[test]
fn a_decision_without_a_place_is_about_the_trace_that_begins_there() {
    let (always, kept) = tracer(ALWAYS);
    let (never, none) = tracer(Sampler::new(RootSampler::AlwaysOff, true));
    for (tracer, name, header) in [
        (&always, "left out", "0"),
        (&always, "kept", "1"),
        (&never, "kept", "1"),
        (&never, "watched", "d"),
    ] {
        let parent = of_b3(header);
        let root = tracer.span_with(
            name,
            &SpanOptions::kind(Kind::Internal).under(Some(&parent)),
        );
        let context = tracer.current_context().unwrap();
        assert!(context.is_valid() && !context.is_remote);
        assert_eq!(context.is_sampled(), header != "0");
        assert_eq!(context.is_debug, header == "d");
        drop(root);
    }
    assert_eq!(edges(&always, &kept), [edge("kept", None)]);
    assert_eq!(
        edges(&never, &none),
        [edge("kept", None), edge("watched", None)]
    );
    for tree in none.0.lock().unwrap().iter() {
        let root = tree.span(0).unwrap();
        assert_eq!(root.is_debug(), root.name().as_str() == "watched");
        assert!(!root.has_remote_parent());
    }
}

#[test]
fn a_trace_that_somebody_watches_stays_that_in_every_fragment_and_header() {
    let (tracer, kept) = tracer(ALWAYS);
    let parent = of_b3("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d");
    let root = tracer.span_with(
        "root",
        &SpanOptions::kind(Kind::Internal).under(Some(&parent)),
    );
    // More than leave at once: the finished ones go before the root.
    for _ in 0..5_000 {
        drop(tracer.span("inside"));
    }
    let mut headers = Vec::new();
    let context = tracer.current_context().unwrap();
    context.to_headers(&[Propagator::B3, Propagator::Jaeger], |_, value| {
        headers.push(value);
    });
    assert!(headers[0].ends_with("-d"), "{headers:?}");
    assert!(headers[1].ends_with(":3"), "{headers:?}");
    drop(root);
    // Which nobody watches.
    drop(tracer.span("later"));
    edges(&tracer, &kept);
    let trees = kept.0.lock().unwrap();
    assert!(trees.len() > 2);
    for span in trees.iter().flat_map(|tree| tree.spans()) {
        assert_eq!(span.is_debug(), span.trace_id() == parent.trace_id);
    }
}

#[test]
fn a_root_that_never_ends_lets_its_finished_spans_go() {
    let (tracer, kept) = tracer(ALWAYS);
    let root = tracer.span("root");
    for _ in 0..10_000 {
        let _call = tracer.span("call");
    }
    tracer.pipeline().flush(Duration::from_secs(10));
    let before_its_end: usize = kept.0.lock().unwrap().iter().map(|tree| tree.len()).sum();
    assert!(
        (8_000..10_000).contains(&before_its_end),
        "{before_its_end}"
    );
    drop(root);
    let edges = edges(&tracer, &kept);
    assert_eq!(
        edges
            .iter()
            .filter(|edge| edge.1.as_deref() == Some("root"))
            .count(),
        10_000
    );
}

#[test]
fn after_a_root_inside_of_another_the_outer_one_goes_on() {
    let (tracer, kept) = tracer(ALWAYS);
    let remote = Context::local(TraceId::random(), crate::id::SpanId::next(), 1);
    {
        let outer = tracer.span("outer");
        {
            let _inner = tracer.span_with("inner", &SpanOptions::default().under(Some(&remote)));
            drop(tracer.span("child of inner"));
        }
        let child = tracer.span("child of outer");
        let trace_of = |span: &ActiveSpan<'_>| span.context().map(|context| context.trace_id);
        assert_eq!(trace_of(&child), trace_of(&outer));
    }
    assert!(tracer.current_context().is_none());
    let expected = [
        edge("child of inner", Some("inner")),
        edge("child of outer", Some("outer")),
        edge("inner", None),
        edge("outer", None),
    ];
    assert_eq!(edges(&tracer, &kept), expected);
}

#[test]
fn roots_that_end_out_of_turn_end_themselves_and_nothing_else() {
    let (tracer, kept) = tracer(ALWAYS);
    let remote = || Context::local(TraceId::random(), crate::id::SpanId::next(), 1);
    let (of_first, of_second) = (remote(), remote());
    let first = tracer.span_with("first", &SpanOptions::default().under(Some(&of_first)));
    let child = tracer.span("child of first");
    assert_ne!(first.context(), child.context());
    let second = tracer.span_with("second", &SpanOptions::default().under(Some(&of_second)));
    drop(child);
    drop(first);
    let third = tracer.span("child of second");
    assert_eq!(third.context().unwrap().trace_id, of_second.trace_id);
    drop(third);
    drop(second);
    assert!(tracer.current_context().is_none());
    let expected = [
        edge("child of first", Some("first")),
        edge("child of second", Some("second")),
        edge("first", None),
        edge("second", None),
    ];
    assert_eq!(edges(&tracer, &kept), expected);
}

#[test]
fn a_silent_root_that_ends_out_of_turn_does_not_silence_what_comes_later() {
    let (tracer, kept) = tracer(Sampler::new(RootSampler::AlwaysOff, true));
    let sampled = Context::local(TraceId::random(), crate::id::SpanId::next(), 1);
    let silent = tracer.span("silent");
    let heard = tracer.span_with("heard", &SpanOptions::default().under(Some(&sampled)));
    drop(silent);
    drop(tracer.span("inside"));
    drop(heard);
    assert!(tracer.current_context().is_none());
    let expected = [edge("heard", None), edge("inside", Some("heard"))];
    assert_eq!(edges(&tracer, &kept), expected);
}

/// A tracer whose spans keep texts of up to `limit` characters.
fn tracer_with_limit(limit: &str) -> (Tracer, Kept) {
    let (tracer, kept) = tracer(ALWAYS);
    let env = crate::config::Env::from_pairs([("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", limit)]);
    let settings = Settings::from_env(&env);
    let pipeline = tracer.pipeline().clone();
    (Tracer::with_settings(pipeline, &settings), kept)
}

/// The texts of the only span that arrived, and whether JSON must escape a character of them.
fn texts(tracer: &Tracer, kept: &Kept) -> Vec<(String, bool)> {
    assert_eq!(edges(tracer, kept).len(), 1);
    let trees = kept.0.lock().unwrap();
    let attributes = trees[0].span(0).unwrap().own_attributes();
    let texts = attributes.map(|(_, value)| match value {
        ValueRef::Text(text) => (text.as_str().to_owned(), text.needs_escape()),
        other => panic!("{other:?}"),
    });
    texts.collect()
}

#[test]
fn texts_that_are_written_in_place_and_others_arrive_whole_or_cut() {
    // Each length that is copied in another way, with something to escape at the start, in the middle or at the end.
    macro_rules! record {
        ($span:ident, $form:expr) => {
            $span.set_attributes([
                ("a", ValueRef::Str($form(""))),
                ("b", ValueRef::Str($form("G"))),
                ("c", ValueRef::Str($form("GE\n"))),
                ("d", ValueRef::Str($form("POST"))),
                ("e", ValueRef::Str($form("\"PATCH"))),
                ("f", ValueRef::Str($form("DELETE it"))),
                ("g", ValueRef::Str($form("cart\\internal"))),
                ("h", ValueRef::Str($form("sixteen bytes ok"))),
                ("i", ValueRef::Str($form("seventeen bytes, \u{1}"))),
                ("j", ValueRef::Str($form("é"))),
            ])
        };
    }
    let whole = [
        ("", false),
        ("G", false),
        ("GE\n", true),
        ("POST", false),
        ("\"PATCH", true),
        ("DELETE it", false),
        ("cart\\internal", true),
        ("sixteen bytes ok", false),
        ("seventeen bytes, \u{1}", true),
        ("é", false),
    ];
    let cut = [
        "", "G", "GE\n", "POS", "\"PA", "DEL", "car", "six", "sev", "é",
    ];
    for is_in_place in [true, false] {
        for limit in ["", "3"] {
            let (tracer, kept) = tracer_with_limit(limit);
            let mut span = tracer.span("texts");
            if is_in_place {
                record!(span, |text| text);
            } else {
                record!(span, std::hint::black_box);
            }
            drop(span);
            let arrived = texts(&tracer, &kept);
            let arrived: Vec<_> = arrived.iter().map(|(t, e)| (t.as_str(), *e)).collect();
            if limit.is_empty() {
                assert_eq!(arrived, whole);
            } else {
                let escaped = |text: &str| text.contains(['\n', '"']);
                assert_eq!(arrived, cut.map(|text| (text, escaped(text))));
            }
        }
    }
}
