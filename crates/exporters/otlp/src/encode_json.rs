//! Spans to `ExportTraceServiceRequest` in OTLP's JSON, in one pass, straight from the trees.

use std::ptr;

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Page, Verdict, fill};
use hiq_core::span::Span;
use hiq_core::transport::Reply;
use hiq_core::tree::SpanTree;
use hiq_core::wire::Writer;

use crate::judge::judge;
use crate::signal::TRACES;
use hiq_core::encode::cache::{Cache, give_back_excess};

mod attribute;
mod group;
mod span;

pub(crate) use attribute::double_value;
use group::Json;
pub(crate) use group::JsonMetrics;
pub(crate) use span::hex;
use span::write_span;

/// OTLP in JSON, for servers that do not take protobuf, and for files that people read.
///
/// One line, without spaces. Ids are hex, 64-bit integers texts, enumerations numbers; defaults are left out, and so
/// is the value of an attribute that has none, because strict readers refuse it. Keeps what it wrote for resources, scopes
/// and sites, so one encoder should serve a connection for life.
#[derive(Debug, Default)]
pub struct OtlpJsonEncoder {
    cache: Cache<Json>,
}

impl OtlpJsonEncoder {
    /// An encoder with nothing in its cache.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder<TreeBatch> for OtlpJsonEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("otlp_json", "application/json")
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
    cache: &'e mut Cache<Json>,
    start: usize,
    /// The tree of the last span.
    tree: Option<&'a SpanTree>,
    /// Where the cache holds what begins and ends the groups that are open.
    open: Open,
    /// What ending the payload adds.
    end_bytes: usize,
    before: Before,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Open {
    resource: Option<usize>,
    scope: Option<usize>,
}

/// How things stood before the last span.
#[derive(Clone, Copy, Debug)]
struct Before {
    position: usize,
    open: Open,
}

const BEGIN: &[u8; 18] = b"{\"resourceSpans\":[";
const END: &[u8; 2] = b"]}";

impl<'a> Page<'a> for Request<'a, '_> {
    #[inline]
    fn push(&mut self, span: Span<'a>) -> bool {
        self.enter(span);
        let is_first = self.before.open.scope.is_none();
        write_span(self.out, self.cache, span, is_first);
        true
    }

    #[inline]
    fn fits(&self, max_bytes: usize) -> bool {
        self.out.len() - self.start + self.end_bytes <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before.position);
        self.open = self.before.open;
        self.tree = None;
    }

    fn finish(&mut self) {
        self.close(Open::default());
        Writer::new(self.out).put(END);
    }
}

impl<'a, 'e> Request<'a, 'e> {
    fn new(cache: &'e mut Cache<Json>, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            cache,
            start,
            tree: None,
            open: Open::default(),
            end_bytes: 0,
            before: Before {
                position: start,
                open: Open::default(),
            },
        }
    }

    /// Opens the groups that `span` belongs to.
    #[inline]
    fn enter(&mut self, span: Span<'a>) {
        let same_tree = self.tree.is_some_and(|tree| ptr::eq(tree, span.tree()));
        if same_tree && !span.tree().has_scopes_of_spans() {
            self.before = Before {
                position: self.out.len(),
                open: self.open,
            };
        } else {
            self.change_groups(span);
        }
    }

    #[inline(never)]
    fn change_groups(&mut self, span: Span<'a>) {
        let resource = self.cache.resource(span.tree().resource());
        let scope = self.cache.scope(span.scope());
        self.close(Open {
            resource: Some(resource),
            scope: Some(scope),
        });
        self.before = Before {
            position: self.out.len(),
            open: self.open,
        };
        self.tree = Some(span.tree());
        let resources = self.cache.resources.group(resource);
        let scopes = self.cache.scopes.group(scope);
        self.end_bytes = scopes.tail.len() + resources.tail.len() + END.len();
        let mut writer = Writer::new(self.out);
        if self.open.resource.is_none() {
            let is_first = writer.position() == self.start;
            writer.put((is_first.then_some(BEGIN), (!is_first).then_some(b',')));
            writer.put(&resources.head[..]);
        } else if self.open.scope.is_none() {
            writer.put(b',');
        }
        if self.open.scope.is_none() {
            writer.put(&scopes.head[..]);
        }
        self.open = Open {
            resource: Some(resource),
            scope: Some(scope),
        };
    }

    /// Ends the groups that are open but not `wanted`.
    fn close(&mut self, wanted: Open) {
        let mut writer = Writer::new(self.out);
        if let Some(scope) = self.open.scope.filter(|_| self.open != wanted) {
            writer.put(&self.cache.scopes.group(scope).tail[..]);
            self.open.scope = None;
        }
        if let Some(resource) = self
            .open
            .resource
            .filter(|_| self.open.resource != wanted.resource)
        {
            writer.put(&self.cache.resources.group(resource).tail[..]);
            self.open.resource = None;
        }
    }
}
