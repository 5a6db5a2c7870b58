//! What spans share: resources, scopes, sites; and what a tree says beside attributes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::id::TraceId;
use hiq_core::intern::{SiteId, site, symbol};
use hiq_core::resource::{Resource, Scope};
use hiq_core::tree::{ColumnKind, ColumnSpec, SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::{Value as Given, ValueRef};
use hiq_jaeger::{JaegerBinaryEncoder, JaegerCompactEncoder, JaegerProtoEncoder};
use support::{Span, Tags, Value, read_proto, read_thrift};

fn resource(name: &str) -> Arc<Resource> {
    Arc::new(Resource::new([("service.name", Given::from(name))]))
}

fn scope(name: &str) -> Arc<Scope> {
    Arc::new(Scope::new(name, ""))
}

fn builder(resource: &Arc<Resource>, scope: &Arc<Scope>) -> TreeBuilder {
    let start = TreeStart::new(TraceId::random(), Arc::clone(resource), Arc::clone(scope));
    TreeBuilder::new(start, SpanLimits::default())
}

/// A tree of one span at `site` with `attributes`.
fn one_span(site: SiteId, attributes: &[(&str, i64)]) -> SpanTree {
    let mut builder = builder(&resource("svc"), &scope("hiq"));
    let span = builder.start(symbol("op").unwrap(), site, None, 5);
    for (key, value) in attributes {
        builder.set_attribute(span, symbol(key).unwrap(), ValueRef::Int(*value));
    }
    builder.end(span, 9);
    builder.finish()
}

/// What the encoders write of `trees`, once they agree.
fn read_back(trees: Vec<SpanTree>) -> Vec<Span> {
    let batch = TreeBatch::new(trees.into_iter().map(Arc::new).collect());
    let compact = all(
        &mut JaegerCompactEncoder::new(),
        &batch,
        read_thrift::compact_call,
    );
    let binary = all(
        &mut JaegerBinaryEncoder::calls(),
        &batch,
        read_thrift::binary_call,
    );
    let proto = all(&mut JaegerProtoEncoder::new(), &batch, read_proto::spans);
    assert_eq!(compact, binary);
    let tags = |spans: &[Span]| -> Vec<Tags> { spans.iter().map(|s| s.tags.clone()).collect() };
    assert_eq!(tags(&compact), tags(&proto));
    compact
}

fn all(
    encoder: &mut dyn Encoder<TreeBatch>,
    batch: &TreeBatch,
    read: fn(&[u8]) -> Vec<Span>,
) -> Vec<Span> {
    let (mut cursor, mut found) = (batch.cursor(), Vec::new());
    loop {
        let mut payload = Vec::new();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(usize::MAX), &mut payload);
        found.extend(read(&payload));
        if !encoded.more {
            return support::normal(found);
        }
    }
}

/// Sorted by key, with what every span here has.
fn tags(pairs: &[(&str, Value)]) -> Tags {
    let always = [
        ("otel.scope.name", Value::text("hiq")),
        ("span.kind", Value::text("internal")),
    ];
    let pairs = pairs.iter().cloned().chain(always);
    let mut tags: Tags = pairs.map(|(key, value)| (key.to_owned(), value)).collect();
    tags.sort_by_key(|(key, value)| (key.clone(), format!("{value:?}")));
    tags
}

#[test]
fn a_span_has_the_attributes_of_its_site_and_its_own() {
    let site = site([
        ("code.line.number", Given::Int(7)),
        ("code.function.name", Given::from("f")),
    ]);
    let of_site = [
        ("code.line.number", Value::Int(7)),
        ("code.function.name", Value::text("f")),
    ];
    let own = [("a", Value::Int(1)), ("b", Value::Int(2))];
    let tree = || one_span(site, &[("a", 1), ("b", 2)]);
    for found in read_back(vec![tree(), tree()]) {
        assert_eq!(found.tags, tags(&[of_site.clone(), own.clone()].concat()));
    }
    assert_eq!(read_back(vec![one_span(site, &[])])[0].tags, tags(&of_site));
}

/// And the list says how many there are, which it would not if both stood in it.
#[test]
fn a_key_of_both_site_and_span_is_written_once_with_the_spans_value() {
    let site = site([
        ("code.line.number", Given::Int(7)),
        ("code.column.number", Given::Int(3)),
    ]);
    let found = read_back(vec![one_span(site, &[("a", 1), ("code.line.number", 8)])]);
    let expected = [
        ("code.column.number", Value::Int(3)),
        ("a", Value::Int(1)),
        ("code.line.number", Value::Int(8)),
    ];
    assert_eq!(found[0].tags, tags(&expected));
}

#[test]
fn extra_metrics_become_tags() {
    let memory = Arc::new(ColumnSpec::new("get_memory_mb", "MBy", ColumnKind::Level));
    let reads = ColumnKind::Delta { monotonic: true };
    let reads = Arc::new(ColumnSpec::new("disk_reads", "By", reads));
    let mut builder = builder(&resource("svc"), &scope("hiq"));
    let span = builder.start(symbol("op").unwrap(), SiteId::NONE, None, 5);
    builder.set_metric(span, &memory, 10.5, 12.0);
    builder.set_metric(span, &reads, 100.0, 164.0);
    builder.end(span, 8);
    let found = read_back(vec![builder.finish()]);
    let expected = [
        ("hiq.get_memory_mb.start", Value::F64(10.5_f64.to_bits())),
        ("hiq.get_memory_mb.end", Value::F64(12.0_f64.to_bits())),
        ("hiq.disk_reads", Value::F64(64.0_f64.to_bits())),
    ];
    assert_eq!(found[0].tags, tags(&expected));
}

#[test]
fn more_resources_and_scopes_than_an_encoder_remembers_are_not_mixed_up() {
    let resources: Vec<_> = (0..40).map(|n| resource(&format!("service {n}"))).collect();
    let scopes: Vec<_> = (0..40).map(|n| scope(&format!("scope {n}"))).collect();
    let trees = (0..400_u32).map(|n| {
        let (r, s) = ((n * 7 % 40) as usize, (n * 11 % 40) as usize);
        let mut builder = builder(&resources[r], &scopes[s]);
        let name = symbol(&format!("{r}/{s}")).unwrap();
        for own_scope in [None, Some((s + 1) % 40), None] {
            let span = builder.start(name, SiteId::NONE, None, 1);
            if let Some(own) = own_scope {
                builder.set_scope(span, &scopes[own]);
                builder.set_name(span, symbol(&format!("{r}/{own}")).unwrap());
            }
            builder.end(span, 2);
        }
        builder.finish()
    });
    let found = read_back(trees.collect());
    assert_eq!(found.len(), 1_200);
    for span in found {
        let (r, s) = span.name.split_once('/').unwrap();
        assert_eq!(span.service, format!("service {r}"));
        let scope = (
            "otel.scope.name".to_owned(),
            Value::text(&format!("scope {s}")),
        );
        assert!(span.tags.contains(&scope), "{}: {:?}", span.name, span.tags);
    }
}
