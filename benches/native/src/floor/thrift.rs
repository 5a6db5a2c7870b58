//! Jaeger's `Batch` in both of thrift's protocols, in one pass: the bytes that hiq writes.

use super::{Arena, Attribute, Cursor, FlatSpan, NONE, Tag};
use crate::spans::SCOPE;

/// What the protocols write differently. `delta` is how far the field's number lies behind the last one.
trait Protocol {
    /// What begins and ends a payload.
    const AROUND: (&[u8], &[u8]);

    unsafe fn small(cursor: &mut Cursor, delta: u8, number: u8, value: u8);
    unsafe fn long(cursor: &mut Cursor, delta: u8, number: u8, value: i64);
    unsafe fn text(cursor: &mut Cursor, arena: &Arena, text: u32);
    /// The first bytes of a text's field.
    unsafe fn text_field(cursor: &mut Cursor, delta: u8, number: u8);
    unsafe fn list(cursor: &mut Cursor, delta: u8, number: u8, items: usize);
    /// A tag behind its key.
    unsafe fn value(cursor: &mut Cursor, arena: &Arena, attribute: &Attribute);
    /// A tag up to the text that is its value.
    fn head(key: &str) -> Vec<u8>;
    fn literal(text: &str) -> Vec<u8>;
    /// The whole tag, of a truth value.
    fn truth(key: &str) -> Vec<u8>;
}

/// Tags that are the same in many spans.
struct Fixed {
    scope: Vec<u8>,
    /// By the number of the kind.
    kinds: [Vec<u8>; 4],
    error: Vec<u8>,
    message: Vec<u8>,
    event: Vec<u8>,
}

impl Fixed {
    fn of<P: Protocol>() -> Self {
        let tag = |key: &str, value: &str| [P::head(key), P::literal(value), vec![0]].concat();
        Self {
            scope: [
                tag("otel.scope.name", SCOPE.0),
                tag("otel.scope.version", SCOPE.1),
            ]
            .concat(),
            kinds: ["", "internal", "server", "client"].map(|kind| tag("span.kind", kind)),
            error: [tag("otel.status_code", "ERROR"), P::truth("error")].concat(),
            message: P::head("otel.status_description"),
            event: P::head("event"),
        }
    }
}

impl Arena {
    /// A writer of the agent's call of `emitBatch`, in the compact protocol.
    pub fn compact_writer() -> impl Fn(&Self, &mut Vec<u8>) {
        let fixed = Fixed::of::<Compact>();
        move |arena, out| arena.write_thrift::<Compact>(&fixed, out)
    }

    /// A writer of the collector's `Batch`, in the binary protocol.
    pub fn binary_writer() -> impl Fn(&Self, &mut Vec<u8>) {
        let fixed = Fixed::of::<Binary>();
        move |arena, out| arena.write_thrift::<Binary>(&fixed, out)
    }

