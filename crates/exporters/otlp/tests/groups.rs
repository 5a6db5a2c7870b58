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
use hiq_core::value::{Value, ValueRef};
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use support::{Attributes, Plain, SpanOut, read_json, read_proto, sorted};

fn resource(name: &str) -> Arc<Resource> {
    Arc::new(Resource::new([("service.name", Value::from(name))]))
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

/// What both encoders write of `trees`, once they agree.
fn read_back(trees: Vec<SpanTree>) -> Vec<SpanOut> {
    let batch = TreeBatch::new(trees.into_iter().map(Arc::new).collect());
    let limits = Limits::bytes(usize::MAX);
    let (mut proto, mut json) = (Vec::new(), Vec::new());
    OtlpProtoEncoder::new().encode(&mut batch.cursor(), &limits, &mut proto);
    OtlpJsonEncoder::new().encode(&mut batch.cursor(), &limits, &mut json);
    let found = sorted(read_proto::spans(&proto));
    assert_eq!(found, sorted(read_json::spans(&json)));
    found
}

fn ints(pairs: &[(&str, i64)]) -> Attributes {
    let int = |(key, value): &(&str, i64)| ((*key).to_owned(), Plain::Int(*value));
    pairs.iter().map(int).collect()
}

#[test]
fn a_sites_attributes_come_before_the_spans_own() {
    let site = site([
        ("code.line.number", Value::Int(7)),
        ("code.column.number", Value::Int(3)),
    ]);
    let tree = || one_span(site, &[("a", 1), ("b", 2)]);
    let expected = ints(&[
        ("code.line.number", 7),
        ("code.column.number", 3),
        ("a", 1),
        ("b", 2),
    ]);
    for found in read_back(vec![tree(), tree()]) {
        assert_eq!(found.attributes, expected);
    }
    let alone = ints(&[("code.line.number", 7), ("code.column.number", 3)]);
    assert_eq!(read_back(vec![one_span(site, &[])])[0].attributes, alone);
}

#[test]
fn a_key_of_both_site_and_span_is_written_once_with_the_spans_value() {
    let site = site([
        ("code.line.number", Value::Int(7)),
        ("code.column.number", Value::Int(3)),
    ]);
    let found = read_back(vec![one_span(site, &[("a", 1), ("code.line.number", 8)])]);
    let expected = ints(&[("code.column.number", 3), ("a", 1), ("code.line.number", 8)]);
    assert_eq!(found[0].attributes, expected);
}

#[test]
fn a_site_without_attributes_adds_none() {
    let site = site(std::iter::empty());
    assert_eq!(
        read_back(vec![one_span(site, &[])])[0].attributes,
        Vec::new()
    );
    assert_eq!(
        read_back(vec![one_span(site, &[("a", 1)])])[0].attributes,
        ints(&[("a", 1)])
    );
}

#[test]
fn extra_metrics_become_attributes() {
    let memory = Arc::new(ColumnSpec::new("get_memory_mb", "MBy", ColumnKind::Level));
    let reads = ColumnKind::Delta { monotonic: true };
    let reads = Arc::new(ColumnSpec::new("disk \"reads\"", "By", reads));
    let mut builder = builder(&resource("svc"), &scope("hiq"));
    let first = builder.start(symbol("first").unwrap(), SiteId::NONE, None, 5);
    let second = builder.start(symbol("second").unwrap(), SiteId::NONE, Some(first), 6);
    builder.set_attribute(second, symbol("own").unwrap(), ValueRef::Int(1));
    builder.set_metric(first, &memory, 10.5, 12.0);
    builder.set_metric(second, &memory, 11.0, f64::NAN);
    builder.set_metric(second, &reads, 100.0, 164.0);
    builder.end(second, 7);
    builder.end(first, 8);
    let found = read_back(vec![builder.finish()]);
    let double = |key: &str, value| (key.to_owned(), Plain::f64(value));
    assert_eq!(
        found[0].attributes,
        [
            double("hiq.get_memory_mb.start", 10.5),
            double("hiq.get_memory_mb.end", 12.0)
        ]
    );
    let mut expected = ints(&[("own", 1)]);
    expected.push(double("hiq.get_memory_mb.start", 11.0));
    expected.push(double("hiq.disk \"reads\"", 64.0));
    assert_eq!(found[1].attributes, expected);
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
        assert_eq!(span.scope.name, format!("scope {s}"));
        assert_eq!(
            span.resource.attributes[0].1,
            Plain::text(&format!("service {r}"))
        );
    }
}

#[test]
fn spans_of_one_scope_share_one_group() {
    let (resource, scope) = (resource("svc"), scope("hiq"));
    let trees = (0..5).map(|_| {
        let mut builder = builder(&resource, &scope);
        for _ in 0..10 {
            let span = builder.start(symbol("op").unwrap(), SiteId::NONE, None, 1);
            builder.end(span, 2);
        }
        Arc::new(builder.finish())
    });
    let batch = TreeBatch::new(trees.collect());
    let mut payload = Vec::new();
    let limits = Limits::bytes(usize::MAX);
    OtlpProtoEncoder::new().encode(&mut batch.cursor(), &limits, &mut payload);
    let request = read_proto::request(&payload);
    assert_eq!(request.resource_spans.len(), 1);
    assert_eq!(request.resource_spans[0].scope_spans.len(), 1);
    assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 50);
}
