//! The text in which HiQ keeps a tree.

use std::io::{BufRead, Read as _};
use std::sync::Arc;

use hiq_core::decode::DecodeError;
use hiq_core::id::TraceId;
use hiq_core::intern::SiteId;
use hiq_core::render::HiqTree;
use hiq_core::resource::{Resource, Scope};
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::{Value, ValueRef};

use super::formats::{Options, Sink};

const FORMAT: &str = "HiQ tree";
const MAX_BYTES: u64 = 256 << 20;

pub(super) fn is_start(start: &[u8]) -> bool {
    matches!(start, [b't', b'1', b'^', ..])
}

/// One tree a line, or one in all.
pub(super) fn read(
    source: &mut dyn BufRead,
    _: &Options,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut offset = 0;
    loop {
        let mut line = Vec::new();
        let read = source.take(MAX_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| DecodeError::new(FORMAT, offset, error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        let text = std::str::from_utf8(&line).map_err(|error| {
            DecodeError::new(FORMAT, offset + error.valid_up_to(), "a text is not UTF-8")
        })?;
        if !text.trim().is_empty() {
            let tree = HiqTree::parse(text.trim_end())
                .map_err(|error| DecodeError::new(FORMAT, offset, error.to_string()))?;
            sink(Arc::new(spans(&tree)));
        }
        offset += read;
    }
}

/// The tree's nodes as spans: seconds of a double, of the clock that HiQ was given.
fn spans(tree: &HiqTree) -> SpanTree {
    let resource = Resource::new([("service.name", Value::from("hiq"))]);
    let scope = Arc::new(Scope::new("hiq", ""));
    let start = TreeStart::new(TraceId::random(), Arc::new(resource), scope);
    let mut builder = TreeBuilder::new(start, SpanLimits::UNLIMITED);
    let of_tree = builder.symbol("hiq.tree_id");
    let mut waiting: Vec<_> = tree.root().children().map(|child| (child, None)).collect();
    waiting.reverse();
    while let Some((node, parent)) = waiting.pop() {
        let name = builder.symbol(node.name());
        let index = builder.start(name, SiteId::NONE, parent, nanos(node.start()));
        if parent.is_none() {
            builder.set_attribute(index, of_tree, ValueRef::Str(tree.tid()));
        }
        for (key, value) in node
            .extras()
            .map(hiq_core::render::Extras::pairs)
            .into_iter()
            .flatten()
        {
            let key = builder.symbol(key);
            builder.set_attribute(index, key, ValueRef::Str(value));
        }
        builder.end(index, nanos(node.end()));
        let before = waiting.len();
        waiting.extend(node.children().map(|child| (child, Some(index))));
        waiting[before..].reverse();
    }
    builder.finish()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at both ends"
)]
fn nanos(seconds: f64) -> u64 {
    // Whole seconds apart: a double holds today's nanoseconds only to a quarter of a microsecond.
    let whole = seconds.trunc();
    let rest = ((seconds - whole) * 1e9).round();
    (whole as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(rest.max(0.0) as u64)
}
