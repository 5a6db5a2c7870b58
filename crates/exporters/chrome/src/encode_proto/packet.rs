//! Packets and what they all begin with. Field numbers are those of Perfetto's `trace_packet.proto` and `track_event.proto`.

use hiq_core::id::SpanId;
use hiq_core::span::Kind;
use hiq_core::time::UnixNanos;
use hiq_core::wire::{Fixed64, OpenLength, Varint, Writer};

/// Bytes of a packet that ends a slice, at most.
pub(super) const MAX_END_BYTES: usize = 48;

const PACKET: u8 = 0x0a;
const TIMESTAMP: u8 = 0x40;
const SEQUENCE_ID: u8 = 0x50;
const SEQUENCE_FLAGS: u8 = 0x68;
const TRACK_EVENT: u8 = 0x5a;
pub(super) const INTERNED_DATA: u8 = 0x62;
const CLOCK_SNAPSHOT: u8 = 0x32;
const PACKET_DEFAULTS: [u8; 2] = [0xda, 0x03];
const TIMESTAMP_CLOCK_ID: [u8; 2] = [0xd0, 0x03];
const FIRST_PACKET_ON_SEQUENCE: [u8; 2] = [0xb8, 0x05];

/// Fields 47 and 48 of an event, eight bytes each.
const FLOW_IDS: [u8; 2] = [0xf9, 0x02];

const STATE_CLEARED: u8 = 1;
const NEEDS_STATE: u8 = 2;

/// Perfetto's number of the wall clock, and of the clock that traces have when nobody says otherwise.
const REALTIME: u8 = 1;
const BOOTTIME: u8 = 6;

/// What the packets of one encoder have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packets {
    sequence: u32,
}

/// When the clocks are said to agree: they always do, and no snapshot may say an earlier time than one before it, in
/// whatever process.
const SNAPSHOT_NANOS: u64 = 1_000_000_000;

/// The type of a track event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Begin = 1,
    End = 2,
    Instant = 3,
    Counter = 4,
}

impl Packets {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the counting half of an id"
    )]
    pub(super) fn new(random: SpanId) -> Self {
        let random = random.0 ^ random.0 >> 32;
        Self {
            sequence: (random as u32 >> 1).max(1),
        }
    }

    /// The uuid of the `number`th track of this sequence.
    pub(super) fn uuid(self, number: u32) -> u64 {
        u64::from(self.sequence) << 32 | u64::from(number)
    }

    /// Opens a packet.
    #[inline]
    pub(super) fn open(self, writer: &mut Writer<'_>, flags: u8) -> OpenLength {
        let packet = writer.open(PACKET, 100);
        let sequence = Varint(self.sequence.into());
        writer.put((SEQUENCE_ID, sequence, SEQUENCE_FLAGS, flags));
        packet
    }

    /// Opens a packet with an event at `time` on `track`. Both are to be closed, the event first.
    #[inline]
    pub(super) fn open_event(
        self,
        writer: &mut Writer<'_>,
        event_type: Type,
        time: UnixNanos,
        track: u64,
    ) -> (OpenLength, OpenLength) {
        let packet = self.open(writer, NEEDS_STATE);
        writer.put((TIMESTAMP, Varint(time.0)));
        let event = writer.open(TRACK_EVENT, 80);
        writer.put((0x48_u8, event_type as u8, 0x58_u8, Varint(track)));
        (packet, event)
    }

    /// Ends the innermost slice of `track`.
    #[inline]
    pub(super) fn end(self, writer: &mut Writer<'_>, track: u64, time: UnixNanos) {
        let (packet, event) = self.open_event(writer, Type::End, time, track);
        writer.close(event);
        writer.close(packet);
    }
}

/// In the event that begins a slice: it is an end of the arrow to the slice of `child`. Of two slices with one flow the earlier is
/// where the arrow comes from; a slice that says so alone, because its parent never came, has none.
pub(super) fn flow(writer: &mut Writer<'_>, child: SpanId) {
    writer.put((FLOW_IDS, Fixed64(child.0)));
}

/// Writes what the packets of a payload begin with: nothing that was said before counts, times are wall-clock, and the
/// categories are these.
pub(super) fn begin_sequence(writer: &mut Writer<'_>, packets: Packets) {
    let packet = packets.open(writer, STATE_CLEARED);
    writer.put((FIRST_PACKET_ON_SEQUENCE, 1_u8));
    let snapshot = writer.open(CLOCK_SNAPSHOT, 40);
    for id in [REALTIME, BOOTTIME] {
        let clock = writer.open(0x0a, 12);
        writer.put((0x08_u8, id, 0x10_u8, Varint(SNAPSHOT_NANOS)));
        writer.close(clock);
    }
    writer.put((0x10_u8, REALTIME));
    writer.close(snapshot);
    writer.put(PACKET_DEFAULTS[0]);
    let defaults = writer.open(PACKET_DEFAULTS[1], 3);
    writer.put((TIMESTAMP_CLOCK_ID, REALTIME));
    writer.close(defaults);
    let interned = writer.open(INTERNED_DATA, 120);
    for (iid, name) in (1_u8..).zip(CATEGORIES) {
        let category = writer.open(0x0a, name.len() + 4);
        writer.put((0x08_u8, iid, 0x12_u8, Varint(name.len() as u64)));
        writer.put(name.as_bytes());
        writer.close(category);
    }
    writer.close(interned);
    writer.close(packet);
}

/// The kinds of spans, and that of their events.
const CATEGORIES: [&str; 7] = [
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
    "event",
];

/// The category of a kind of spans.
pub(super) fn category(kind: Kind) -> u8 {
    kind as u8 + 1
}

/// The category of events.
pub(super) const EVENT_CATEGORY: u8 = 7;
