//! Two calls of the operating system that the standard library does not offer.
#![allow(unsafe_code, reason = "system calls, argued at each")]

use std::io;
use std::thread::JoinHandle;

/// Writes `line` to standard error with one `write`, past every lock: another thread may have held one when this
/// process was forked. What does not fit (a full pipe) is lost.
pub(crate) fn write_to_stderr(line: &[u8]) {
    // SAFETY: pointer and length are of one live slice; the descriptor need not be open.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

/// Starts a thread that takes no signals: they belong to the traced program's own threads.
pub(crate) fn spawn_without_signals(
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let before = block_signals();
    let thread = std::thread::Builder::new().name(name).spawn(run);
    restore_signals(&before);
    thread
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: a signal set is plain bits, and `sigfillset` and `pthread_sigmask` write valid ones.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set was filled in by `block_signals` on this thread.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}
