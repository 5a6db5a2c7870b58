//! Where a span is shown: processes by their resource, and in each of them tracks, which viewers call threads.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use hiq_core::id::SpanId;
use hiq_core::resource::Resource;
use hiq_core::span::Span;
use hiq_core::thread::Thread;
use hiq_core::tree::{ColumnSpec, SpanTree};
use hiq_core::value::ValueRef;
use hiq_core::wire::Writer;

use crate::arrows::Arrows;
use crate::json::object;
use crate::layout::{Lane, Layout};

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
    /// The process and the tracks of the current tree, by lane.
    process: usize,
    tracks: Vec<usize>,
    /// Number of the payload; what was announced in an earlier one is announced again.
    payload: u64,
    scratch: Vec<u8>,
    /// Numbers given to processes, tracks and counters.
    numbers: u32,
    arrows: Arrows,
    /// Spans of the current tree that are drawn elsewhere than their parents in it: parent and child, in order.
    elsewhere: Vec<(u32, u32)>,
}

/// Resources whose place is found without looking into them.
const MAX_RECENT: usize = 16;
/// Processes that are told apart; more come only from a hostile file, and begin anew.
const MAX_PROCESSES: usize = 1 << 16;

/// A process of the trace.
#[derive(Debug)]
pub(crate) struct Process {
    /// The operating system's number, or one that no other process has.
    pub(crate) pid: u32,
    /// The service's name.
    pub(crate) name: String,
    /// The resource's attributes as a JSON object.
    pub(crate) resource: Box<[u8]>,
    /// What no other process, track or counter of the encoder has.
    pub(crate) number: u32,
    announced_in: u64,
    counters: Vec<Counter>,
    tracks: Vec<Track>,
    by_thread: HashMap<u64, Vec<usize>>,
    free_tid: u32,
}

/// A row of the viewer.
#[derive(Debug)]
pub(crate) struct Track {
    /// The thread's number, or one that no other track of the process has.
    pub(crate) tid: u32,
    /// What the viewer shows.
    pub(crate) name: String,
    /// The thread that it is of; 0: unknown.
    pub(crate) thread_id: u64,
    /// What no other process, track or counter of the encoder has.
    pub(crate) number: u32,
    announced_in: u64,
    taken: Vec<Taken>,
    /// Nothing may be placed before this time any more.
    floor: u64,
}

/// What an extra metric is drawn as.
#[derive(Debug)]
struct Counter {
    metric: Arc<ColumnSpec>,
    number: u32,
    announced_in: u64,
}

/// Counters of a process; more come only from a hostile file, and begin anew.
const MAX_COUNTERS: usize = 256;

/// A part of a track that has been given away.
#[derive(Clone, Copy, Debug)]
struct Taken {
    start: u64,
    end: u64,
    /// The root of the tree: what left it early stands where the root will surround it.
    owner: SpanId,
    /// The span of this process that it hangs under.
    parent: SpanId,
}

/// Parts that a track remembers one by one.
const MAX_TAKEN: usize = 64;

impl Stage {
    /// Nothing has been announced in the next payload.
    pub(crate) fn begin_payload(&mut self) {
        self.payload += 1;
    }

    /// Finds the tracks of `tree`.
    pub(crate) fn enter(&mut self, tree: &SpanTree) {
        self.process = self.process_of(tree.resource());
        self.layout.of(tree);
        self.tracks.clear();
        let process = &mut self.processes[self.process];
        let mut owner = tree.root_id();
        for (index, lane) in self.layout.lanes().iter().enumerate() {
            if index > 0 {
                let first = tree.span(lane.first as usize);
                owner = first.map_or(owner, |span| span.id());
            }
            let numbers = &mut self.numbers;
            let taken = Taken::new(tree, lane, owner);
            let fits_around = |old: &Taken| index == 0 && old.fits_into(tree, &self.layout);
            let track = process.place(tree.thread(), taken, &fits_around, (&self.tracks, numbers));
            self.tracks.push(track);
        }
        self.find_elsewhere(tree);
    }

    fn find_elsewhere(&mut self, tree: &SpanTree) {
        let mut elsewhere = std::mem::take(&mut self.elsewhere);
        elsewhere.clear();
        // On a single row, all that have a parent in the tree lie in it.
        if self.layout.lanes().len() > 1 {
            let apart = tree
                .spans()
                .filter(|span| self.parent_around(*span).is_none());
            elsewhere.extend(apart.filter_map(|span| Some((span.parent_index()?, span.index()))));
            elsewhere.sort_unstable();
        }
        self.elsewhere = elsewhere;
    }

    /// Notes that `span`, which is being written on this lane, may be the child of a span of another tree. True when its parent
    /// is one of this process that is not drawn around it.
    pub(crate) fn note_parent(&mut self, span: Span<'_>, lane: usize) -> bool {
        self.arrows.turn_to_next();
        let Some(parent) = self.parent_elsewhere(span) else {
            return false;
        };
        if span.parent_index().is_none() {
            let track = self.track(lane).number;
            self.arrows.add(parent, span.id(), track);
        }
        true
    }

    /// The parent of `span`, a span of the current tree, where it is one of this process that is not drawn around it.
    #[inline]
    fn parent_elsewhere(&self, span: Span<'_>) -> Option<SpanId> {
        let parent = span.parent_id().filter(|parent| parent.is_valid())?;
        let is_elsewhere = !span.has_remote_parent() && self.parent_around(span).is_none();
        is_elsewhere.then_some(parent)
    }

