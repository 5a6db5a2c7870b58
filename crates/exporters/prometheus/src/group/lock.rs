//! Locks that belong to a process: the kernel gives them back when it ends, however, and a forked child has none of them.
//!
//! They know nothing of threads, and closing any descriptor of a file gives back the process's lock of it. So a process
//! [is in a folder](Presence) once, and opens no file twice that it has locked.
#![allow(unsafe_code, reason = "record locks of the kernel, argued at each")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hiq_core::fork;

/// Locks `file` for this process; false when another one has it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    let mut wish = whole_file(libc::F_WRLCK);
    match control(file, libc::F_SETLK, &mut wish) {
        Ok(()) => Ok(true),
        Err(error) if is_held(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks `file` for this process, waiting for others.
pub(super) fn lock(file: &File) -> io::Result<()> {
    loop {
        let mut wish = whole_file(libc::F_WRLCK);
        match control(file, libc::F_SETLKW, &mut wish) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// True when another process has locked `file`.
pub(super) fn is_locked_by_other(file: &File) -> io::Result<bool> {
    let mut found = whole_file(libc::F_WRLCK);
    control(file, libc::F_GETLK, &mut found)?;
    Ok(found.l_type != kind(libc::F_UNLCK))
}

fn is_held(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

fn whole_file(lock: libc::c_int) -> libc::flock {
    // SAFETY: a lock is plain numbers; zero means from the start to the end.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = kind(lock);
    whole
}

fn kind(lock: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(lock).unwrap_or_default()
}

fn control(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: a descriptor that is open, and a lock that lives meanwhile.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut *lock) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// That this process is in a folder, until it is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    folder: PathBuf,
    generation: u32,
}

/// Folders that this process is in, with the generation of the process.
static PRESENT: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

impl Presence {
    /// `None` when this process is there already.
    pub(super) fn in_folder(folder: &Path) -> Option<Self> {
        let generation = fork::generation();
        let mut present = present();
        // A forked child is nowhere yet.
        present.retain(|(known, _)| *known == generation);
        if present.iter().any(|(_, known)| known == folder) {
            return None;
        }
        present.push((generation, folder.to_owned()));
        Some(Self {
            folder: folder.to_owned(),
            generation,
        })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            present().retain(|(_, known)| *known != self.folder);
        }
    }
}

fn present() -> MutexGuard<'static, Vec<(u32, PathBuf)>> {
    PRESENT.lock().unwrap_or_else(PoisonError::into_inner)
}
