//! What both versions of JSON share: ids, times and texts.

use hiq_core::id::TraceId;
use hiq_core::span::Span;
use hiq_core::time::duration_micros;
use hiq_core::wire::{Decimal, Hex, JsonStr, LastEightDigits, Writer};

use crate::endpoint::Endpoint;
use crate::value::Scratch;

/// `{"traceId":"...","id":"...","parentId":"...` up to the open text.
#[inline(always)]
pub(crate) fn ids<'w>(
    mut writer: Writer<'w>,
    head: &[u8; HEAD_BYTES],
    span: Span<'_>,
) -> Writer<'w> {
    writer.put((head, Hex(span.id().0)));
    if let Some(parent) = span.parent_id().filter(|parent| parent.is_valid()) {
        writer.put((b"\",\"parentId\":\"", Hex(parent.0)));
    }
    writer
}

/// Bytes of [`head`].
pub(crate) const HEAD_BYTES: usize = 52;

/// What each span of a trace begins with: `{"traceId":"...","id":"`.
pub(crate) fn head(id: TraceId) -> [u8; HEAD_BYTES] {
    let mut head = *b"{\"traceId\":\"00000000000000000000000000000000\",\"id\":\"";
    for (digits, byte) in head[12..].chunks_exact_mut(2).zip(id.0) {
        digits.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    head
}

/// `","timestamp":1,"duration":2` behind an open text; without a start where nobody knows it.
#[inline(always)]
pub(crate) fn times<'w>(
    mut writer: Writer<'w>,
    recent: &mut RecentTime,
    span: Span<'_>,
) -> Writer<'w> {
    let start = span.start().micros();
    let duration = (
        b",\"duration\":",
        Decimal(duration_micros(span.duration_nanos())),
    );
    let since = recent.since(start);
    if since < HUNDRED_SECONDS {
        let start = (recent.first_digits, LastEightDigits(since));
        writer.put((b"\",\"timestamp\":", start, duration));
    } else if start == 0 {
        writer.put((b'"', duration));
    } else {
        writer.put((b"\",\"timestamp\":", Decimal(start), duration));
        recent.turn_to(start);
    }
    writer
}

/// The first eight of the sixteen digits of a time in microseconds: for 100 seconds they are the same.
#[derive(Debug)]
pub(crate) struct RecentTime {
    /// When the hundred seconds begin, in microseconds.
    from: u64,
    first_digits: [u8; 8],
}

impl Default for RecentTime {
    /// Covers no time that there is.
    fn default() -> Self {
        Self {
            from: 1 << 63,
            first_digits: [b'0'; 8],
        }
    }
}

impl RecentTime {
    /// How far `micros` is from the beginning, in microseconds: less than a hundred seconds where the digits are its own.
    #[inline(always)]
    fn since(&self, micros: u64) -> u64 {
        micros.wrapping_sub(self.from)
    }

    #[cold]
    #[inline(never)]
    fn turn_to(&mut self, micros: u64) {
        let mut digits = itoa::Buffer::new();
        let hundreds = micros / HUNDRED_SECONDS;
        *self = Self::default();
        if let Ok(first_digits) = digits.format(hundreds).as_bytes().try_into() {
            *self = Self {
                from: hundreds * HUNDRED_SECONDS,
                first_digits,
            };
        }
    }
}

const HUNDRED_SECONDS: u64 = 100_000_000;

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