    fn write_thrift<P: Protocol>(&self, fixed: &Fixed, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.bound(512, 64, 1));
        // SAFETY: `bound` covers everything that is written, 32-byte blocks included.
        unsafe {
            let start = out.as_mut_ptr();
            let mut cursor = Cursor(start);
            cursor.slice(P::AROUND.0);
            P::text_field(&mut cursor, 1, 1);
            P::text(&mut cursor, self, self.resource[0].value as u32);
            P::list(&mut cursor, 1, 2, self.resource.len() - 1);
            self.tags::<P>(&mut cursor, &self.resource[1..]);
            cursor.byte(0);
            P::list(&mut cursor, 1, 2, self.spans.len());
            for span in &self.spans {
                self.thrift_span::<P>(&mut cursor, fixed, span);
            }
            cursor.slice(P::AROUND.1);
            out.set_len(cursor.0.offset_from_unsigned(start));
        }
    }

    #[inline(always)]
    unsafe fn thrift_span<P: Protocol>(&self, cursor: &mut Cursor, fixed: &Fixed, span: &FlatSpan) {
        let trace = u128::from_be_bytes(span.trace_id);
        let has_failed = span.message != NONE;
        // SAFETY: as in `write_thrift`, for all functions here.
        unsafe {
            let own = self.range(span.attributes);
            P::long(cursor, 1, 1, (trace as u64).cast_signed());
            P::long(cursor, 1, 2, ((trace >> 64) as u64).cast_signed());
            P::long(cursor, 1, 3, span.id.cast_signed());
            P::long(cursor, 1, 4, span.parent.cast_signed());
            P::text_field(cursor, 1, 5);
            P::text(cursor, self, span.name);
            P::small(cursor, 2, 7, 1);
            P::long(cursor, 1, 8, (span.start_nanos / 1_000).cast_signed());
            let micros = (span.end_nanos - span.start_nanos) / 1_000;
            P::long(cursor, 1, 9, micros.max(1).cast_signed());
            P::list(cursor, 1, 10, own.len() + 3 + 3 * usize::from(has_failed));
            self.tags::<P>(cursor, own);
            cursor.slice(&fixed.scope);
            cursor.slice(&fixed.kinds[usize::from(span.kind)]);
            if has_failed {
                self.thrift_failure::<P>(cursor, fixed, span);
            }
            cursor.byte(0);
        }
    }

    unsafe fn thrift_failure<P: Protocol>(
        &self,
        cursor: &mut Cursor,
        fixed: &Fixed,
        span: &FlatSpan,
    ) {
        // SAFETY: as above.
        unsafe {
            cursor.slice(&fixed.error);
            cursor.slice(&fixed.message);
            P::text(cursor, self, span.message);
            cursor.byte(0);
            let event = self.events.get_unchecked(span.event as usize);
            let attributes = self.range(event.attributes);
            P::list(cursor, 1, 11, 1);
            P::long(cursor, 1, 1, (event.nanos / 1_000).cast_signed());
            P::list(cursor, 1, 2, attributes.len() + 1);
            cursor.slice(&fixed.event);
            P::text(cursor, self, event.name);
            cursor.byte(0);
            self.tags::<P>(cursor, attributes);
            cursor.byte(0);
        }
    }

    #[inline(always)]
    unsafe fn tags<P: Protocol>(&self, cursor: &mut Cursor, attributes: &[Attribute]) {
        for attribute in attributes {
            // SAFETY: as above.
            unsafe {
                P::text_field(cursor, 1, 1);
                P::text(cursor, self, attribute.key);
                P::value(cursor, self, attribute);
                cursor.byte(0);
            }
        }
    }
}

struct Compact;

impl Protocol for Compact {
    const AROUND: (&[u8], &[u8]) = (b"\x82\x81\x00\x09emitBatch\x1c\x1c", &[0, 0]);

    #[inline(always)]
    unsafe fn small(cursor: &mut Cursor, delta: u8, _number: u8, value: u8) {
        // SAFETY: as above, for all functions here.
        unsafe { cursor.bytes([delta << 4 | 5, value << 1]) };
    }

    #[inline(always)]
    unsafe fn long(cursor: &mut Cursor, delta: u8, _number: u8, value: i64) {
        // SAFETY: as above.
        unsafe {
            cursor.byte(delta << 4 | 6);
            cursor.varint(zigzag(value));
        }
    }

    #[inline(always)]
    unsafe fn text(cursor: &mut Cursor, arena: &Arena, text: u32) {
        // SAFETY: as above.
        unsafe { cursor.prefixed(arena, text) };
    }

    #[inline(always)]
    unsafe fn text_field(cursor: &mut Cursor, delta: u8, _number: u8) {
        // SAFETY: as above.
        unsafe { cursor.byte(delta << 4 | 8) };
    }

    #[inline(always)]
    unsafe fn list(cursor: &mut Cursor, delta: u8, _number: u8, items: usize) {
        // SAFETY: as above.
        unsafe {
            cursor.byte(delta << 4 | 9);
            if items < 15 {
                cursor.byte((items as u8) << 4 | 12);
            } else {
                cursor.byte(0xfc);
                cursor.varint(items as u64);
            }
        }
    }

