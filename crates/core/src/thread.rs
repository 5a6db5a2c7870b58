//! Which thread recorded a tree: for formats that show threads.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::fork;
use crate::intern::{Symbol, passing_symbol};
use crate::wire::Text;

/// A thread of this or another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    id: u64,
    name: Symbol,
    task: Symbol,
}

/// Names of tasks that are kept at most: what is made up for each request is no name that a row can have.
const MAX_TASK_NAMES: usize = 256;
static TASK_NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

thread_local! {
    /// This thread, and the process that it was looked up in: a forked child's thread has another number.
    static CURRENT: Cell<(u32, Thread)> = const { Cell::new((0, Thread::UNKNOWN)) };
}

impl Thread {
    /// Nobody knows.
    pub const UNKNOWN: Self = Self {
        id: 0,
        name: Symbol::EMPTY,
        task: Symbol::EMPTY,
    };

    /// A thread with the operating system's number `id`; 0: unknown. `name` may be empty.
    pub fn new(id: u64, name: &str) -> Self {
        let name = passing_symbol(name).unwrap_or(Symbol::EMPTY);
        Self {
            id,
            name,
            task: Symbol::EMPTY,
        }
    }

    /// The same thread while it runs the task of this name. The first 256 names of a process are told apart; tasks of others are
    /// nothing but their thread, and so are all in a child that was forked while another thread was here.
    #[must_use]
    pub fn of_task(self, name: &str) -> Self {
        let Ok(mut known) = TASK_NAMES.try_lock() else {
            return self;
        };
        if !known.contains(name) {
            if known.len() == MAX_TASK_NAMES {
                return self;
            }
            known.insert(name.to_owned());
        }
        let task = passing_symbol(name).unwrap_or(Symbol::EMPTY);
        Self { task, ..self }
    }

    /// The calling thread: a look at a thread-local after the first time.
    #[inline]
    pub fn current() -> Self {
        let (generation, thread) = CURRENT.get();
        if generation == fork::generation() {
            return thread;
        }
        look_up(thread.name)
    }

    /// Names the calling thread, for languages whose thread names the operating system does not know.
    pub fn name_current(name: &str) {
        look_up(passing_symbol(name).unwrap_or(Symbol::EMPTY));
    }

    /// The operating system's number; 0: unknown.
    #[inline]
    pub fn id(self) -> u64 {
        self.id
    }

    /// The name of the task that it ran, empty for none.
    pub fn task(self) -> Text<'static> {
        self.task.text()
    }

    /// Its name, empty for none.
    pub fn name(self) -> Text<'static> {
        self.name.text()
    }
}

#[cold]
fn look_up(known_name: Symbol) -> Thread {
    let thread = std::thread::current();
    let own_name = || passing_symbol(thread.name()?);
    let name = if known_name == Symbol::EMPTY {
        own_name().unwrap_or(Symbol::EMPTY)
    } else {
        known_name
    };
    let thread = Thread {
        id: number(),
        name,
        task: Symbol::EMPTY,
    };
    CURRENT.set((fork::generation(), thread));
    thread
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn number() -> u64 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
        .into()
}

/// Where the system's number is not to be had safely, threads are counted.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_number_and_its_name() {
        let here = Thread::current();
        assert_eq!(Thread::current(), here);
        let there = std::thread::Builder::new()
            .name("a worker".to_owned())
            .spawn(Thread::current)
            .unwrap();
        let there = there.join().unwrap();
        assert_ne!(there.id(), here.id());
        assert_eq!(there.name().as_str(), "a worker");
        let renamed = std::thread::spawn(|| {
            Thread::name_current("by hand");
            Thread::current()
        });
        assert_eq!(renamed.join().unwrap().name().as_str(), "by hand");
    }

    /// What is in the table stays there, so nothing else of this process's tests may ask for tasks.
    #[test]
    fn tasks_have_names_until_there_are_too_many() {
        let here = Thread::current();
        for number in 0..MAX_TASK_NAMES {
            let name = format!("task {number}");
            let task = here.of_task(&name);
            assert_eq!((task.task().as_str(), task.id()), (&*name, here.id()));
        }
        assert_eq!(here.of_task("one more"), here);
        assert_eq!(here.of_task("task 7").task().as_str(), "task 7");
        assert_eq!(Thread::current().task().as_str(), "");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_number_is_the_kernels() {
        let id = Thread::current().id();
        assert!(std::path::Path::new(&format!("/proc/self/task/{id}")).exists());
    }
}
