//! Tracks: processes, threads, further rows, and counters for extra metrics.

use std::sync::Arc;

use hiq_core::span::{Event, Span};
use hiq_core::time::UnixNanos;
use hiq_core::tree::{ColumnKind, ColumnSpec};
use hiq_core::wire::{Fixed64, Varint, Writer};

use super::packet::{Packets, Type};
use crate::counter::series;
use crate::stage::{Process, Stage, Track};

const TRACK_DESCRIPTOR: [u8; 2] = [0xe2, 0x03];
const DOUBLE_COUNTER_VALUE: [u8; 2] = [0xe1, 0x02];
const UUID: u8 = 0x08;
const NAME: u8 = 0x12;
const PROCESS: u8 = 0x1a;
const THREAD: u8 = 0x22;
const PARENT_UUID: u8 = 0x28;
const COUNTER: u8 = 0x42;

/// Describes a process: its name, and as labels all that its resource says.
pub(super) fn announce_process(writer: &mut Writer<'_>, packets: Packets, process: &Process) {
    let packet = packets.open(writer, 0);
    writer.put(TRACK_DESCRIPTOR[0]);
    let descriptor = writer.open(TRACK_DESCRIPTOR[1], 200);
    writer.put((UUID, Varint(packets.uuid(process.number))));
    let body = writer.open(PROCESS, 200);
    writer.put((0x08_u8, Varint(process.pid.into())));
    text(writer, 0x32, process.name.as_bytes());
    text(writer, 0x42, &process.resource);
    writer.close(body);
    writer.close(descriptor);
    writer.close(packet);
}

/// Describes a track: a thread, where that is known, else a row of the process.
pub(super) fn announce_track(
    writer: &mut Writer<'_>,
    packets: Packets,
    process: &Process,
    track: &Track,
) {
    let packet = packets.open(writer, 0);
    writer.put(TRACK_DESCRIPTOR[0]);
    let descriptor = writer.open(TRACK_DESCRIPTOR[1], 60);
    writer.put((UUID, Varint(packets.uuid(track.number))));
    writer.put((PARENT_UUID, Varint(packets.uuid(process.number))));
    if track.is_thread() {
        let thread = writer.open(THREAD, 30);
        writer.put((0x08_u8, Varint(process.pid.into())));
        writer.put((0x10_u8, Varint(track.tid.into())));
        text(writer, 0x2a, track.name.as_bytes());
        writer.close(thread);
    } else {
        text(writer, NAME, track.name.as_bytes());
    }
    writer.close(descriptor);
    writer.close(packet);
}

/// Writes what extra metrics were at the start and end of `span`.
pub(super) fn write_samples(
    writer: &mut Writer<'_>,
    packets: Packets,
    stage: &mut Stage,
    span: Span<'_>,
) {
    for column in span.tree().columns() {
        let Some((start, end)) = column.values.get(span.index() as usize) else {
            continue;
        };
        let uuid = counter(writer, packets, stage, &column.metric);
        for (time, sample) in [(span.start(), start), (span.end(), end)] {
            if sample.is_finite() {
                write_sample(writer, packets, (uuid, time), *sample);
            }
        }
    }
}

/// Writes a sample of counters that was read.
pub(super) fn write_counters(
    writer: &mut Writer<'_>,
    packets: Packets,
    stage: &mut Stage,
    event: Event<'_>,
) {
    for (series, value) in series(event) {
        // As the trace processor names those of Chrome JSON.
        let name = format!("{} {}", event.name().as_str(), series.as_str());
        let metric = Arc::new(ColumnSpec::new(name, "", ColumnKind::Level));
        let uuid = counter(writer, packets, stage, &metric);
        write_sample(writer, packets, (uuid, event.time()), value);
    }
}

/// The track of a counter, described where that is to be done.
fn counter(
    writer: &mut Writer<'_>,
    packets: Packets,
    stage: &mut Stage,
    metric: &Arc<ColumnSpec>,
) -> u64 {
    let (counter, is_new) = stage.counter(metric);
    let uuid = packets.uuid(counter);
    if is_new {
        let packet = packets.open(writer, 0);
        writer.put(TRACK_DESCRIPTOR[0]);
        let descriptor = writer.open(TRACK_DESCRIPTOR[1], 60);
        writer.put((UUID, Varint(uuid)));
        let parent = packets.uuid(stage.process().number);
        writer.put((PARENT_UUID, Varint(parent)));
        text(writer, NAME, metric.name.as_bytes());
        let body = writer.open(COUNTER, 10);
        text(writer, 0x32, metric.unit.as_bytes());
        writer.close(body);
        writer.close(descriptor);
        writer.close(packet);
    }
    uuid
}

fn write_sample(
    writer: &mut Writer<'_>,
    packets: Packets,
    (uuid, time): (u64, UnixNanos),
    sample: f64,
) {
    let (packet, event) = packets.open_event(writer, Type::Counter, time, uuid);
    writer.put((DOUBLE_COUNTER_VALUE, Fixed64(sample.to_bits())));
    writer.close(event);
    writer.close(packet);
}

fn text(writer: &mut Writer<'_>, tag: u8, text: &[u8]) {
    writer.put((tag, Varint(text.len() as u64), text));
}
