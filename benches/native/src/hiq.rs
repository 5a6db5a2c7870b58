//! The spans as hiq's trees.

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Kind, Status};
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::{Value, ValueRef};

use crate::spans::{self, RESOURCE, SCOPE, Span, Tree};

/// Room that no batch exceeds.
pub const LIMITS: Limits = Limits::bytes(64 << 20);

/// One batch for each of [`spans::batches`].
pub fn batches(batches: &[Vec<Tree>]) -> Vec<Arc<TreeBatch>> {
    let resource = resource();
    let scope = Arc::new(Scope::new(SCOPE.0, SCOPE.1));
    let tree = |tree: &Tree| Arc::new(self::tree(tree, &resource, &scope));
    batches
        .iter()
        .map(|trees| Arc::new(TreeBatch::new(trees.iter().map(tree).collect())))
        .collect()
}

/// [`RESOURCE`], in its order.
pub fn resource() -> Arc<Resource> {
    Arc::new(Resource::new(
        RESOURCE.map(|(key, value)| (key.to_owned(), Value::from(value))),
    ))
}

/// Writes `batch` into `out` in place of what was there.
pub fn encode(encoder: &mut impl Encoder<TreeBatch>, batch: &TreeBatch, out: &mut Vec<u8>) {
    out.clear();
    let encoded = encoder.encode(&mut batch.cursor(), &LIMITS, out);
    assert!(!encoded.more, "a batch fits into one payload");
}

fn tree(tree: &Tree, resource: &Arc<Resource>, scope: &Arc<Scope>) -> SpanTree {
    let trace_id = TraceId(tree.trace_id.to_be_bytes());
    let start = TreeStart::new(trace_id, Arc::clone(resource), Arc::clone(scope));
    let mut builder = TreeBuilder::new(start, SpanLimits::default());
    for span in &tree.spans {
        add(&mut builder, span);
    }
    builder.finish()
}

fn add(builder: &mut TreeBuilder, span: &Span) {
    let name = builder.symbol(span.name);
    let parent = span
        .parent
        .map(|parent| u32::try_from(parent).expect("a small tree"));
    let id = SpanId(span.id);
    let index = builder.start_with_id(id, name, SiteId::NONE, parent, span.start_nanos);
    builder.set_kind(
        index,
        match span.kind {
            spans::Kind::Internal => Kind::Internal,
            spans::Kind::Server => Kind::Server,
            spans::Kind::Client => Kind::Client,
        },
    );
    for (key, value) in &span.attributes {
        let key = builder.symbol(key);
        builder.set_attribute(index, key, value_ref(value));
    }
    if let Some(failure) = &span.failure {
        let name = builder.symbol("exception");
        let exception = failure.exception.each_ref();
        let attributes = exception.map(|(key, value)| (builder.symbol(key), value_ref(value)));
        builder.add_event(index, name, failure.nanos, attributes);
        builder.set_status(index, Status::Error, &failure.status);
    }
    builder.end(index, span.end_nanos);
}

fn value_ref(value: &spans::Value) -> ValueRef<'_> {
    match value {
        spans::Value::Literal(text) => ValueRef::Str(text),
        spans::Value::Text(text) => ValueRef::Str(text),
        spans::Value::Int(int) => ValueRef::Int(*int),
        spans::Value::Bool(bool) => ValueRef::Bool(*bool),
        spans::Value::F64(f64) => ValueRef::F64(*f64),
    }
}
