//! OTLP/JSON in one pass.

use super::{Arena, Attribute, Cursor, FlatSpan, NONE, Tag};

impl Arena {
    /// Replaces what is in `out` by the request.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.bound(512, 96, 1));
        // SAFETY: `bound` covers everything that is written, 32-byte blocks included.
        unsafe {
            let start = out.as_mut_ptr();
            let mut cursor = Cursor(start);
            cursor.literal(br#"{"resourceSpans":[{"resource":{"attributes":["#);
            self.json_attributes(&mut cursor, &self.resource);
            cursor.literal(br#"]},"scopeSpans":[{"scope":{"name":""#);
            cursor.text(self, self.scope.0);
            cursor.literal(br#"","version":""#);
            cursor.text(self, self.scope.1);
            cursor.literal(br#""},"spans":["#);
            for span in &self.spans {
                self.json_span(&mut cursor, span);
            }
            cursor.unwrite_comma();
            cursor.literal(b"]}]}]}");
            out.set_len(cursor.0.offset_from_unsigned(start));
        }
    }

    #[inline(always)]
    unsafe fn json_span(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as in `write_json`, for all functions here.
        unsafe {
            cursor.literal(br#"{"traceId":""#);
            cursor.hex(&span.trace_id);
            cursor.literal(br#"","spanId":""#);
            cursor.hex(&span.id.to_be_bytes());
            if span.parent != 0 {
                cursor.literal(br#"","parentSpanId":""#);
                cursor.hex(&span.parent.to_be_bytes());
            }
            cursor.literal(br#"","name":""#);
            cursor.text(self, span.name);
            cursor.literal(br#"","kind":"#);
            cursor.byte(b'0' + span.kind);
            cursor.literal(br#","startTimeUnixNano":""#);
            cursor.decimal(span.start_nanos);
            cursor.literal(br#"","endTimeUnixNano":""#);
            cursor.decimal(span.end_nanos);
            cursor.literal(br#"","attributes":["#);
            self.json_attributes(cursor, self.range(span.attributes));
            cursor.literal(b"],");
            if span.message != NONE {
                self.json_failure(cursor, span);
            }
            cursor.literal(br#""flags":257},"#);
        }
    }

    unsafe fn json_failure(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as above.
        unsafe {
            let event = self.events.get_unchecked(span.event as usize);
            cursor.literal(br#""events":[{"timeUnixNano":""#);
            cursor.decimal(event.nanos);
            cursor.literal(br#"","name":""#);
            cursor.text(self, event.name);
            cursor.literal(br#"","attributes":["#);
            self.json_attributes(cursor, self.range(event.attributes));
            cursor.literal(br#"]}],"status":{"message":""#);
            cursor.text(self, span.message);
            cursor.literal(br#"","code":2},"#);
        }
    }

    #[inline(always)]
    unsafe fn json_attributes(&self, cursor: &mut Cursor, attributes: &[Attribute]) {
        // SAFETY: as above.
        unsafe {
            for attribute in attributes {
                cursor.literal(br#"{"key":""#);
                cursor.text(self, attribute.key);
                match attribute.tag {
                    Tag::Text => {
                        cursor.literal(br#"","value":{"stringValue":""#);
                        cursor.text(self, attribute.value as u32);
                        cursor.literal(br#""}},"#);
                    }
                    Tag::Int => {
                        cursor.literal(br#"","value":{"intValue":""#);
                        cursor.decimal(attribute.value.cast_signed());
                        cursor.literal(br#""}},"#);
                    }
                    Tag::Bool if attribute.value != 0 => {
                        cursor.literal(br#"","value":{"boolValue":true}},"#);
                    }
                    Tag::Bool => cursor.literal(br#"","value":{"boolValue":false}},"#),
                    Tag::F64 => {
                        cursor.literal(br#"","value":{"doubleValue":"#);
                        let mut digits = zmij::Buffer::new();
                        cursor.slice(digits.format(f64::from_bits(attribute.value)).as_bytes());
                        cursor.literal(b"}},");
                    }
                }
            }
            cursor.unwrite_comma();
        }
    }

    #[inline(always)]
    pub(super) unsafe fn range(&self, (start, end): (u32, u32)) -> &[Attribute] {
        // SAFETY: ranges of an arena lie in it.
        unsafe { self.attributes.get_unchecked(start as usize..end as usize) }
    }
}

impl Cursor {
    #[inline(always)]
    pub(super) unsafe fn literal<const N: usize>(&mut self, literal: &[u8; N]) {
        // SAFETY: as above.
        unsafe { self.bytes(*literal) };
    }

    #[inline(always)]
    pub(super) unsafe fn slice(&mut self, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe {
            self.0.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.0 = self.0.add(bytes.len());
        }
    }

    #[inline(always)]
    pub(super) unsafe fn decimal(&mut self, value: impl itoa::Integer) {
        // SAFETY: as above.
        unsafe { self.slice(itoa::Buffer::new().format(value).as_bytes()) };
    }

    #[inline(always)]
    pub(super) unsafe fn hex(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // SAFETY: as above.
            unsafe { self.bytes(HEX[usize::from(*byte)]) };
        }
    }

    /// Takes a trailing comma back.
    #[inline(always)]
    pub(super) unsafe fn unwrite_comma(&mut self) {
        // SAFETY: something was written before.
        unsafe {
            if *self.0.sub(1) == b',' {
                self.0 = self.0.sub(1);
            }
        }
    }
}

const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};