    #[inline(always)]
    unsafe fn value(cursor: &mut Cursor, arena: &Arena, attribute: &Attribute) {
        // SAFETY: as above.
        unsafe {
            match attribute.tag {
                Tag::Text => {
                    cursor.bytes([0x15, 0, 0x18]);
                    cursor.prefixed(arena, attribute.value as u32);
                }
                Tag::Int => {
                    cursor.bytes([0x15, 6, 0x46]);
                    cursor.varint(zigzag(attribute.value.cast_signed()));
                }
                Tag::Bool => cursor.bytes([0x15, 4, 0x32 - attribute.value as u8]),
                Tag::F64 => {
                    cursor.bytes([0x15, 2, 0x27]);
                    cursor.bytes(attribute.value.to_le_bytes());
                }
            }
        }
    }

    fn head(key: &str) -> Vec<u8> {
        [&[0x18][..], &Self::literal(key), &[0x15, 0, 0x18]].concat()
    }

    fn literal(text: &str) -> Vec<u8> {
        assert!(text.len() < 128, "one byte holds the length");
        [&[text.len() as u8], text.as_bytes()].concat()
    }

    fn truth(key: &str) -> Vec<u8> {
        [&[0x18][..], &Self::literal(key), &[0x15, 4, 0x31, 0]].concat()
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

struct Binary;

impl Protocol for Binary {
    const AROUND: (&[u8], &[u8]) = (&[12, 0, 1], &[0]);

    #[inline(always)]
    unsafe fn small(cursor: &mut Cursor, _delta: u8, number: u8, value: u8) {
        // SAFETY: as above, for all functions here.
        unsafe { cursor.bytes([8, 0, number, 0, 0, 0, value]) };
    }

    #[inline(always)]
    unsafe fn long(cursor: &mut Cursor, _delta: u8, number: u8, value: i64) {
        // SAFETY: as above.
        unsafe {
            cursor.bytes([10, 0, number]);
            cursor.bytes(value.to_be_bytes());
        }
    }

    #[inline(always)]
    unsafe fn text(cursor: &mut Cursor, arena: &Arena, text: u32) {
        // SAFETY: as above.
        unsafe {
            let at = arena.texts.get_unchecked(text as usize);
            let length = at.prefixed_len - u32::from(at.prefix_len);
            cursor.bytes(length.to_be_bytes());
            cursor.text(arena, text);
        }
    }

    #[inline(always)]
    unsafe fn text_field(cursor: &mut Cursor, _delta: u8, number: u8) {
        // SAFETY: as above.
        unsafe { cursor.bytes([11, 0, number]) };
    }

    #[inline(always)]
    unsafe fn list(cursor: &mut Cursor, _delta: u8, number: u8, items: usize) {
        // SAFETY: as above.
        unsafe {
            cursor.bytes([15, 0, number, 12]);
            cursor.bytes((items as u32).to_be_bytes());
        }
    }

    #[inline(always)]
    unsafe fn value(cursor: &mut Cursor, arena: &Arena, attribute: &Attribute) {
        // SAFETY: as above.
        unsafe {
            match attribute.tag {
                Tag::Text => {
                    cursor.bytes([8, 0, 2, 0, 0, 0, 0, 11, 0, 3]);
                    Self::text(cursor, arena, attribute.value as u32);
                }
                Tag::Int => {
                    cursor.bytes([8, 0, 2, 0, 0, 0, 3, 10, 0, 6]);
                    cursor.bytes(attribute.value.to_be_bytes());
                }
                Tag::Bool => {
                    cursor.bytes([8, 0, 2, 0, 0, 0, 2, 2, 0, 5, attribute.value as u8]);
                }
                Tag::F64 => {
                    cursor.bytes([8, 0, 2, 0, 0, 0, 1, 4, 0, 4]);
                    cursor.bytes(attribute.value.to_be_bytes());
                }
            }
        }
    }

    fn head(key: &str) -> Vec<u8> {
        let kind = [8, 0, 2, 0, 0, 0, 0, 11, 0, 3];
        [&[11, 0, 1][..], &Self::literal(key), &kind].concat()
    }

    fn literal(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
    }

    fn truth(key: &str) -> Vec<u8> {
        let value = [8, 0, 2, 0, 0, 0, 2, 2, 0, 5, 1, 0];
        [&[11, 0, 1][..], &Self::literal(key), &value].concat()
    }
}
