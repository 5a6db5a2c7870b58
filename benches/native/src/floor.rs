//! The least that the work can cost: the same spans in the plainest arena, written by loops that check nothing and know no
//! limits, links, scopes of spans or second resource. What hiq takes beyond it is the price of being a library.

mod jaeger;
mod json;
mod proto;
pub mod recording;
mod thrift;
mod zipkin;

use std::collections::HashMap;

use crate::spans::{Kind, RESOURCE, SCOPE, Span, Tree, Value};

/// Readable bytes behind every text, so that 32 of them may be copied at a time.
const SLACK: usize = 64;

/// Spans in flat tables, every text with its protobuf length before it, equal keys and names stored once.
#[derive(Default)]
pub struct Arena {
    text_bytes: Vec<u8>,
    texts: Vec<TextAt>,
    spans: Vec<FlatSpan>,
    attributes: Vec<Attribute>,
    events: Vec<Event>,
    resource: Vec<Attribute>,
    scope: (u32, u32),
    /// Of the attribute that says who a client talks to.
    address_key: u32,
}

#[derive(Clone, Copy)]
struct TextAt {
    start: u32,
    prefixed_len: u32,
    prefix_len: u8,
}

struct FlatSpan {
    trace_id: [u8; 16],
    id: u64,
    /// Zero for a root.
    parent: u64,
    start_nanos: u64,
    end_nanos: u64,
    name: u32,
    kind: u8,
    /// Of the status; `NO_TEXT` where all went well.
    message: u32,
    attributes: (u32, u32),
    event: u32,
}

#[derive(Clone, Copy)]
struct Attribute {
    value: u64,
    key: u32,
    tag: Tag,
}

#[derive(Clone, Copy)]
enum Tag {
    Text,
    Int,
    Bool,
    F64,
}

struct Event {
    nanos: u64,
    name: u32,
    attributes: (u32, u32),
}

const NONE: u32 = u32::MAX;

impl Arena {
    /// The arenas of [`crate::spans::batches`].
    pub fn batches(batches: &[Vec<Tree>]) -> Vec<Self> {
        batches.iter().map(|trees| Self::of(trees)).collect()
    }

    fn of(trees: &[Tree]) -> Self {
        let mut arena = Self::default();
        let mut known = HashMap::new();
        let resource = RESOURCE.map(|(key, value)| {
            let (key, value) = (
                arena.intern(key, &mut known),
                arena.intern(value, &mut known),
            );
            Attribute {
                value: value.into(),
                key,
                tag: Tag::Text,
            }
        });
        arena.resource.extend(resource);
        arena.scope = (arena.append(SCOPE.0), arena.append(SCOPE.1));
        arena.address_key = arena.intern("server.address", &mut known);
        for tree in trees {
            for span in &tree.spans {
                arena.add(tree, span, &mut known);
            }
        }
        arena.text_bytes.reserve_exact(SLACK);
        arena
    }

    fn add(&mut self, tree: &Tree, span: &Span, known: &mut HashMap<&'static str, u32>) {
        let name = self.intern(span.name, known);
        let attributes = self.add_attributes(&span.attributes, known);
        let (mut message, mut event) = (NONE, NONE);
        if let Some(failure) = &span.failure {
            message = self.append(&failure.status);
            let name = self.intern("exception", known);
            let attributes = self.add_attributes(&failure.exception, known);
            event = self.events.len() as u32;
            self.events.push(Event {
                nanos: failure.nanos,
                name,
                attributes,
            });
        }
        self.spans.push(FlatSpan {
            trace_id: tree.trace_id.to_be_bytes(),
            id: span.id,
            parent: span.parent.map_or(0, |parent| tree.spans[parent].id),
            start_nanos: span.start_nanos,
            end_nanos: span.end_nanos,
            name,
            kind: match span.kind {
                Kind::Internal => 1,
                Kind::Server => 2,
                Kind::Client => 3,
            },
            message,
            attributes,
            event,
        });
    }

