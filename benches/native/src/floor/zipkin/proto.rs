//! `zipkin.proto3.ListOfSpans`.

use super::super::proto::SMALL;
use super::super::{Arena, Attribute, Cursor, FlatSpan, NONE, Tag};
use super::{INTERNAL, constant_tags};
use crate::spans::RESOURCE;

/// Of a tag, an endpoint or an annotation.
const TINY: usize = 1;
/// By the number of a span's kind.
const KINDS: [u8; 4] = [0, 0, 2, 1];

/// What all spans have, and what some have.
struct Fixed {
    local: Vec<u8>,
    tags: Vec<u8>,
    internal: Vec<u8>,
    error: Vec<u8>,
}

impl Arena {
    /// A writer of the list, with the attributes of the resource as tags or without.
    pub fn zipkin_proto_writer(has_resource: bool) -> impl Fn(&Self, &mut Vec<u8>) {
        let tags = constant_tags(has_resource).into_iter();
        let service = RESOURCE[0].1.as_bytes();
        let head = [0x42, service.len() as u8 + 2, 0x0a, service.len() as u8];
        let fixed = Fixed {
            local: [&head[..], service].concat(),
            tags: tags.flat_map(|(key, value)| tag(key, value)).collect(),
            internal: tag("span.kind", "internal"),
            error: tag("otel.status_code", "ERROR"),
        };
        move |arena, out| arena.write_zipkin_proto(&fixed, out)
    }

    fn write_zipkin_proto(&self, fixed: &Fixed, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.bound(1_024, 64, 1));
        // SAFETY: `bound` covers everything that is written, 32-byte blocks included.
        unsafe {
            let start = out.as_mut_ptr();
            let mut cursor = Cursor(start);
            for span in &self.spans {
                self.zipkin_proto_span(&mut cursor, fixed, span);
            }
            out.set_len(cursor.0.offset_from_unsigned(start));
        }
    }

    #[inline(always)]
    unsafe fn zipkin_proto_span(&self, cursor: &mut Cursor, fixed: &Fixed, span: &FlatSpan) {
        // SAFETY: as in `write_zipkin_proto`, for all functions here.
        unsafe {
            let message = cursor.open(0x0a, SMALL);
            cursor.bytes([0x0a, 16]);
            cursor.bytes(span.trace_id);
            if span.parent != 0 {
                cursor.bytes([0x12, 8]);
                cursor.bytes(span.parent.to_be_bytes());
            }
            cursor.bytes([0x1a, 8]);
            cursor.bytes(span.id.to_be_bytes());
            let kind = KINDS[usize::from(span.kind)];
            if kind != 0 {
                cursor.bytes([0x20, kind]);
            }
            cursor.byte(0x2a);
            cursor.prefixed(self, span.name);
            cursor.byte(0x31);
            cursor.bytes((span.start_nanos / 1_000).to_le_bytes());
            cursor.byte(0x38);
            cursor.varint(((span.end_nanos - span.start_nanos) / 1_000).max(1));
            cursor.slice(&fixed.local);
            cursor.slice(&fixed.tags);
            for attribute in self.range(span.attributes) {
                self.zipkin_proto_tag(cursor, attribute);
            }
            if span.kind == INTERNAL {
                cursor.slice(&fixed.internal);
            }
            if span.message != NONE {
                cursor.slice(&fixed.error);
                for head in [
                    &b"\x0a\x05error\x12"[..],
                    b"\x0a\x17otel.status_description\x12",
                ] {
                    let tag = cursor.open(0x5a, TINY);
                    cursor.slice(head);
                    cursor.prefixed(self, span.message);
                    cursor.close(tag, TINY);
                }
            }
            if let Some(address) = self.far_side(span) {
                let endpoint = cursor.open(0x4a, TINY);
                cursor.byte(0x0a);
                cursor.prefixed(self, address);
                cursor.close(endpoint, TINY);
            }
            if span.message != NONE {
                self.zipkin_proto_annotation(cursor, span);
            }
            cursor.close(message, SMALL);
        }
    }

    unsafe fn zipkin_proto_annotation(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as above.
        unsafe {
            let event = self.events.get_unchecked(span.event as usize);
            let message = cursor.open(0x52, TINY);
            cursor.byte(0x09);
            cursor.bytes((event.nanos / 1_000).to_le_bytes());
            let value = cursor.open(0x12, TINY);
            cursor.byte(b'"');
            cursor.text(self, event.name);
            cursor.slice(b"\": {");
            for attribute in self.range(event.attributes) {
                cursor.byte(b'"');
                cursor.text(self, attribute.key);
                cursor.slice(b"\":\"");
                cursor.text(self, attribute.value as u32);
                cursor.slice(b"\",");
            }
            cursor.unwrite_comma();
            cursor.byte(b'}');
            cursor.close(value, TINY);
            cursor.close(message, TINY);
        }
    }

    #[inline(always)]
    unsafe fn zipkin_proto_tag(&self, cursor: &mut Cursor, attribute: &Attribute) {
        // SAFETY: as above.
        unsafe {
            let tag = cursor.open(0x5a, TINY);
            cursor.byte(0x0a);
            cursor.prefixed(self, attribute.key);
            cursor.byte(0x12);
            match attribute.tag {
                Tag::Text => cursor.prefixed(self, attribute.value as u32),
                Tag::Int => {
                    let mut digits = itoa::Buffer::new();
                    cursor.short(digits.format(attribute.value.cast_signed()));
                }
                Tag::Bool if attribute.value != 0 => cursor.bytes(*b"\x04true"),
                Tag::Bool => cursor.bytes(*b"\x05false"),
                Tag::F64 => {
                    let mut digits = zmij::Buffer::new();
                    cursor.short(digits.format(f64::from_bits(attribute.value)));
                }
            }
            cursor.close(tag, TINY);
        }
    }
}

impl Cursor {
    /// A short text behind its length.
    #[inline(always)]
    unsafe fn short(&mut self, text: &str) {
        // SAFETY: as above.
        unsafe {
            self.byte(text.len() as u8);
            self.slice(text.as_bytes());
        }
    }
}

/// A whole tag of a span.
fn tag(key: &str, value: &str) -> Vec<u8> {
    let text = |field: u8, text: &str| [&[field, text.len() as u8], text.as_bytes()].concat();
    let body = [text(0x0a, key), text(0x12, value)].concat();
    assert!(body.len() < 128, "one byte holds the length");
    [&[0x5a, body.len() as u8][..], &body].concat()
}
