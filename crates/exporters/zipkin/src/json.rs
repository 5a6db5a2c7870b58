//! What both versions of JSON share: ids, times and texts.

use hiq_core::id::TraceId;
use hiq_core::span::Span;
use hiq_core::time::duration_micros;
use hiq_core::wire::{Decimal, Hex, JsonStr, Writer};

use crate::endpoint::Endpoint;
use crate::value::Scratch;

/// `{"traceId":"...","id":"...","parentId":"...` up to the open text.
#[inline(always)]
pub(crate) fn ids<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let trace_id = (b"{\"traceId\":\"", hex(span.trace_id()));
    writer.put((trace_id, b"\",\"id\":\"", Hex(span.id().0)));
    if let Some(parent) = span.parent_id().filter(|parent| parent.is_valid()) {
        writer.put((b"\",\"parentId\":\"", Hex(parent.0)));
    }
    writer
}

#[inline(always)]
fn hex(id: TraceId) -> (Hex, Hex) {
    let id = u128::from_be_bytes(id.0);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    (Hex((id >> 64) as u64), Hex(id as u64))
}

/// `","timestamp":1,"duration":2` behind an open text; without a start where nobody knows it.
#[inline(always)]
pub(crate) fn times<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let (start, duration) = (
        span.start().micros(),
        duration_micros(span.duration_nanos()),
    );
    if start == 0 {
        writer.put((b"\",\"duration\":", Decimal(duration)));
    } else {
        let start = (b"\",\"timestamp\":", Decimal(start));
        writer.put((start, b",\"duration\":", Decimal(duration)));
    }
    writer
}

/// An endpoint's object.
pub(crate) fn endpoint(
    writer: &mut Writer<'_>,
    endpoint: &Endpoint<'_>,
    scratch: &mut Scratch,
    guard: fn(&str) -> bool,
) {
    let mut separator = b'{';
    if !endpoint.service.is_empty() {
        writer.put((separator, b"\"serviceName\":\""));
        text(writer, endpoint.service, guard);
        writer.put(b'"');
        separator = b',';
    }
    if let Some((name, ip)) = endpoint.ip_text(&mut scratch.text) {
        let (name, ip) = (name.as_bytes(), ip.as_bytes());
        writer.put((separator, b'"', name, b"\":\"", ip, b'"'));
        separator = b',';
    }
    if let Some(port) = endpoint.port {
        writer.put((separator, b"\"port\":", Decimal(port.into())));
        separator = b',';
    }
    writer.put(((separator == b'{').then_some(b'{'), b'}'));
}

/// The inside of a JSON text. Of one that `is_sniffed`, the last character is escaped: Zipkin tells the versions of its format
/// apart by looking for words anywhere in a request, and refuses all of it when it finds the wrong one.
pub(crate) fn text(writer: &mut Writer<'_>, text: &str, is_sniffed: fn(&str) -> bool) {
    if is_sniffed(text) {
        let (start, last) = text.split_at(text.len() - 1);
        let last = last.as_bytes().first().copied().unwrap_or_default();
        let digits = [HEX[usize::from(last >> 4)], HEX[usize::from(last & 15)]];
        writer.put((JsonStr(start), b"\\u00", digits));
    } else if needs_escape(text) {
        writer.put(JsonStr(text));
    } else {
        writer.put(text.as_bytes());
    }
}

/// Without an early exit, so that many bytes are compared at a time.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch a byte is what it avoids"
)]
fn needs_escape(text: &str) -> bool {
    let bytes = text.bytes();
    bytes.fold(false, |found, byte| {
        found | (byte < 0x20) | (byte == b'"') | (byte == b'\\')
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";
