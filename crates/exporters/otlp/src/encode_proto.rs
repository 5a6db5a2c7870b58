//! Spans to `ExportTraceServiceRequest` in protobuf, in one pass, straight from the trees.

use std::ptr;

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Page, Verdict, fill};
use hiq_core::span::Span;
use hiq_core::transport::Reply;
use hiq_core::tree::SpanTree;
use hiq_core::wire::{MAX_VARINT_BYTES, OpenLength, Writer, varint_len};

use crate::judge::judge;
use crate::signal::TRACES;
use hiq_core::encode::cache::{Cache, Group, give_back_excess};

mod attribute;
mod group;
mod span;

pub(crate) use attribute::str_attribute;
pub(crate) use group::Proto;
use span::write_span;

/// OTLP in protobuf: the encoding to prefer.
///
/// Fields are written in the order of their numbers, defaults left out, every length as short as it can be:
/// the bytes are those that any canonical encoder writes. Keeps what it wrote for resources, scopes and sites,
/// so one encoder should serve a connection for life.
#[derive(Debug, Default)]
pub struct OtlpProtoEncoder {
    cache: Cache<Proto>,
}

impl OtlpProtoEncoder {
    /// An encoder with nothing in its cache.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder<TreeBatch> for OtlpProtoEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("otlp_proto", "application/x-protobuf")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let encoded = fill(cursor, limits, &mut Request::new(&mut self.cache, out));
        give_back_excess(out, limits);
        encoded
    }

    fn judge(&self, reply: &Reply, items: usize) -> Verdict {
        judge(reply, items, self.encoding(), &TRACES)
    }
}

/// One `ExportTraceServiceRequest` that is being written.
#[derive(Debug)]
struct Request<'a, 'e> {
    out: &'e mut Vec<u8>,
    cache: &'e mut Cache<Proto>,
    start: usize,
    /// The tree of the last span.
    tree: Option<&'a SpanTree>,
    resource_spans: Option<OpenGroup>,
    scope_spans: Option<OpenGroup>,
    /// What ending the groups adds at the most.
    end_bytes: usize,
    before: Before,
}

/// A `ResourceSpans` or `ScopeSpans` that more may be added to.
#[derive(Clone, Copy, Debug)]
struct OpenGroup {
    length: OpenLength,
    /// Where the cache holds what begins and ends it.
    entry: usize,
    tail_bytes: usize,
}

/// How things stood before the last span.
#[derive(Clone, Copy, Debug)]
struct Before {
    position: usize,
    in_resource: bool,
    in_scope: bool,
}

impl<'a> Page<'a> for Request<'a, '_> {
    #[inline]
    fn push(&mut self, span: Span<'a>) -> bool {
        self.enter(span);
        write_span(self.out, self.cache, span);
        true
    }

    #[inline]
    fn fits(&self, max_bytes: usize) -> bool {
        self.out.len() - self.start + self.end_bytes <= max_bytes
            || self.bytes_if_ended() <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before.position);
        self.resource_spans = self.resource_spans.filter(|_| self.before.in_resource);
        self.scope_spans = self.scope_spans.filter(|_| self.before.in_scope);
        self.tree = None;
    }

    fn finish(&mut self) {
        self.close_scope();
        self.close_resource();
    }
}

impl OpenGroup {
    /// Where it would end if what is in it ends at `position`.
    #[inline]
    fn end(&self, position: usize) -> usize {
        let body = position + self.tail_bytes - self.length.body();
        self.length.body() - self.length.width() + varint_len(body as u64) + body
    }
}

impl<'a, 'e> Request<'a, 'e> {
    fn new(cache: &'e mut Cache<Proto>, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            cache,
            start,
            tree: None,
            resource_spans: None,
            scope_spans: None,
            end_bytes: 0,
            before: Before {
                position: start,
                in_resource: false,
                in_scope: false,
            },
        }
    }

    /// Bytes of the payload if it ended here.
    #[cold]
    fn bytes_if_ended(&self) -> usize {
        let (Some(resource), Some(scope)) = (self.resource_spans, self.scope_spans) else {
            return 0;
        };
        resource.end(scope.end(self.out.len())) - self.start
    }

    /// Opens the groups that `span` belongs to.
    #[inline]
    fn enter(&mut self, span: Span<'a>) {
        let same_tree = self.tree.is_some_and(|tree| ptr::eq(tree, span.tree()));
        if same_tree && !span.tree().has_scopes_of_spans() {
            self.before = Before {
                position: self.out.len(),
                in_resource: true,
                in_scope: true,
            };
        } else {
            self.change_groups(span);
        }
    }

    #[inline(never)]
    fn change_groups(&mut self, span: Span<'a>) {
        let resource = self.cache.resource(span.tree().resource());
        let scope = self.cache.scope(span.scope());
        let is = |open: Option<OpenGroup>, entry| open.is_some_and(|open| open.entry == entry);
        let in_resource = is(self.resource_spans, resource);
        let in_scope = in_resource && is(self.scope_spans, scope);
        if !in_scope {
            self.close_scope();
        }
        if !in_resource {
            self.close_resource();
        }
        self.before = Before {
            position: self.out.len(),
            in_resource,
            in_scope,
        };
        self.tree = Some(span.tree());
        if !in_resource {
            let group = self.cache.resources.group(resource);
            let expected = self.cache.last_resource_bytes;
            self.resource_spans = Some(open_group(self.out, 0x0a, resource, group, expected));
        }
        if !in_scope {
            let group = self.cache.scopes.group(scope);
            let expected = self.cache.last_scope_bytes;
            self.scope_spans = Some(open_group(self.out, 0x12, scope, group, expected));
        }
        let tails = [
            self.cache.resources.group(resource),
            self.cache.scopes.group(scope),
        ];
        let tail_bytes: usize = tails
            .iter()
            .map(|group| group.tail.len() + MAX_VARINT_BYTES)
            .sum();
        self.end_bytes = tail_bytes;
    }

    fn close_resource(&mut self) {
        if let Some(open) = self.resource_spans.take() {
            let group = self.cache.resources.group(open.entry);
            self.cache.last_resource_bytes = close_group(self.out, open, group);
        }
    }

    fn close_scope(&mut self) {
        if let Some(open) = self.scope_spans.take() {
            let group = self.cache.scopes.group(open.entry);
            self.cache.last_scope_bytes = close_group(self.out, open, group);
        }
    }
}

fn open_group(
    out: &mut Vec<u8>,
    tag: u8,
    entry: usize,
    group: &Group,
    expected: usize,
) -> OpenGroup {
    let mut writer = Writer::new(out);
    let length = writer.open(tag, expected);
    writer.put(&group.head[..]);
    OpenGroup {
        length,
        entry,
        tail_bytes: group.tail.len(),
    }
}

/// Returns how many bytes were in the group.
fn close_group(out: &mut Vec<u8>, open: OpenGroup, group: &Group) -> usize {
    let mut writer = Writer::new(out);
    writer.put(&group.tail[..]);
    let bytes = writer.position() - open.length.body();
    writer.close(open.length);
    bytes
}
