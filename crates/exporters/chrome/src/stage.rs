//! Where a span is shown: processes by their resource, and in each of them tracks, which viewers call threads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hiq_core::id::SpanId;
use hiq_core::resource::Resource;
use hiq_core::span::Span;
use hiq_core::tree::{ColumnSpec, SpanTree};
use hiq_core::value::ValueRef;
use hiq_core::wire::Writer;

use crate::arrows::{Arrows, Drawn};
use crate::json::object;
use crate::layout::Layout;
use crate::row::{Block, Part, Ties};

mod process;

pub(crate) use process::{Process, Track};

/// All processes and tracks that an encoder has met.
///
/// Spans of one thread stand on its track as long as they lie inside each other or apart. Tasks of one thread that
/// overlap, and trees of which nobody knows the thread, get further tracks.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    processes: Vec<Process>,
    /// Places in `processes` by what the resource says.
    by_resource: HashMap<Box<[u8]>, usize>,
    by_pid: HashMap<u32, usize>,
    recent: Vec<(Arc<Resource>, usize)>,
    layout: Layout,
    ties: Ties,
    /// The current tree, by its root, its first span and its length.
    entered: (SpanId, SpanId, usize),
    /// Its process and its tracks, by lane.
    process: usize,
    tracks: Vec<usize>,
    /// Its spans that lie in no other on their lane, by lane.
    lowest: Vec<(usize, u32)>,
    /// The same as parts of rows.
    parts: Vec<Part>,
    around: Vec<SpanId>,
    /// Number of the payload; what was announced in an earlier one is announced again.
    payload: u64,
    scratch: Vec<u8>,
    /// Numbers given to processes, tracks and counters.
    numbers: u32,
    arrows: Arrows,
    /// Spans of the current tree that are drawn elsewhere than their parents in it: parent and child, in order.
    elsewhere: Vec<(u32, u32)>,
    /// Those of them that there was no room for an arrow to.
    unjoined: HashSet<u32>,
}

/// Where the parent of a span is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// Not in this process, or not to be joined.
    None,
    /// Around the span, now or later.
    Around,
    /// Apart, in the same tree: it has begun an arrow.
    InTree,
    /// Apart, most likely, and later.
    InAnotherTree,
}

/// A child that is drawn apart from its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Child {
    /// It is going to be written.
    InTree(SpanId),
    /// It has been written.
    InAnotherTree(Drawn),
}

/// Resources whose place is found without looking into them.
const MAX_RECENT: usize = 16;
/// Processes that are told apart; more come only from a hostile file, and begin anew.
const MAX_PROCESSES: usize = 1 << 16;

/// What an extra metric is drawn as.
#[derive(Debug)]
struct Counter {
    metric: Arc<ColumnSpec>,
    number: u32,
    announced_in: u64,
}

/// Counters of a process; more come only from a hostile file, and begin anew.
const MAX_COUNTERS: usize = 256;

impl Child {
    pub(crate) fn id(self) -> SpanId {
        match self {
            Self::InTree(id) => id,
            Self::InAnotherTree(child) => child.id,
        }
    }
}

impl Stage {
    pub(crate) fn new(ties: Ties) -> Self {
        Self {
            ties,
            ..Self::default()
        }
    }

    /// Nothing has been announced in the next payload.
    pub(crate) fn begin_payload(&mut self) {
        self.payload += 1;
    }

    /// Finds the tracks of `tree`, and stays with them while it goes on in the next payload.
    pub(crate) fn enter(&mut self, tree: &SpanTree) {
        let Some(first) = tree.span(0) else {
            return;
        };
        let entered = (tree.root_id(), first.id(), tree.len());
        if std::mem::replace(&mut self.entered, entered) == entered {
            return;
        }
        self.process = self.process_of(tree.resource());
        self.layout.of(tree);
        self.find_parts(tree);
        self.find_tracks(tree);
        self.find_elsewhere(tree);
    }

    /// What of `tree` lies apart, by lane, then by time.
    fn find_parts(&mut self, tree: &SpanTree) {
        let layout = &self.layout;
        self.lowest.clear();
        let lowest = tree.spans().filter(|span| layout.is_lowest(*span));
        let places = lowest.map(|span| (layout.lane(span.index()), span.index()));
        self.lowest.extend(places);
        self.lowest.sort_unstable();
        let root = match tree.span(0) {
            // It left before its root, which is going to surround it.
            Some(first) if first.id() != tree.root_id() => tree.root_id(),
            _ => SpanId::INVALID,
        };
        self.parts.clear();
        let spans = self.lowest.iter();
        let spans = spans.filter_map(|(_, index)| tree.span(*index as usize));
        self.parts.extend(spans.map(|span| Part::of(span, root)));
    }

