//! The global status: one byte in a mapped file per name and user, switched for all processes and read without a system call.
#![allow(unsafe_code, reason = "a shared mapping; each block is argued")]

use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};

use hiq_core::config::Env;
use pyo3::prelude::*;

use crate::gil::GilCell;

const UNSET: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// The byte of the name `hiq`; a byte of our own until a file is mapped.
static BYTE: AtomicPtr<AtomicU8> = AtomicPtr::new((&raw const NOBODY_HAS_SET_IT).cast_mut());
static NOBODY_HAS_SET_IT: AtomicU8 = AtomicU8::new(UNSET);
static OFF_BY_DEFAULT: AtomicBool = AtomicBool::new(false);

/// The name that declared functions obey.
const DEFAULT_NAME: &str = "hiq";

/// True when the global status says that nothing is to be traced: two loads.
#[inline(always)]
pub(crate) fn is_off() -> bool {
    // SAFETY: the pointer is to a static or to a mapping that is never undone.
    let byte = unsafe { &*BYTE.load(Ordering::Relaxed) }.load(Ordering::Relaxed);
    byte != ON && (byte == OFF || OFF_BY_DEFAULT.load(Ordering::Relaxed))
}

/// Follows the status from now on, in whichever process it is switched. `default_on` counts while nobody has set it.
pub(crate) fn follow(default_on: bool) {
    OFF_BY_DEFAULT.store(!default_on, Ordering::Relaxed);
    if ptr::eq(BYTE.load(Ordering::Relaxed), &raw const NOBODY_HAS_SET_IT)
        && let Some(mapped) = mapped(DEFAULT_NAME)
    {
        BYTE.store(mapped, Ordering::Relaxed);
    }
}

/// Mapped bytes by name.
static MAPPED: GilCell<Vec<(String, usize)>> = GilCell::new(Vec::new());

/// The byte of `name`; its file is made when there is none. `None` where it cannot be.
fn mapped(name: &str) -> Option<*mut AtomicU8> {
    let mut mapped = MAPPED.lock();
    if let Some((_, byte)) = mapped.iter().find(|(known, _)| known == name) {
        return Some(*byte as *mut AtomicU8);
    }
    let byte = map(&path(name))?;
    mapped.push((name.to_owned(), byte as usize));
    Some(byte)
}

/// `/dev/shm/hiq-status-1000-NAME`, else in the folder for temporary files; `HIQ_STATUS_DIR` names another folder, for
/// programs that shall have a switch of their own. The user's number keeps users apart.
fn path(name: &str) -> PathBuf {
    // SAFETY: asks for a number.
    let user = unsafe { libc::getuid() };
    let shared_memory = PathBuf::from("/dev/shm");
    let folder = match Env::process().text("HIQ_STATUS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None if shared_memory.is_dir() => shared_memory,
        None => std::env::temp_dir(),
    };
    let plain: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    folder.join(format!("hiq-status-{user}-{plain}"))
}

fn map(path: &PathBuf) -> Option<*mut AtomicU8> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .ok()?;
    let facts = file.metadata().ok()?;
    // SAFETY: asks for a number.
    if facts.uid() != unsafe { libc::getuid() } || !facts.is_file() {
        return None;
    }
    if facts.len() == 0 {
        // Lengthened, not written: another process may have done the same meanwhile and switched it.
        file.set_len(1).ok()?;
    }
    // SAFETY: a shared mapping of one page of a file of at least one byte, which nobody shortens; never undone.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            1,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    (page != libc::MAP_FAILED).then_some(page.cast())
}

fn load(name: &str) -> u8 {
    let exists = CString::new(path(name).as_os_str().as_encoded_bytes()).is_ok_and(|path| {
        // SAFETY: a valid path.
        unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
    });
    // Reading makes no file.
    let byte = exists.then(|| mapped(name)).flatten();
    // SAFETY: mappings are never undone.
    byte.map_or(UNSET, |byte| unsafe { &*byte }.load(Ordering::Relaxed))
}

#[pyfunction]
fn status_get(name: &str, default: bool) -> bool {
    match load(name) {
        ON => true,
        OFF => false,
        _ => default,
    }
}

#[pyfunction]
fn status_set(name: &str, on: bool) -> bool {
    let Some(byte) = mapped(name) else {
        return false;
    };
    // SAFETY: mappings are never undone.
    unsafe { &*byte }.store(if on { ON } else { OFF }, Ordering::Relaxed);
    if name == DEFAULT_NAME {
        BYTE.store(byte, Ordering::Relaxed);
    }
    true
}

/// Follows the global status; `default_on` counts while nobody has set it.
#[pyfunction]
fn status_follow(default_on: bool) {
    follow(default_on);
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(status_get, module)?)?;
    module.add_function(wrap_pyfunction!(status_set, module)?)?;
    module.add_function(wrap_pyfunction!(status_follow, module)?)
}