    fn add_attributes(
        &mut self,
        attributes: &[(&'static str, Value)],
        known: &mut HashMap<&'static str, u32>,
    ) -> (u32, u32) {
        let start = self.attributes.len() as u32;
        for (key, value) in attributes {
            let key = self.intern(key, known);
            let (tag, value) = match value {
                Value::Literal(text) => (Tag::Text, self.intern(text, known).into()),
                Value::Text(text) => (Tag::Text, self.append(text).into()),
                Value::Int(int) => (Tag::Int, int.cast_unsigned()),
                Value::Bool(bool) => (Tag::Bool, u64::from(*bool)),
                Value::F64(f64) => (Tag::F64, f64.to_bits()),
            };
            self.attributes.push(Attribute { value, key, tag });
        }
        (start, self.attributes.len() as u32)
    }

    fn intern(&mut self, text: &'static str, known: &mut HashMap<&'static str, u32>) -> u32 {
        *known.entry(text).or_insert_with(|| self.append(text))
    }

    fn append(&mut self, text: &str) -> u32 {
        assert!(
            text.bytes()
                .all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\'),
            "the floor's JSON escapes nothing"
        );
        let start = self.text_bytes.len();
        let mut left = text.len();
        while left >= 0x80 {
            self.text_bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.text_bytes.push(left as u8);
        let prefix_len = (self.text_bytes.len() - start) as u8;
        self.text_bytes.extend_from_slice(text.as_bytes());
        let prefixed_len = (self.text_bytes.len() - start) as u32;
        self.texts.push(TextAt {
            start: start as u32,
            prefixed_len,
            prefix_len,
        });
        self.texts.len() as u32 - 1
    }

    /// Bytes that no payload exceeds: `of_span` for the fixed part of a span, `of_attribute` for that of an attribute, `factor`
    /// for what a text may grow by.
    fn bound(&self, of_span: usize, of_attribute: usize, factor: usize) -> usize {
        let text = |index: u32| self.texts[index as usize].prefixed_len as usize * factor;
        let attribute = |attribute: &Attribute| {
            let value = match attribute.tag {
                Tag::Text => text(attribute.value as u32),
                _ => 32,
            };
            of_attribute + text(attribute.key) + value
        };
        let span = |span: &FlatSpan| {
            let message = if span.message == NONE {
                0
            } else {
                text(span.message)
            };
            of_span + text(span.name) + message
        };
        let attributes: usize = self
            .attributes
            .iter()
            .chain(&self.resource)
            .map(attribute)
            .sum();
        let spans: usize = self.spans.iter().map(span).sum();
        attributes + spans + (self.events.len() + 1) * of_span + 4 * SLACK
    }
}

/// Where the next byte goes. All writing goes past checked room: [`Arena::bound`] is reserved before the first byte.
#[derive(Clone, Copy)]
struct Cursor(*mut u8);

impl Cursor {
    #[inline(always)]
    unsafe fn byte(&mut self, byte: u8) {
        // SAFETY: inside the reserved room, as for all methods here.
        unsafe {
            *self.0 = byte;
            self.0 = self.0.add(1);
        }
    }

    #[inline(always)]
    unsafe fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        // SAFETY: as above.
        unsafe {
            self.0.cast::<[u8; N]>().write_unaligned(bytes);
            self.0 = self.0.add(N);
        }
    }

    /// Copies 32 bytes at a time, up to 31 too many: there is slack behind every text, and room behind every write.
    #[inline(always)]
    unsafe fn copy(&mut self, from: *const u8, len: usize) {
        // SAFETY: as above.
        unsafe {
            self.0
                .cast::<[u8; 32]>()
                .write_unaligned(from.cast::<[u8; 32]>().read_unaligned());
            let mut done = 32;
            while done < len {
                let block = from.add(done).cast::<[u8; 32]>().read_unaligned();
                self.0.add(done).cast::<[u8; 32]>().write_unaligned(block);
                done += 32;
            }
            self.0 = self.0.add(len);
        }
    }

    /// The text with its length before it.
    #[inline(always)]
    unsafe fn prefixed(&mut self, arena: &Arena, text: u32) {
        // SAFETY: as above; texts of an arena are known to it.
        unsafe {
            let at = arena.texts.get_unchecked(text as usize);
            self.copy(
                arena.text_bytes.as_ptr().add(at.start as usize),
                at.prefixed_len as usize,
            );
        }
    }

    #[inline(always)]
    unsafe fn text(&mut self, arena: &Arena, text: u32) {
        // SAFETY: as above.
        unsafe {
            let at = arena.texts.get_unchecked(text as usize);
            let start = at.start as usize + usize::from(at.prefix_len);
            let len = at.prefixed_len as usize - usize::from(at.prefix_len);
            self.copy(arena.text_bytes.as_ptr().add(start), len);
        }
    }
}
