//! OTLP protobuf in one pass. The width of a length is guessed, and what follows is moved when the guess was wrong.

use super::{Arena, Attribute, Cursor, FlatSpan, NONE, Tag};

const SAMPLED_LOCAL_PARENT: [u8; 6] = [0x85, 0x01, 0x01, 0x01, 0, 0];
/// Of a span or event: 128 bytes to 16 KiB.
pub(super) const SMALL: usize = 2;
/// Of a batch: 16 KiB to 2 MiB.
pub(super) const LARGE: usize = 3;

impl Arena {
    /// Replaces what is in `out` by the request.
    pub fn write_proto(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.bound(128, 32, 1));
        // SAFETY: `bound` covers everything that is written, 32-byte blocks included.
        unsafe {
            let start = out.as_mut_ptr();
            let mut cursor = Cursor(start);
            let resource_spans = cursor.open(0x0a, LARGE);
            self.resource_and_scope(&mut cursor, |cursor| {
                for span in &self.spans {
                    self.span(cursor, span);
                }
            });
            cursor.close(resource_spans, LARGE);
            out.set_len(cursor.0.offset_from_unsigned(start));
        }
    }

    unsafe fn resource_and_scope(&self, cursor: &mut Cursor, spans: impl FnOnce(&mut Cursor)) {
        // SAFETY: as in `write_proto`, for all functions here.
        unsafe {
            let resource = cursor.open(0x0a, SMALL);
            for attribute in &self.resource {
                self.attribute(cursor, 0x0a, attribute);
            }
            cursor.close(resource, SMALL);
            let scope_spans = cursor.open(0x12, LARGE);
            let scope = cursor.open(0x0a, 1);
            cursor.byte(0x0a);
            cursor.prefixed(self, self.scope.0);
            cursor.byte(0x12);
            cursor.prefixed(self, self.scope.1);
            cursor.close(scope, 1);
            spans(cursor);
            cursor.close(scope_spans, LARGE);
        }
    }

    #[inline(always)]
    unsafe fn span(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as above.
        unsafe {
            let message = cursor.open(0x12, SMALL);
            cursor.bytes([0x0a, 16]);
            cursor.bytes(span.trace_id);
            cursor.bytes([0x12, 8]);
            cursor.bytes(span.id.to_be_bytes());
            if span.parent != 0 {
                cursor.bytes([0x22, 8]);
                cursor.bytes(span.parent.to_be_bytes());
            }
            cursor.byte(0x2a);
            cursor.prefixed(self, span.name);
            cursor.bytes([0x30, span.kind]);
            cursor.byte(0x39);
            cursor.bytes(span.start_nanos.to_le_bytes());
            cursor.byte(0x41);
            cursor.bytes(span.end_nanos.to_le_bytes());
            self.attributes(cursor, 0x4a, span.attributes);
            if span.message != NONE {
                self.failure(cursor, span);
            }
            cursor.bytes(SAMPLED_LOCAL_PARENT);
            cursor.close(message, SMALL);
        }
    }

    unsafe fn failure(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as above.
        unsafe {
            let event = self.events.get_unchecked(span.event as usize);
            let message = cursor.open(0x5a, SMALL);
            cursor.byte(0x09);
            cursor.bytes(event.nanos.to_le_bytes());
            cursor.byte(0x12);
            cursor.prefixed(self, event.name);
            self.attributes(cursor, 0x1a, event.attributes);
            cursor.close(message, SMALL);
            let status = cursor.open(0x7a, 1);
            cursor.byte(0x12);
            cursor.prefixed(self, span.message);
            cursor.bytes([0x18, 2]);
            cursor.close(status, 1);
        }
    }

    #[inline(always)]
    unsafe fn attributes(&self, cursor: &mut Cursor, tag: u8, (start, end): (u32, u32)) {
        // SAFETY: as above.
        unsafe {
            for attribute in self.attributes.get_unchecked(start as usize..end as usize) {
                self.attribute(cursor, tag, attribute);
            }
        }
    }

    #[inline(always)]
    unsafe fn attribute(&self, cursor: &mut Cursor, tag: u8, attribute: &Attribute) {
        let value_len = match attribute.tag {
            Tag::Text => 1 + self.prefixed_len(attribute.value as u32),
            Tag::Int => 1 + varint_len(attribute.value),
            Tag::Bool => 2,
            Tag::F64 => 9,
        };
        let key_len = 1 + self.prefixed_len(attribute.key);
        // SAFETY: as above.
        unsafe {
            cursor.byte(tag);
            cursor.varint((key_len + 1 + varint_len(value_len as u64) + value_len) as u64);
            cursor.byte(0x0a);
            cursor.prefixed(self, attribute.key);
            cursor.byte(0x12);
            cursor.varint(value_len as u64);
            match attribute.tag {
                Tag::Text => {
                    cursor.byte(0x0a);
                    cursor.prefixed(self, attribute.value as u32);
                }
                Tag::Int => {
                    cursor.byte(0x18);
                    cursor.varint(attribute.value);
                }
                Tag::Bool => cursor.bytes([0x10, attribute.value as u8]),
                Tag::F64 => {
                    cursor.byte(0x21);
                    cursor.bytes(attribute.value.to_le_bytes());
                }
            }
        }
    }

    #[inline(always)]
    fn prefixed_len(&self, text: u32) -> usize {
        // SAFETY: texts of an arena are known to it.
        unsafe { self.texts.get_unchecked(text as usize) }.prefixed_len as usize
    }
}

impl Cursor {
    /// Begins a message whose length is going to take `width` bytes, probably.
    #[inline(always)]
    pub(super) unsafe fn open(&mut self, tag: u8, width: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            self.byte(tag);
            let length = self.0;
            self.0 = self.0.add(width);
            length
        }
    }

    #[inline(always)]
    pub(super) unsafe fn close(&mut self, length: *mut u8, width: usize) {
        // SAFETY: as above.
        unsafe {
            let body = length.add(width);
            let len = self.0.offset_from_unsigned(body);
            let needed = varint_len(len as u64);
            if needed != width {
                std::ptr::copy(body, length.add(needed), len);
                self.0 = length.add(needed + len);
            }
            Cursor(length).varint(len as u64);
        }
    }

    #[inline(always)]
    pub(super) unsafe fn varint(&mut self, mut value: u64) {
        // SAFETY: as above.
        unsafe {
            while value >= 0x80 {
                self.byte(value as u8 | 0x80);
                value >>= 7;
            }
            self.byte(value as u8);
        }
    }
}

#[inline(always)]
fn varint_len(value: u64) -> usize {
    (((value | 1).leading_zeros() ^ 63) as usize * 9 + 73) >> 6
}