    fn find_tracks(&mut self, tree: &SpanTree) {
        let Self { layout, lowest, .. } = self;
        let process = &mut self.processes[self.process];
        self.tracks.clear();
        for lane in 0..layout.lanes() {
            let from = lowest.partition_point(|(own, _)| *own < lane);
            let to = lowest.partition_point(|(own, _)| *own <= lane);
            let block = Block {
                trace_id: tree.trace_id(),
                parts: &self.parts[from..to],
            };
            let on_lane = |span: &Span<'_>| layout.lane(span.index()) == lane;
            let mut suits = |track: &Track| {
                let spans = tree.spans().filter(on_lane);
                track.row.suits(block, self.ties, spans, &mut self.around)
            };
            let track = process.track_for(tree.thread(), &self.tracks, &mut suits);
            let track = track.unwrap_or_else(|| {
                self.numbers += 1;
                process.add_track(tree.thread(), self.numbers)
            });
            process.take(track, tree.thread(), block);
            self.tracks.push(track);
        }
    }

    fn find_elsewhere(&mut self, tree: &SpanTree) {
        let mut elsewhere = std::mem::take(&mut self.elsewhere);
        elsewhere.clear();
        self.unjoined.clear();
        // On a single row, all that have a parent in the tree lie in it.
        if self.layout.lanes() > 1 {
            let apart = tree
                .spans()
                .filter(|span| self.parent_around(*span).is_none());
            elsewhere.extend(apart.filter_map(|span| Some((span.parent_index()?, span.index()))));
            elsewhere.sort_unstable();
        }
        self.elsewhere = elsewhere;
    }

    /// Where the parent of `span`, which is being written on this lane, is drawn. A span whose parent is in another tree is noted.
    pub(crate) fn note_parent(&mut self, span: Span<'_>, lane: usize) -> Parent {
        self.arrows.turn_to_next();
        let parent = span.parent_id().filter(|parent| parent.is_valid());
        let Some(parent) = parent.filter(|_| !span.has_remote_parent()) else {
            return Parent::None;
        };
        if span.parent_index().is_some() {
            let has_no_arrow = || self.unjoined.contains(&span.index());
            return match self.parent_around(span) {
                Some(_) => Parent::Around,
                None if has_no_arrow() => Parent::None,
                None => Parent::InTree,
            };
        }
        // What left before the root will be surrounded by its parent.
        if span.tree().root_id() != self.entered.1 {
            return Parent::Around;
        }
        let track = self.track(lane);
        let drawn = Drawn {
            id: span.id(),
            start: span.start(),
            track: track.number,
            pid: self.process().pid,
            tid: track.tid,
        };
        self.arrows.add(parent, drawn);
        Parent::InAnotherTree
    }

    /// Calls `arrow` with those that `span`, which is being written on this lane, is the parent of without being drawn around them.
    /// What `arrow` says no to remains without.
    #[inline]
    pub(crate) fn take_children(
        &mut self,
        span: Span<'_>,
        lane: usize,
        mut arrow: impl FnMut(Child) -> bool,
    ) {
        if !self.elsewhere.is_empty() {
            let mut unjoined = std::mem::take(&mut self.unjoined);
            for child in self.children_in_tree(span) {
                if arrow(Child::InTree(child.id())) {
                    unjoined.remove(&child.index());
                } else {
                    unjoined.insert(child.index());
                }
            }
            self.unjoined = unjoined;
        }
        let track = self.track(lane).number;
        self.arrows.take(span.id(), |child| {
            let is_inside =
                child.track == track && (span.start() <= child.start && child.start <= span.end());
            if !is_inside {
                arrow(Child::InAnotherTree(child));
            }
        });
    }

