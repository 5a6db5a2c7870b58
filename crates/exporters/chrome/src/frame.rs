//! What stands around the events of a trace file, and from when its times count.

use hiq_core::time::UnixNanos;
use hiq_core::wire::{Decimal, Writer};

/// What a Chrome document ends with.
pub(crate) const CHROME_TAIL: &[u8] = b"\n]}\n";

const HEAD_BEGIN: &[u8] = b"{\"displayTimeUnit\":\"ns\",\"viztracer_metadata\":{\"overflow\":false,\"baseTimeNanoseconds\":";
const HEAD_END: &[u8] = b"},\"traceEvents\":[\n";

/// A base that lies so far before `time` that what is older by weeks is still behind it, and so near that a double holds the
/// distance to the nanosecond.
pub(crate) fn default_base(time: UnixNanos) -> UnixNanos {
    const DAYS: u64 = 24 * 3_600 * 1_000_000_000;
    UnixNanos(time.0.saturating_sub(45 * DAYS))
}

/// Writes what a Chrome document begins with. The names are `VizTracer`'s: its tools read the base there.
pub(crate) fn chrome_head(base: UnixNanos, out: &mut Vec<u8>) {
    Writer::new(out).put((HEAD_BEGIN, Decimal(base.0), HEAD_END));
}

/// The base of a document that [`chrome_head`] began, and the length of the head.
pub(crate) fn read_chrome_head(document: &[u8]) -> Option<(UnixNanos, usize)> {
    let rest = document.strip_prefix(HEAD_BEGIN)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let base = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    rest[digits..].starts_with(HEAD_END).then_some(())?;
    Some((UnixNanos(base), HEAD_BEGIN.len() + digits + HEAD_END.len()))
}
