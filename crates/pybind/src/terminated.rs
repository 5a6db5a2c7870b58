//! A process that is told to end by SIGTERM (a service by its supervisor, a child by `Pool.terminate`) ends a moment later: what it has
//! finished leaves first.
//!
//! Python itself does nothing on SIGTERM: the kernel ends the process. Here a handler of ours wakes a native thread, which
//! ends the pipeline in at most [`LONGEST`] and then has the kernel do what it would have done. The traced program goes on
//! running meanwhile, in C code or not, as if the signal had come later. A handler that the program sets takes the place of
//! ours; one that it has set before is left alone. Servers that have ended in order put the default back and raise the signal
//! again: with the default ours is back as well. The thread is started with the first finished tree.
#![allow(
    unsafe_code,
    reason = "a signal handler, a semaphore and the calls of signals, each argued"
)]

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// What `signal.signal` calls, as it was.
static SET_HANDLER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Has this process send what it has finished before SIGTERM ends it. On Linux; elsewhere nothing changes.
#[pyfunction]
#[pyo3(pass_module)]
fn send_before_termination(module: &Bound<'_, PyModule>) -> PyResult<()> {
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    let py = module.py();
    let signals = py.import("_signal")?;
    SET_HANDLER.get_or_try_init(py, || {
        let original = signals.getattr("signal")?.unbind();
        signals.setattr("signal", module.getattr("signal")?)?;
        Ok::<_, PyErr>(original)
    })?;
    arm();
    Ok(())
}

/// Sets a handler as `_signal.signal` does, and has ours stand where the default one would.
#[pyfunction]
#[pyo3(signature = (signalnum, handler, /))]
fn signal<'py>(
    py: Python<'py>,
    signalnum: &Bound<'py, PyAny>,
    handler: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let original = SET_HANDLER.get(py).ok_or_else(|| {
        pyo3::exceptions::PyRuntimeError::new_err("hiq has not taken the place of _signal.signal")
    })?;
    let before = original.bind(py).call1((signalnum, handler))?;
    arm();
    Ok(before)
}

fn arm() {
    #[cfg(target_os = "linux")]
    linux::arm();
}

/// Starts what waits for the signal, if this process is one that shall. Called with each worker of the pipeline.
pub(crate) fn watch() {
    #[cfg(target_os = "linux")]
    linux::watch();
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(signal, module)?)?;
    module.add_function(wrap_pyfunction!(send_before_termination, module)?)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::UnsafeCell;
    use std::mem::MaybeUninit;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::time::Duration;

    use crate::{exporting, runtime};

    /// How much later the process ends at most.
    const LONGEST: Duration = Duration::from_secs(1);

    struct Semaphore(UnsafeCell<MaybeUninit<libc::sem_t>>);

    // SAFETY: a semaphore is made for use by several threads; it is made before anybody else knows of it (`ARMED`).
    unsafe impl Sync for Semaphore {}

    static TOLD: Semaphore = Semaphore(UnsafeCell::new(MaybeUninit::uninit()));
    /// The process whose handler is ours; a forked child is another.
    static ARMED: AtomicI32 = AtomicI32::new(0);
    /// The process whose thread waits.
    static WATCHED: AtomicI32 = AtomicI32::new(0);

    impl Semaphore {
        fn ptr(&self) -> *mut libc::sem_t {
            self.0.get().cast()
        }
    }

    pub(super) fn arm() {
        let this = this_process();
        // The first process of a container is not ended by a signal that it does not handle.
        if this == 1 {
            return;
        }
        if ARMED.load(Ordering::Acquire) == this {
            handle_instead_of_default();
            return;
        }
        // SAFETY: nobody of this process waits for the semaphore or posts it before `ARMED` names the process; in a forked
        // child the parent's threads do not exist.
        let is_made = unsafe { libc::sem_init(TOLD.ptr(), 0, 0) == 0 };
        if is_made && handle_instead_of_default() {
            ARMED.store(this, Ordering::Release);
        }
    }

    pub(super) fn watch() {
        let this = this_process();
        let is_ours = ARMED.load(Ordering::Acquire) == this;
        if !is_ours || WATCHED.swap(this, Ordering::AcqRel) == this {
            return;
        }
        let thread = std::thread::Builder::new()
            .name("hiq-terminated".to_owned())
            .spawn(wait_and_end);
        if thread.is_err() {
            // Nobody waits: the handler ends the process at once.
            WATCHED.store(0, Ordering::Release);
        }
    }

    fn wait_and_end() {
        block_all_signals();
        // SAFETY: made by `arm`, and never destroyed.
        while unsafe { libc::sem_wait(TOLD.ptr()) } != 0 {}
        exporting::end_without_python(LONGEST.min(runtime::shutdown_timeout()));
        end_by_default();
        // SAFETY: to this process itself; a thread of the program takes it, since this one takes none.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    }

    /// Sets the handler where the kernel's own way of ending the process is in force.
    fn handle_instead_of_default() -> bool {
        // SAFETY: plain structures, filled by the calls; the handler does only what handlers may.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGTERM, std::ptr::null(), &raw mut before);
            // In a child of a child it is ours already.
            if before.sa_sigaction != libc::SIG_DFL && before.sa_sigaction != handler() {
                return false;
            }
            let mut ours: libc::sigaction = std::mem::zeroed();
            ours.sa_sigaction = handler();
            ours.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut ours.sa_mask);
            libc::sigaction(libc::SIGTERM, &raw const ours, std::ptr::null_mut()) == 0
        }
    }

    fn handler() -> libc::sighandler_t {
        on_termination as extern "C" fn(libc::c_int) as libc::sighandler_t
    }

    /// Runs between any two instructions: it calls nothing but what a handler may call, and leaves `errno` alone.
    extern "C" fn on_termination(_signal: libc::c_int) {
        // SAFETY: all of these are safe in a handler; `errno` is this thread's own.
        unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            if WATCHED.load(Ordering::Acquire) == this_process() {
                libc::sem_post(TOLD.ptr());
            } else {
                // Nothing has been recorded here, or it is a child that was forked past Python.
                end_by_default();
                libc::raise(libc::SIGTERM);
            }
            *errno = before;
        }
    }

    fn end_by_default() {
        // SAFETY: it sets the kernel's own handler.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    }

    fn block_all_signals() {
        // SAFETY: a signal set is plain bits, which `sigfillset` writes.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
    }

    fn this_process() -> i32 {
        // SAFETY: it only answers.
        unsafe { libc::getpid() }
    }
}
