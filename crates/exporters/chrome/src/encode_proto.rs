//! Spans to a Perfetto trace, in one pass, straight from the trees.

use std::ptr;

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Page, Verdict, fill};
use hiq_core::id::SpanId;
use hiq_core::span::Span;
use hiq_core::time::UnixNanos;
use hiq_core::transport::Reply;
use hiq_core::tree::SpanTree;
use hiq_core::wire::Writer;

use crate::counter::is_counter;
use crate::judge::JUDGE;
use crate::row::Ties;
use crate::stage::{Parent, Stage};

mod annotation;
mod packet;
mod span;
mod track;

use annotation::Names;
use packet::{Packets, begin_sequence, flow};
use span::{begin_span, end_span, write_instants};
use track::{announce_process, announce_track, write_counters, write_samples};

/// Perfetto's protobuf: packets that may follow those of any other payload, in one file.
///
/// Times are Unix nanoseconds, exactly. A payload begins its packets' sequence anew: it interns names and describes
/// tracks itself.
#[derive(Debug)]
pub struct PerfettoEncoder {
    stage: Stage,
    names: Names,
    packets: Packets,
    open: OpenSlices,
}

impl Default for PerfettoEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl PerfettoEncoder {
    /// An encoder whose packets are a sequence of their own, told apart from those of other processes by a random number.
    pub fn new() -> Self {
        Self {
            stage: Stage::new(Ties::ByOrder),
            names: Names::default(),
            packets: Packets::new(SpanId::next()),
            open: OpenSlices::default(),
        }
    }
}

impl Encoder<TreeBatch> for PerfettoEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("perfetto", "application/x-protobuf")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.open.clear();
        fill(cursor, limits, &mut Trace::new(self, limits, out))
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

/// Slices that have begun, by lane of their tree: Perfetto ends them by packets of their own, inner ones first.
#[derive(Debug, Default)]
struct OpenSlices {
    lanes: Vec<Vec<OpenSlice>>,
    count: usize,
    /// What the last span has ended, the inner ones first.
    ended: Vec<(usize, OpenSlice)>,
}

#[derive(Clone, Copy, Debug)]
struct OpenSlice {
    track: u64,
    end: UnixNanos,
    index: u32,
}

impl OpenSlices {
    fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.clear();
        }
        self.count = 0;
        self.ended.clear();
    }

    fn push(&mut self, lane: usize, slice: OpenSlice) {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Vec::new);
        }
        self.lanes[lane].push(slice);
        self.count += 1;
    }

    /// Ends what lies above `parent` on `lane`.
    fn end_down_to(&mut self, lane: usize, parent: Option<u32>, mut end: impl FnMut(OpenSlice)) {
        let Some(slices) = self.lanes.get_mut(lane) else {
            return;
        };
        while let Some(top) = slices.last().copied()
            && Some(top.index) != parent
        {
            slices.pop();
            self.count -= 1;
            self.ended.push((lane, top));
            end(top);
        }
    }

    fn end_all(&mut self, mut end: impl FnMut(OpenSlice)) {
        for lane in 0..self.lanes.len() {
            self.end_down_to(lane, None, &mut end);
        }
    }

    /// Takes the last span back, the topmost of `lane`, and begins again what it has ended.
    fn undo(&mut self, lane: usize) {
        self.lanes[lane].pop();
        self.count -= 1;
        while let Some((lane, slice)) = self.ended.pop() {
            self.push(lane, slice);
        }
    }
}

/// One payload that is being written.
#[derive(Debug)]
struct Trace<'a, 'e> {
    out: &'e mut Vec<u8>,
    encoder: &'e mut PerfettoEncoder,
    max_bytes: usize,
    start: usize,
    tree: Option<&'a SpanTree>,
    /// The first span of the tree in this payload.
    first_of_tree: u32,
    before: usize,
    last_lane: usize,
}

