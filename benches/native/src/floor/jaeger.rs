//! Jaeger's `PostSpansRequest` in one pass: the bytes that hiq writes.

use super::proto::{LARGE, SMALL};
use super::{Arena, Attribute, Cursor, FlatSpan, NONE, Tag};
use crate::spans::SCOPE;

/// Of a tag, or a time.
const TINY: usize = 1;

impl Arena {
    /// A writer of the request.
    pub fn jaeger_proto_writer() -> impl Fn(&Self, &mut Vec<u8>) {
        let scope = [
            tag("otel.scope.name", SCOPE.0),
            tag("otel.scope.version", SCOPE.1),
        ]
        .concat();
        let kinds = ["", "internal", "server", "client"].map(|kind| tag("span.kind", kind));
        let kinds = kinds.map(|kind| [&scope[..], &kind].concat());
        let error = [
            &tag("otel.status_code", "ERROR")[..],
            b"\x42\x0b\x0a\x05error\x10\x01\x20\x01",
        ]
        .concat();
        move |arena, out| arena.write_jaeger(&kinds, &error, out)
    }

    fn write_jaeger(&self, kinds: &[Vec<u8>; 4], error: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.bound(512, 64, 1));
        // SAFETY: `bound` covers everything that is written, 32-byte blocks included.
        unsafe {
            let start = out.as_mut_ptr();
            let mut cursor = Cursor(start);
            let batch = cursor.open(0x0a, LARGE);
            for span in &self.spans {
                self.jaeger_span(&mut cursor, &kinds[usize::from(span.kind)], error, span);
            }
            let process = cursor.open(0x12, SMALL);
            cursor.byte(0x0a);
            cursor.prefixed(self, self.resource[0].value as u32);
            for attribute in &self.resource[1..] {
                self.jaeger_tag(&mut cursor, 0x12, attribute);
            }
            cursor.close(process, SMALL);
            cursor.close(batch, LARGE);
            out.set_len(cursor.0.offset_from_unsigned(start));
        }
    }

    #[inline(always)]
    unsafe fn jaeger_span(
        &self,
        cursor: &mut Cursor,
        scope_and_kind: &[u8],
        error: &[u8],
        span: &FlatSpan,
    ) {
        // SAFETY: as in `write_jaeger`, for all functions here.
        unsafe {
            let message = cursor.open(0x0a, SMALL);
            cursor.bytes([0x0a, 16]);
            cursor.bytes(span.trace_id);
            cursor.bytes([0x12, 8]);
            cursor.bytes(span.id.to_be_bytes());
            cursor.byte(0x1a);
            cursor.prefixed(self, span.name);
            if span.parent != 0 {
                cursor.bytes([0x22, 28, 0x0a, 16]);
                cursor.bytes(span.trace_id);
                cursor.bytes([0x12, 8]);
                cursor.bytes(span.parent.to_be_bytes());
            }
            cursor.bytes([0x28, 1]);
            cursor.time(0x32, span.start_nanos);
            cursor.time(0x3a, span.end_nanos - span.start_nanos);
            for attribute in self.range(span.attributes) {
                self.jaeger_tag(cursor, 0x42, attribute);
            }
            cursor.slice(scope_and_kind);
            if span.message != NONE {
                cursor.slice(error);
                self.jaeger_failure(cursor, span);
            }
            cursor.close(message, SMALL);
        }
    }

    unsafe fn jaeger_failure(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as above.
        unsafe {
            let description = cursor.open(0x42, TINY);
            cursor.slice(b"\x0a\x17otel.status_description\x1a");
            cursor.prefixed(self, span.message);
            cursor.close(description, TINY);
            let event = self.events.get_unchecked(span.event as usize);
            let log = cursor.open(0x4a, SMALL);
            cursor.time(0x0a, event.nanos);
            let name = cursor.open(0x12, TINY);
            cursor.slice(b"\x0a\x05event\x1a");
            cursor.prefixed(self, event.name);
            cursor.close(name, TINY);
            for attribute in self.range(event.attributes) {
                self.jaeger_tag(cursor, 0x12, attribute);
            }
            cursor.close(log, SMALL);
        }
    }

    #[inline(always)]
    unsafe fn jaeger_tag(&self, cursor: &mut Cursor, field: u8, attribute: &Attribute) {
        // SAFETY: as above.
        unsafe {
            let message = cursor.open(field, TINY);
            cursor.byte(0x0a);
            cursor.prefixed(self, attribute.key);
            match attribute.tag {
                Tag::Text => {
                    cursor.byte(0x1a);
                    cursor.prefixed(self, attribute.value as u32);
                }
                Tag::Int => {
                    cursor.bytes([0x10, 2]);
                    if attribute.value != 0 {
                        cursor.byte(0x28);
                        cursor.varint(attribute.value);
                    }
                }
                Tag::Bool => {
                    cursor.bytes([0x10, 1]);
                    if attribute.value != 0 {
                        cursor.bytes([0x20, 1]);
                    }
                }
                Tag::F64 => {
                    cursor.bytes([0x10, 3]);
                    if attribute.value != 0 {
                        cursor.byte(0x31);
                        cursor.bytes(attribute.value.to_le_bytes());
                    }
                }
            }
            cursor.close(message, TINY);
        }
    }
}

impl Cursor {
    /// A `Timestamp` or `Duration`.
    #[inline(always)]
    unsafe fn time(&mut self, field: u8, nanos: u64) {
        const SECOND: u64 = 1_000_000_000;
        // SAFETY: as above.
        unsafe {
            let message = self.open(field, TINY);
            for (field, value) in [(0x08, nanos / SECOND), (0x10, nanos % SECOND)] {
                if value != 0 {
                    self.byte(field);
                    self.varint(value);
                }
            }
            self.close(message, TINY);
        }
    }
}

/// A whole tag of a span.
fn tag(key: &str, value: &str) -> Vec<u8> {
    let text = |field: u8, text: &str| [&[field, text.len() as u8], text.as_bytes()].concat();
    let body = [text(0x0a, key), text(0x1a, value)].concat();
    assert!(body.len() < 128, "one byte holds the length");
    [&[0x42, body.len() as u8][..], &body].concat()
}
