//! Which thread recorded a tree: for formats that show threads.

use std::cell::Cell;

use crate::fork;
use crate::intern::{Symbol, passing_symbol};
use crate::wire::Text;

/// A thread of this or another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    id: u64,
    name: Symbol,
}

thread_local! {
    /// This thread, and the process that it was looked up in: a forked child's thread has another number.
    static CURRENT: Cell<(u32, Thread)> = const { Cell::new((0, Thread::UNKNOWN)) };
}

impl Thread {
    /// Nobody knows.
    pub const UNKNOWN: Self = Self {
        id: 0,
        name: Symbol::EMPTY,
    };

    /// A thread with the operating system's number `id`; 0: unknown. `name` may be empty.
    pub fn new(id: u64, name: &str) -> Self {
        let name = passing_symbol(name).unwrap_or(Symbol::EMPTY);
        Self { id, name }
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
    let thread = Thread { id: number(), name };
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

    #[cfg(target_os = "linux")]
    #[test]
    fn the_number_is_the_kernels() {
        let id = Thread::current().id();
        assert!(std::path::Path::new(&format!("/proc/self/task/{id}")).exists());
    }
}