    /// Calls `arrow` with the ids of those that `span`, which is being written on this lane, is the parent of, on other tracks.
    #[inline]
    pub(crate) fn take_children(
        &mut self,
        span: Span<'_>,
        lane: usize,
        mut arrow: impl FnMut(SpanId),
    ) {
        let track = self.track(lane).number;
        if !self.elsewhere.is_empty() {
            let own = self.children_in_tree(span).filter(|child| {
                let lane = self.lane(child.index());
                self.track(lane).number != track
            });
            own.for_each(|child| arrow(child.id()));
        }
        self.arrows.take(span.id(), track, arrow);
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
        self.processes.push(Process {
            pid,
            number: self.numbers,
            counters: Vec::new(),
            name: resource.service_name().to_owned(),
            resource: content,
            announced_in: 0,
            tracks: Vec::new(),
            by_thread: HashMap::new(),
            free_tid: 1,
        });
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

impl Process {
    fn place(
        &mut self,
        thread: Thread,
        taken: Taken,
        fits_around: &dyn Fn(&Taken) -> bool,
        (used, numbers): (&[usize], &mut u32),
    ) -> usize {
        let candidates = self.by_thread.entry(thread.id()).or_default();
        let free = candidates
            .iter()
            .copied()
            // Slices of two lanes would end in each other's stead.
            .filter(|track| !used.contains(track))
            .find(|track| self.tracks[*track].takes(&taken, fits_around));
        let track = free.unwrap_or(self.tracks.len());
        if track == self.tracks.len() {
            candidates.push(track);
            let number_in_thread = candidates.len();
            *numbers += 1;
            self.tracks.push(Track {
                tid: 0,
                number: *numbers,
                name: String::new(),
                thread_id: thread.id(),
                announced_in: 0,
                taken: Vec::new(),
                floor: 0,
            });
            self.name(thread, number_in_thread);
        }
        self.tracks[track].take(taken);
        track
    }

    /// Names the last track, the `number`th of its thread.
    fn name(&mut self, thread: Thread, number: usize) {
        let wanted = u32::try_from(thread.id())
            .ok()
            .filter(|tid| *tid > 0 && number == 1);
        let tid = wanted.unwrap_or_else(|| {
            while self.tracks.iter().any(|track| track.tid == self.free_tid) {
                self.free_tid += 1;
            }
            self.free_tid
        });
        let mut name = match (thread.id(), thread.name().as_str()) {
            (0, "") => "track".to_owned(),
            (id, "") => format!("thread {id}"),
            (_, name) => name.to_owned(),
        };
        if number > 1 {
            let _ = write!(name, " ({number})");
        }
        if let Some(track) = self.tracks.last_mut() {
            track.tid = tid;
            track.name = name;
        }
    }
}

impl Track {
    /// True for the thread's own track, false for a further row.
    pub(crate) fn is_thread(&self) -> bool {
        self.thread_id > 0 && u64::from(self.tid) == self.thread_id
    }

    /// Whether `new` overlaps nothing but parts of its own tree, and what hangs under it and fits.
    fn takes(&self, new: &Taken, fits_around: &dyn Fn(&Taken) -> bool) -> bool {
        let is_apart = |old: &Taken| old.end <= new.start || new.end <= old.start;
        let mut newest_first = self.taken.iter().rev();
        let of_same_tree = self.taken.iter().any(|old| old.owner == new.owner);
        (of_same_tree || new.start >= self.floor)
            && newest_first.all(|old| old.owner == new.owner || is_apart(old) || fits_around(old))
    }

    fn take(&mut self, new: Taken) {
        // What `new` surrounds is part of it from now on.
        let is_inside = |old: &Taken| new.start <= old.start && old.end <= new.end;
        self.taken
            .retain(|old| old.owner == new.owner || !is_inside(old) || old.end <= new.start);
        let same_tree = |old: &&mut Taken| old.owner == new.owner;
        if let Some(old) = self.taken.iter_mut().find(same_tree) {
            old.start = old.start.min(new.start);
            old.end = old.end.max(new.end);
            return;
        }
        if self.taken.len() == MAX_TAKEN {
            let oldest = self.taken.remove(0);
            self.floor = self.floor.max(oldest.end);
        }
        self.taken.push(new);
    }
}

impl Taken {
    fn new(tree: &SpanTree, lane: &Lane, owner: SpanId) -> Self {
        let root = tree.span(lane.first as usize);
        let parent = root.filter(|root| root.parent_index().is_none() && !root.has_remote_parent());
        Self {
            start: lane.start,
            end: lane.end,
            owner,
            parent: parent
                .and_then(|root| root.parent_id())
                .unwrap_or(SpanId::INVALID),
        }
    }

    /// Whether it hangs under a span of `tree`, and every span of the tree's first lane is apart from it or around it: then
    /// viewers draw it where it belongs.
    fn fits_into(&self, tree: &SpanTree, layout: &Layout) -> bool {
        let on_first_lane = || tree.spans().filter(|span| layout.lane(span.index()) == 0);
        self.parent.is_valid()
            && on_first_lane().any(|span| span.id() == self.parent)
            && on_first_lane().all(|span| {
                let (start, end) = (span.start().0, span.end().0);
                let is_apart = end <= self.start || self.end <= start;
                is_apart || (start <= self.start && self.end <= end)
            })
    }
}
