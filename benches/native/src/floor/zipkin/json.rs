//! JSON of version 2.

use super::super::{Arena, Attribute, Cursor, FlatSpan, NONE, Tag};
use super::{INTERNAL, constant_tags};
use crate::spans::RESOURCE;

/// By the number of a span's kind.
const KINDS: [&[u8]; 4] = [b"", b"", b"\",\"kind\":\"SERVER", b"\",\"kind\":\"CLIENT"];

impl Arena {
    /// A writer of the list, with the attributes of the resource as tags or without.
    pub fn zipkin_json_writer(has_resource: bool) -> impl Fn(&Self, &mut Vec<u8>) {
        let tag = |(key, value)| format!(r#""{key}":"{value}","#);
        let tags: String = constant_tags(has_resource).into_iter().map(tag).collect();
        let service = RESOURCE[0].1;
        let constants =
            format!(r#","localEndpoint":{{"serviceName":"{service}"}},"tags":{{{tags}"#);
        move |arena, out| arena.write_zipkin_json(constants.as_bytes(), out)
    }

    fn write_zipkin_json(&self, constants: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.bound(1_024, 96, 1));
        // SAFETY: `bound` covers everything that is written, 32-byte blocks included.
        unsafe {
            let start = out.as_mut_ptr();
            let mut cursor = Cursor(start);
            cursor.byte(b'[');
            for span in &self.spans {
                self.zipkin_json_span(&mut cursor, constants, span);
            }
            cursor.unwrite_comma();
            cursor.byte(b']');
            out.set_len(cursor.0.offset_from_unsigned(start));
        }
    }

    #[inline(always)]
    unsafe fn zipkin_json_span(&self, cursor: &mut Cursor, constants: &[u8], span: &FlatSpan) {
        // SAFETY: as in `write_zipkin_json`, for all functions here.
        unsafe {
            cursor.literal(br#"{"traceId":""#);
            cursor.hex(&span.trace_id);
            cursor.literal(br#"","id":""#);
            cursor.hex(&span.id.to_be_bytes());
            if span.parent != 0 {
                cursor.literal(br#"","parentId":""#);
                cursor.hex(&span.parent.to_be_bytes());
            }
            cursor.literal(br#"","name":""#);
            cursor.text(self, span.name);
            cursor.slice(KINDS[usize::from(span.kind)]);
            cursor.literal(br#"","timestamp":"#);
            cursor.decimal(span.start_nanos / 1_000);
            cursor.literal(br#","duration":"#);
            cursor.decimal(((span.end_nanos - span.start_nanos) / 1_000).max(1));
            cursor.slice(constants);
            for attribute in self.range(span.attributes) {
                self.zipkin_json_tag(cursor, attribute);
            }
            if span.kind == INTERNAL {
                cursor.literal(br#""span.kind":"internal","#);
            }
            if span.message != NONE {
                cursor.literal(br#""otel.status_code":"ERROR","error":""#);
                cursor.text(self, span.message);
                cursor.literal(br#"","otel.status_description":""#);
                cursor.text(self, span.message);
                cursor.literal(br#"","#);
            }
            cursor.unwrite_comma();
            cursor.byte(b'}');
            if let Some(address) = self.far_side(span) {
                cursor.literal(br#","remoteEndpoint":{"serviceName":""#);
                cursor.text(self, address);
                cursor.literal(br#""}"#);
            }
            if span.message != NONE {
                self.zipkin_json_annotation(cursor, span);
            }
            cursor.literal(b"},");
        }
    }

    unsafe fn zipkin_json_annotation(&self, cursor: &mut Cursor, span: &FlatSpan) {
        // SAFETY: as above.
        unsafe {
            let event = self.events.get_unchecked(span.event as usize);
            cursor.literal(br#","annotations":[{"timestamp":"#);
            cursor.decimal(event.nanos / 1_000);
            cursor.literal(br#","value":"\""#);
            cursor.text(self, event.name);
            cursor.literal(br#"\": {"#);
            for attribute in self.range(event.attributes) {
                cursor.literal(br#"\""#);
                cursor.text(self, attribute.key);
                cursor.literal(br#"\":\""#);
                cursor.text(self, attribute.value as u32);
                cursor.literal(br#"\","#);
            }
            cursor.unwrite_comma();
            cursor.literal(br#"}"}]"#);
        }
    }

    #[inline(always)]
    unsafe fn zipkin_json_tag(&self, cursor: &mut Cursor, attribute: &Attribute) {
        // SAFETY: as above.
        unsafe {
            cursor.byte(b'"');
            cursor.text(self, attribute.key);
            cursor.literal(br#"":""#);
            match attribute.tag {
                Tag::Text => cursor.text(self, attribute.value as u32),
                Tag::Int => cursor.decimal(attribute.value.cast_signed()),
                Tag::Bool if attribute.value != 0 => cursor.literal(b"true"),
                Tag::Bool => cursor.literal(b"false"),
                Tag::F64 => {
                    let mut digits = zmij::Buffer::new();
                    cursor.slice(digits.format(f64::from_bits(attribute.value)).as_bytes());
                }
            }
            cursor.literal(br#"","#);
        }
    }
}
