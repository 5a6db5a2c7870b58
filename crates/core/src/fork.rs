//! Which process is this? A word in memory that the kernel wipes on fork answers without a system call.
//!
//! No hook has to run for it, so a fork inside C code (uWSGI) or by a raw `clone` is seen as well. Where the kernel
//! cannot wipe pages, a `pthread_atfork` handler wipes the word.
#![allow(
    unsafe_code,
    reason = "a word that the kernel wipes, and values that are leaked; argued at each"
)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

mod lock;

pub(crate) use lock::{Guard, Lock};

/// The process's number in the line of forks that led to it: differs between a parent and its child.
///
/// One load; cheap enough for the start of every root span. Safe in a child of a process with many threads: takes no lock
/// and allocates nothing through the allocator.
#[inline]
pub fn generation() -> u32 {
    let word = WORD.load(Ordering::Acquire);
    if word.is_null() {
        return first_generation();
    }
    // SAFETY: `WORD` only ever points to a word that lives as long as the process (see `wiped_word`).
    match unsafe { &*word }.load(Ordering::Relaxed) {
        0 => next_generation(),
        generation => generation,
    }
}

/// A value that a forked child makes anew, because the parent's may be half changed or locked by a thread that did not
/// come along. The parent's copy is leaked there, never dropped.
pub(crate) struct PerProcess<T: 'static> {
    current: AtomicPtr<Owned<T>>,
    make: fn() -> T,
}

struct Owned<T> {
    generation: u32,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            make,
        }
    }

    /// This process's value, made on first use.
    #[inline]
    pub(crate) fn get(&self) -> &'static T {
        // SAFETY: `current` is null or a leaked box, which is only ever shared.
        match unsafe { self.current.load(Ordering::Acquire).as_ref() } {
            Some(owned) if owned.generation == generation() => &owned.value,
            _ => self.make_anew(),
        }
    }

    #[cold]
    fn make_anew(&self) -> &'static T {
        let generation = generation();
        let mut before = self.current.load(Ordering::Acquire);
        let value = (self.make)();
        let fresh = Box::into_raw(Box::new(Owned { generation, value }));
        loop {
            // SAFETY: as in `get`.
            if let Some(owned) = unsafe { before.as_ref() }
                && owned.generation == generation
            {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                return &owned.value;
            }
            let swapped =
                self.current
                    .compare_exchange(before, fresh, Ordering::AcqRel, Ordering::Acquire);
            match swapped {
                // SAFETY: as in `get`; it is leaked now.
                Ok(_) => return unsafe { &(*fresh).value },
                Err(theirs) => before = theirs,
            }
        }
    }
}

/// The word: zero after a fork, until somebody looks.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The last generation that was given out in this process or one before it; survives a fork.
static LAST: AtomicU32 = AtomicU32::new(0);

#[cold]
fn first_generation() -> u32 {
    let word = wiped_word();
    // Of two threads that come here at once one wins; the other's page is left alone.
    let _ = WORD.compare_exchange(ptr::null_mut(), word, Ordering::AcqRel, Ordering::Acquire);
    generation()
}

#[cold]
fn next_generation() -> u32 {
    let next = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    // SAFETY: as in `generation`; it was not null there and never becomes so.
    let word = unsafe { &*WORD.load(Ordering::Acquire) };
    // Of two threads that come here at once one wins; the other's number is skipped.
    match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(theirs) => theirs,
    }
}

/// A word that is zero now and after every fork, and is never freed.
fn wiped_word() -> *mut AtomicU32 {
    page_wiped_by_kernel().unwrap_or_else(word_wiped_by_handler)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn page_wiped_by_kernel() -> Option<*mut AtomicU32> {
    // SAFETY: no argument or result is unsound here; it asks for a number.
    let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    // SAFETY: a new private anonymous mapping at a place of the kernel's choice overlaps nothing.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            page_bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is exactly the mapping made above, which nobody else knows.
    if unsafe { libc::madvise(page, page_bytes, libc::MADV_WIPEONFORK) } == 0 {
        // A page is aligned for any word, and zero is a valid one.
        return Some(page.cast());
    }
    // SAFETY: as above; the kernel is older than 4.14 and the page is of no use.
    unsafe { libc::munmap(page, page_bytes) };
    None
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn page_wiped_by_kernel() -> Option<*mut AtomicU32> {
    None
}

/// Wiped by [`wipe`] where the kernel does not.
static FALLBACK: AtomicU32 = AtomicU32::new(0);

fn word_wiped_by_handler() -> *mut AtomicU32 {
    extern "C" fn wipe() {
        FALLBACK.store(0, Ordering::Relaxed);
    }
    // SAFETY: the handler is a function of this library that only stores to an atomic, which is allowed in a forked
    // child. Registered twice by racing threads it stores twice.
    unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
    (&raw const FALLBACK).cast_mut()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `child` answers in a forked process.
    pub(crate) fn in_child(child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child looks at a few words, allocates at most, and leaves by `_exit`.
        unsafe {
            match libc::fork() {
                0 => libc::_exit(i32::from(child())),
                pid => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1
                }
            }
        }
    }

    #[test]
    fn where_the_kernel_wipes_nothing_a_handler_does() {
        let word = word_wiped_by_handler();
        // SAFETY: it points to a static.
        let word = unsafe { &*word };
        word.store(7, Ordering::Relaxed);
        assert!(in_child(|| word.load(Ordering::Relaxed) == 0));
        assert_eq!(word.load(Ordering::Relaxed), 7, "the parent keeps its own");
    }

    #[test]
    fn threads_that_ask_first_at_the_same_time_agree() {
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(generation)).collect();
        let all = threads.into_iter().map(|thread| thread.join().unwrap());
        assert!(all.into_iter().all(|one| one == generation() && one != 0));
    }

    #[test]
    fn a_child_makes_its_own_value_and_the_parent_keeps_its_own() {
        static MADE: AtomicU32 = AtomicU32::new(0);
        static VALUE: PerProcess<u32> = PerProcess::new(|| MADE.fetch_add(1, Ordering::Relaxed));
        let (ours, place) = (*VALUE.get(), ptr::from_ref(VALUE.get()));
        assert_eq!((ours, *VALUE.get()), (0, 0), "made once");
        assert!(in_child(|| *VALUE.get() == 1 && *VALUE.get() == 1));
        assert_eq!(ptr::from_ref(VALUE.get()), place);
    }
}
