//! The folder of a group: one a user, service and address.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use hiq_core::config::ConfigError;
use hiq_core::resource::Resource;
use hiq_core::value::ValueRef;

use super::lock;
use super::slot::{Found, Slot};
use crate::scrape_config::ScrapeSettings;

#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// An error about `path`.
pub(super) fn trouble(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::new(
        "HIQ_METRIC_DIR",
        format!("{}: {error}", path.display()),
        "name a folder of this user's on this machine",
    )
}

impl Folder {
    /// The folder of the processes that answer for `resource` at the address of `settings`, made if need be.
    pub(super) fn open(
        settings: &ScrapeSettings,
        resource: &Resource,
    ) -> Result<Self, ConfigError> {
        let user = rustix::process::geteuid().as_raw();
        let users = settings.group_dir.join(format!("hiq-metrics-{user}"));
        let path = users.join(folder_name(settings, resource));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| trouble(&path, &error))?;
        for folder in [&users, &path] {
            check_safe(folder, user).map_err(|error| trouble(folder, &error))?;
        }
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn slot(&self, number: usize) -> PathBuf {
        self.path.join(format!("slot-{number:03}"))
    }

    /// All slots that are in use, or were.
    pub(super) fn slots(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let is_slot = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"slot-");
        let slots = entries
            .flatten()
            .filter(|entry| is_slot(&entry.file_name()));
        slots.map(|entry| entry.path()).collect()
    }

    pub(super) fn base(&self) -> PathBuf {
        self.path.join("base")
    }

    /// Waits for others that join or leave.
    pub(super) fn lock_for_joining(&self) -> Result<File, ConfigError> {
        let path = self.path.join("join");
        let lock = open_lock(&path).and_then(|file| lock::lock(&file).map(|()| file));
        lock.map_err(|error| trouble(&path, &error))
    }

    /// The lock of the process that holds the port; `None` while another one has it.
    pub(super) fn lock_as_owner(&self) -> Result<Option<File>, ConfigError> {
        let path = self.path.join("owner");
        let file = open_lock(&path).map_err(|error| trouble(&path, &error))?;
        let locked = lock::try_lock(&file).map_err(|error| trouble(&path, &error))?;
        Ok(locked.then_some(file))
    }

    /// What a group that has ended left behind is no business of the next one. The lock for joining must be held.
    pub(super) fn begin_anew_if_nobody_lives(&self) -> Result<(), ConfigError> {
        let found: Vec<_> = self.slots().iter().map(|path| Found::read(path)).collect();
        let anybody_lives = found.iter().flatten().any(|found| !found.is_dead);
        if anybody_lives || self.lock_as_owner()?.is_none() {
            return Ok(());
        }
        for path in self.slots().into_iter().chain([self.base()]) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(trouble(&path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The process of `slot` ends. What it counted stays for the next scrape, unless it was the last.
    pub(super) fn leave(&self, slot: &Slot) {
        let Ok(_one_at_a_time) = self.lock_for_joining() else {
            return;
        };
        let others = self.slots().into_iter().filter(|path| path != slot.path());
        let lives = |path: PathBuf| Found::read(&path).is_some_and(|found| !found.is_dead);
        if !others.into_iter().any(lives) {
            for path in self.slots().into_iter().chain([self.base()]) {
                // Whoever joins next removes it.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// Refuses folders that others own or can write to: they could put counts in, or read ours.
fn check_safe(path: &Path, user: u32) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    let problem = if !found.is_dir() {
        "it is no folder"
    } else if found.uid() != user {
        "it belongs to somebody else"
    } else if found.mode() & 0o077 != 0 {
        "others may look into it"
    } else {
        return Ok(());
    };
    Err(io::Error::other(problem))
}

/// Letters, digits, `.` and `-` as they are, the rest as `_XX`.
fn folder_name(settings: &ScrapeSettings, resource: &Resource) -> String {
    let namespace = match resource.attribute("service.namespace") {
        Some(ValueRef::Text(namespace)) => namespace.as_str(),
        _ => "",
    };
    let alone = match settings.port {
        // Any port will do: nobody else is meant.
        0 => format!("-{}", std::process::id()),
        _ => String::new(),
    };
    let (service, host, port) = (resource.service_name(), &settings.host, settings.port);
    let name = format!("{namespace}-{service}-{host}-{port}{alone}");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let escaped = name.bytes().map(|byte| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("_{byte:02X}")
        }
    });
    let name: String = escaped.collect();
    // The longest that a file's name may be; the end tells addresses apart.
    let start = name.len().saturating_sub(200);
    name[start..].to_owned()
}