    fn children_in_tree<'a>(&self, span: Span<'a>) -> impl Iterator<Item = Span<'a>> {
        let index = span.index();
        let first = self
            .elsewhere
            .partition_point(|(parent, _)| *parent < index);
        let own = self.elsewhere[first..].iter();
        own.take_while(move |(parent, _)| *parent == index)
            .filter_map(move |(_, child)| span.tree().span(*child as usize))
    }

    /// The last span has been taken back.
    pub(crate) fn undo_arrows(&mut self) {
        self.arrows.undo();
    }

    /// The process of the current tree.
    #[inline]
    pub(crate) fn process(&self) -> &Process {
        &self.processes[self.process]
    }

    /// The lane in its tree of the span at `index`.
    #[inline]
    pub(crate) fn lane(&self, index: u32) -> usize {
        self.layout.lane(index)
    }

    /// The parent of `span`, a span of the current tree, where that is drawn around it.
    #[inline]
    pub(crate) fn parent_around(&self, span: Span<'_>) -> Option<u32> {
        let index = span.parent_index()?;
        let parent = span.tree().span(index as usize)?;
        let is_around = self.lane(index) == self.lane(span.index())
            && parent.start() <= span.start()
            && span.end() <= parent.end();
        is_around.then_some(index)
    }

    /// The track of a lane of the current tree.
    #[inline]
    pub(crate) fn track(&self, lane: usize) -> &Track {
        &self.process().tracks[self.tracks[lane]]
    }

    /// Whether the current process has not been announced in this payload; it counts as announced from now on.
    #[inline]
    pub(crate) fn process_is_new(&mut self) -> bool {
        let process = &mut self.processes[self.process];
        std::mem::replace(&mut process.announced_in, self.payload) != self.payload
    }

    /// Whether the track of `lane` has not been announced in this payload; it counts as announced from now on.
    #[inline]
    pub(crate) fn track_is_new(&mut self, lane: usize) -> bool {
        let track = &mut self.processes[self.process].tracks[self.tracks[lane]];
        std::mem::replace(&mut track.announced_in, self.payload) != self.payload
    }

    /// The number of a metric's counter in the current process, and whether it has to be announced.
    pub(crate) fn counter(&mut self, metric: &Arc<ColumnSpec>) -> (u32, bool) {
        let counters = &mut self.processes[self.process].counters;
        let is_known =
            |known: &Counter| Arc::ptr_eq(&known.metric, metric) || known.metric == *metric;
        let place = counters.iter().position(is_known).unwrap_or_else(|| {
            if counters.len() == MAX_COUNTERS {
                counters.clear();
            }
            self.numbers += 1;
            counters.push(Counter {
                metric: Arc::clone(metric),
                number: self.numbers,
                announced_in: 0,
            });
            counters.len() - 1
        });
        let counter = &mut counters[place];
        let before = std::mem::replace(&mut counter.announced_in, self.payload);
        (counter.number, before != self.payload)
    }

    fn process_of(&mut self, resource: &Arc<Resource>) -> usize {
        let known = self
            .recent
            .iter()
            .find(|(known, _)| Arc::ptr_eq(known, resource));
        if let Some((_, process)) = known {
            return *process;
        }
        let process = self.find_process(resource);
        if self.recent.len() == MAX_RECENT {
            self.recent.remove(0);
        }
        self.recent.push((Arc::clone(resource), process));
        process
    }

    /// Two resources that say the same are one process: a file that was read back has many of them.
    fn find_process(&mut self, resource: &Resource) -> usize {
        self.scratch.clear();
        object(&mut Writer::new(&mut self.scratch), resource.attributes());
        if let Some(process) = self.by_resource.get(self.scratch.as_slice()) {
            return *process;
        }
        if self.processes.len() == MAX_PROCESSES {
            self.processes.clear();
            self.by_resource.clear();
            self.by_pid.clear();
            self.recent.clear();
        }
        let index = self.processes.len();
        let pid = self.free_pid(resource);
        self.by_pid.insert(pid, index);
        let content: Box<[u8]> = self.scratch.as_slice().into();
        self.by_resource.insert(content.clone(), index);
        self.numbers += 1;
        let name = resource.service_name().to_owned();
        self.processes
            .push(Process::new(pid, self.numbers, name, content));
        index
    }

    /// `process.pid`, unless another process has it: two hosts may give one number.
    fn free_pid(&self, resource: &Resource) -> u32 {
        let own = match resource.attribute("process.pid") {
            Some(ValueRef::Int(pid)) => u32::try_from(pid).ok(),
            _ => None,
        };
        let mut pid = own.unwrap_or(1).max(1);
        while self.by_pid.contains_key(&pid) {
            pid = pid.checked_add(1).unwrap_or(1);
        }
        pid
    }
}
