//! Events by their `ph`: metadata, instants, counters and flows, and what all of them share.

use hiq_core::id::SpanId;
use hiq_core::span::Kind;
use hiq_core::time::UnixNanos;
use hiq_core::wire::{Decimal, Hex, JsonStr, JsonText, Text, Writer};

use crate::json::micros;
use crate::stage::{Process, Track};

/// Where and from when on an event counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) base: UnixNanos,
}

/// Ends every event; the last one's is taken back.
pub(super) const END_EVENT: &[u8; 3] = b"},\n";

/// Writes who the process is: its name, and all that its resource says.
pub(super) fn announce_process(writer: &mut Writer<'_>, process: &Process) {
    let pid = Decimal(process.pid.into());
    let who = (b"\"pid\":", pid, b",\"tid\":", pid);
    writer.put((b"{\"ph\":\"M\",\"name\":\"process_name\",", who));
    writer.put((
        b",\"args\":{\"name\":\"",
        JsonStr(&process.name),
        b"\"}",
        END_EVENT,
    ));
    writer.put((b"{\"ph\":\"M\",\"name\":\"hiq.resource\",", who));
    writer.put((b",\"args\":", &process.resource[..], END_EVENT));
}

/// Writes the name of a track.
pub(super) fn announce_track(writer: &mut Writer<'_>, pid: u32, track: &Track) {
    let who = (
        b"\"pid\":",
        Decimal(pid.into()),
        b",\"tid\":",
        Decimal(track.tid.into()),
    );
    writer.put((b"{\"ph\":\"M\",\"name\":\"thread_name\",", who));
    writer.put((b",\"args\":{\"name\":\"", JsonStr(&track.name), b"\""));
    if track.thread_id > 0 {
        writer.put((b",\"hiq.thread_id\":", Decimal(track.thread_id)));
    }
    writer.put(track.is_task.then_some(b",\"hiq.is_task\":true"));
    writer.put((b'}', END_EVENT));
}

/// Begins an event at `time`: all that stands before its `args`.
#[inline]
pub(super) fn begin(
    writer: &mut Writer<'_>,
    ph: &[u8],
    category: &str,
    name: Text<'_>,
    time: UnixNanos,
    place: Place,
) {
    writer.put((b"{\"ph\":\"", ph, b"\",\"cat\":\"", category.as_bytes()));
    writer.put((b"\",\"name\":\"", JsonText(name), b"\",\"pid\":"));
    let tid = (b",\"tid\":", Decimal(place.tid.into()));
    writer.put((Decimal(place.pid.into()), tid, b",\"ts\":"));
    let is_before = time < place.base;
    micros(writer, time.0.abs_diff(place.base.0), is_before);
}

/// An end of an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrowEnd {
    Parent,
    Child,
}

/// The category of the flows that join parents and children.
pub(crate) const ARROW: &str = "hiq.child";

/// Writes one end of the arrow to `child`, in the slice that has begun at `time`.
pub(super) fn arrow(
    writer: &mut Writer<'_>,
    end: ArrowEnd,
    child: SpanId,
    time: UnixNanos,
    place: Place,
) {
    writer.put(match end {
        ArrowEnd::Parent => &b"{\"ph\":\"s\""[..],
        ArrowEnd::Child => b"{\"ph\":\"f\",\"bp\":\"e\"",
    });
    let name = (ARROW.as_bytes(), b"\",\"name\":\"child\",\"id\":\"0x");
    writer.put((b",\"cat\":\"", name, Hex(child.0), b"\",\"pid\":"));
    let tid = (b",\"tid\":", Decimal(place.tid.into()));
    writer.put((Decimal(place.pid.into()), tid, b",\"ts\":"));
    micros(writer, time.0.abs_diff(place.base.0), time < place.base);
    writer.put(END_EVENT);
}

/// The category that says a span's kind.
pub(super) fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "unspecified",
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
        Kind::Producer => "producer",
        Kind::Consumer => "consumer",
    }
}

/// The kind that a category says; `None` for one of others.
pub(crate) fn kind_of(category: &[u8]) -> Option<Kind> {
    let kinds = (0..6).map(Kind::from_otlp);
    kinds
        .into_iter()
        .find(|kind| self::category(*kind).as_bytes() == category)
}
