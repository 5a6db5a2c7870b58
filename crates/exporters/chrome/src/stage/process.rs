//! A process as viewers show it: its tracks, by thread.

use std::collections::HashMap;
use std::fmt::Write as _;

use hiq_core::thread::Thread;

use super::Counter;
use crate::row::{Block, Row, Suits};

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
    pub(super) announced_in: u64,
    pub(super) counters: Vec<Counter>,
    pub(super) tracks: Vec<Track>,
    /// By the thread's number and the task's name.
    by_thread: HashMap<(u64, &'static str), Vec<usize>>,
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
    /// True for a row of tasks of one name.
    pub(crate) is_task: bool,
    /// What no other process, track or counter of the encoder has.
    pub(crate) number: u32,
    pub(super) announced_in: u64,
    pub(super) row: Row,
}

impl Process {
    pub(super) fn new(pid: u32, number: u32, name: String, resource: Box<[u8]>) -> Self {
        Self {
            pid,
            name,
            resource,
            number,
            announced_in: 0,
            counters: Vec::new(),
            tracks: Vec::new(),
            by_thread: HashMap::new(),
            free_tid: 1,
        }
    }

    /// The track of `thread` that suits best, of equal ones the first; none of those that are `used` by other lanes of one tree,
    /// whose slices would end in each other's stead.
    pub(super) fn track_for(
        &self,
        thread: Thread,
        used: &[usize],
        suits: &mut dyn FnMut(&Track) -> Suits,
    ) -> Option<usize> {
        let mut best = (Suits::Not, None);
        let of_thread = self.by_thread.get(&key(thread)).into_iter().flatten();
        for track in of_thread.filter(|track| !used.contains(track)) {
            let suits = suits(&self.tracks[*track]);
            if suits > best.0 {
                best = (suits, Some(*track));
            }
            if suits == Suits::Kin {
                break;
            }
        }
        best.1
    }

    pub(super) fn add_track(&mut self, thread: Thread, number: u32) -> usize {
        let of_thread = self.by_thread.entry(key(thread)).or_default();
        of_thread.push(self.tracks.len());
        let number_in_thread = of_thread.len();
        self.tracks.push(Track {
            tid: 0,
            number,
            name: String::new(),
            thread_id: thread.id(),
            is_task: !thread.task().is_empty(),
            announced_in: 0,
            row: Row::default(),
        });
        self.name(thread, number_in_thread);
        self.tracks.len() - 1
    }

    pub(super) fn take(&mut self, track: usize, thread: Thread, block: Block<'_>) {
        self.tracks[track].row.take(block);
        for other in self.by_thread.get(&key(thread)).into_iter().flatten() {
            self.tracks[*other].row.greet(block);
        }
    }

    /// Names the last track, the `number`th of its thread.
    fn name(&mut self, thread: Thread, number: usize) {
        let wanted = u32::try_from(thread.id())
            .ok()
            .filter(|tid| *tid > 0 && number == 1 && thread.task().is_empty());
        let tid = wanted.unwrap_or_else(|| {
            while self.tracks.iter().any(|track| track.tid == self.free_tid) {
                self.free_tid += 1;
            }
            self.free_tid
        });
        let task = thread.task().as_str();
        let mut name = match (thread.id(), thread.name().as_str()) {
            _ if !task.is_empty() => task.to_owned(),
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

fn key(thread: Thread) -> (u64, &'static str) {
    (thread.id(), thread.task().as_str())
}

impl Track {
    /// True for the thread's own track, false for a further row.
    pub(crate) fn is_thread(&self) -> bool {
        self.thread_id > 0 && u64::from(self.tid) == self.thread_id
    }
}
