//! HiQ's text as a format: what an encoder writes, and what is read back.

use std::sync::Arc;

use super::{Extras, HiqTree, Projection, str_repr};
use crate::batch::{BatchCursor, TreeBatch};
use crate::decode::{DecodeError, Decoder};
use crate::encode::{DropReason, Encoded, Encoder, Encoding, Limits, Verdict};
use crate::id::{SpanId, TraceId};
use crate::intern::SiteId;
use crate::judge::Judge;
use crate::resource::{Resource, Scope};
use crate::transport::Reply;
use crate::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use crate::value::{Value, ValueRef};

const FORMAT: &str = "HiQ tree";

/// Writes one tree a payload, as Oracle HiQ's `Tree.__repr__` does: names and times in seconds, and the service's name among
/// what the tree carries. Ids, kinds, status, events, links and most attributes are lost; names end at a comma.
///
/// A tree that is too large for a payload is left out as a whole. Of a tree of which a part was sent before, the rest is one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HiqTextEncoder;

impl HiqTextEncoder {
    /// An encoder.
    pub const fn new() -> Self {
        Self
    }
}

impl Encoder<TreeBatch> for HiqTextEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("hiq_text", "text/plain; charset=utf-8")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let mut encoded = Encoded::default();
        while encoded.items == 0
            && let Some(run) = cursor.run()
        {
            let text = text_of(run.tree);
            cursor.advance_to(run.end);
            let spans = run.end - run.start;
            if text.len() > limits.max_bytes {
                encoded.leave_out(DropReason::TooLarge, spans);
                continue;
            }
            out.extend_from_slice(text.as_bytes());
            encoded.items = spans;
            encoded.key = limits.cut.key(run.tree);
        }
        encoded.more = !cursor.is_done();
        encoded
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

const JUDGE: Judge = Judge::of("reader of HiQ trees");

fn text_of(tree: &Arc<SpanTree>) -> String {
    let mut drawn = Projection::new(&|_| true).tree(
        // Spans of no length are spans as well.
        HiqTree::builder("time").mode(1),
        std::slice::from_ref(tree),
    );
    let service = tree.resource().service_name();
    drawn.extras_mut().set(SERVICE, &str_repr(service));
    drawn.repr()
}

/// Under which the tree carries its service.
const SERVICE: &str = "service.name";

/// Reads HiQ's text: one tree, or one a line.
///
/// The text has no ids: they are made at random, or, once [`HiqTextDecoder::set_origin`] has said where it comes from, from that: the
/// same text read twice is the same spans then.
///
/// ```
/// use hiq_core::decode::Decoder;
/// use hiq_core::render::HiqTextDecoder;
///
/// let mut decoder = HiqTextDecoder::new();
/// let mut ids = Vec::new();
/// for _ in 0..2 {
///     decoder.set_origin("trees", 3, 41);
///     let text = b"t1^time,,0,1,2,1,1e-07,0#%n1*[None,inf,inf,0$0#[f,1.0,2.0,0$0#]]";
///     decoder.decode(text, &mut |tree| ids.push((tree.trace_id(), tree.spans().map(|span| span.id()).last())))?;
/// }
/// assert_eq!(ids[0], ids[1]);
/// # Ok::<(), hiq_core::decode::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct HiqTextDecoder {
    origin: Option<u128>,
}

impl HiqTextDecoder {
    /// A decoder that makes ids at random.
    pub const fn new() -> Self {
        Self { origin: None }
    }

    /// Makes the ids of the next payload from the place of its message in Kafka.
    pub fn set_origin(&mut self, topic: &str, partition: i32, offset: i64) {
        let place = (u64::from(partition.cast_unsigned()) << 48) ^ offset.cast_unsigned();
        self.origin = Some((u128::from(fnv(topic)) << 64) | u128::from(place));
    }
}

impl Decoder for HiqTextDecoder {
    fn decode(
        &mut self,
        payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            DecodeError::new(FORMAT, error.valid_up_to(), "a text is not UTF-8")
        })?;
        let mut offset = 0;
        for (number, line) in (0_u128..).zip(text.split_inclusive('\n')) {
            if !line.trim().is_empty() {
                let tree = HiqTree::parse(line.trim_end())
                    .map_err(|error| DecodeError::new(FORMAT, offset, error.to_string()))?;
                let origin = self.origin.map(|origin| origin ^ (number << 32));
                sink(Arc::new(spans(&tree, origin)));
            }
            offset += line.len();
        }
        Ok(())
    }
}

/// The tree's nodes as spans: seconds of a double, of the clock that HiQ was given.
fn spans(tree: &HiqTree, origin: Option<u128>) -> SpanTree {
    let carried = tree.extras().pairs();
    let service = carried.iter().find(|(key, _)| unquoted(key) == SERVICE);
    let service = service.map_or("hiq", |(_, name)| unquoted(name));
    let resource = Resource::new([("service.name", Value::from(service))]);
    let trace = origin.map_or_else(TraceId::random, trace_id);
    let scope = Arc::new(Scope::new("hiq", ""));
    let start = TreeStart::new(trace, Arc::new(resource), scope);
    let mut builder = TreeBuilder::new(start, SpanLimits::UNLIMITED);
    let of_tree = builder.symbol("hiq.tree_id");
    let mut waiting: Vec<_> = tree.root().children().map(|child| (child, None)).collect();
    waiting.reverse();
    let mut number = 0;
    while let Some((node, parent)) = waiting.pop() {
        let name = builder.symbol(node.name());
        let begin = nanos(node.start());
        number += 1;
        let index = match origin {
            None => builder.start(name, SiteId::NONE, parent, begin),
            Some(origin) => {
                builder.start_with_id(span_id(origin, number), name, SiteId::NONE, parent, begin)
            }
        };
        if parent.is_none() {
            builder.set_attribute(index, of_tree, ValueRef::Str(tree.tid()));
        }
        for (key, value) in node.extras().map(Extras::pairs).into_iter().flatten() {
            let key = builder.symbol(unquoted(key));
            builder.set_attribute(index, key, ValueRef::Str(value));
        }
        builder.end(index, nanos(node.end()));
        let before = waiting.len();
        waiting.extend(node.children().map(|child| (child, Some(index))));
        waiting[before..].reverse();
    }
    builder.finish()
}

/// What stands between a text's quotes, where nothing in it is escaped.
fn unquoted(repr: &str) -> &str {
    let inner = |quote| repr.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).unwrap_or(repr)
}

/// Both halves are spread over all bits, which samplers look at; different places stay different.
fn trace_id(origin: u128) -> TraceId {
    let (topic, place) = halves(origin);
    // The first place of all would be zero, and the topic's half is not that.
    let id = (u128::from(mixed(topic)) << 64) | u128::from(mixed(place));
    TraceId(id.to_be_bytes())
}

fn span_id(origin: u128, number: u64) -> SpanId {
    let (topic, place) = halves(origin);
    SpanId(mixed(mixed(topic ^ mixed(place)).wrapping_add(number)).max(1))
}

#[expect(clippy::cast_possible_truncation, reason = "halves")]
fn halves(origin: u128) -> (u64, u64) {
    ((origin >> 64) as u64, origin as u64)
}

/// The finalizer of `SplitMix64`: each 64-bit number becomes another, and no two the same.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// FNV-1a.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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

#[cfg(test)]
mod tests;