impl<'a> Page<'a> for Trace<'a, '_> {
    fn push(&mut self, span: Span<'a>) -> bool {
        self.before = self.out.len();
        self.encoder.open.ended.clear();
        if self.out.len() == self.start {
            self.begin();
        }
        let tree = span.tree();
        if !self.tree.is_some_and(|last| ptr::eq(last, tree)) {
            self.end_all();
            self.encoder.stage.enter(tree);
            self.tree = Some(tree);
            self.first_of_tree = span.index();
        }
        self.write(span);
        true
    }

    fn fits(&self, max_bytes: usize) -> bool {
        let ends = self.encoder.open.count * packet::MAX_END_BYTES;
        self.out.len() - self.start + ends <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before);
        self.encoder.open.undo(self.last_lane);
        self.encoder.stage.undo_arrows();
        self.tree = None;
        // What was announced together with the span has gone with it.
        self.encoder.stage.begin_payload();
    }

    fn finish(&mut self) {
        self.end_all();
    }
}

impl<'a, 'e> Trace<'a, 'e> {
    fn new(encoder: &'e mut PerfettoEncoder, limits: &Limits, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            encoder,
            max_bytes: limits.max_bytes,
            start,
            tree: None,
            first_of_tree: 0,
            before: start,
            last_lane: 0,
        }
    }

    fn begin(&mut self) {
        let encoder = &mut *self.encoder;
        encoder.stage.begin_payload();
        encoder.names.begin_payload();
        let mut writer = Writer::new(self.out);
        begin_sequence(&mut writer, encoder.packets);
    }

    fn end_all(&mut self) {
        let PerfettoEncoder { open, packets, .. } = &mut *self.encoder;
        let mut writer = Writer::new(self.out);
        open.end_all(|slice| packets.end(&mut writer, slice.track, slice.end));
    }

    fn write(&mut self, span: Span<'a>) {
        let encoder = &mut *self.encoder;
        let lane = encoder.stage.lane(span.index());
        let mut writer = Writer::new(self.out);
        let packets = encoder.packets;
        if encoder.stage.process_is_new() {
            announce_process(&mut writer, packets, encoder.stage.process());
        }
        if encoder.stage.track_is_new(lane) {
            let (process, track) = (encoder.stage.process(), encoder.stage.track(lane));
            announce_track(&mut writer, packets, process, track);
        }
        let parent = encoder.stage.parent_around(span);
        let parent = parent.filter(|parent| *parent >= self.first_of_tree);
        encoder.open.end_down_to(lane, parent, |slice| {
            packets.end(&mut writer, slice.track, slice.end);
        });
        let track = packets.uuid(encoder.stage.track(lane).number);
        let names = &mut encoder.names;
        let open = begin_span(&mut writer, packets, names, span, track);
        let parent_is = encoder.stage.note_parent(span, lane);
        if matches!(parent_is, Parent::InTree | Parent::InAnotherTree) {
            flow(&mut writer, span.id());
        }
        // A span whose arrows do not fit moves to the next payload; if even that is too small, some of them are left out.
        let full = if self.before == self.start {
            self.start + self.max_bytes / 2
        } else {
            usize::MAX
        };
        encoder.stage.take_children(span, lane, |child| {
            let has_room = writer.position() < full;
            if has_room {
                flow(&mut writer, child.id());
            }
            has_room
        });
        end_span(&mut writer, names, span, parent.is_some(), open);
        write_instants(&mut writer, packets, names, span, track);
        // The instants above are what is read back.
        for event in span.events().filter(|event| is_counter(*event)) {
            write_counters(&mut writer, packets, &mut encoder.stage, event);
        }
        if !span.tree().columns().is_empty() {
            write_samples(&mut writer, packets, &mut encoder.stage, span);
        }
        let slice = OpenSlice {
            track,
            end: span.end(),
            index: span.index(),
        };
        encoder.open.push(lane, slice);
        self.last_lane = lane;
    }
}
