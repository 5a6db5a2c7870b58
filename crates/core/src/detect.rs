//! Who produces the spans: service, process, host and container, by OpenTelemetry's semantic conventions.
//!
//! | attribute | from |
//! |---|---|
//! | `service.name` | code, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, else `unknown_service:` and the executable |
//! | `service.instance.id` | a random UUID for each process, also for a forked one |
//! | `process.pid`, `process.executable.name`, `process.executable.path` | the operating system |
//! | `process.command` | the first word of the command line; arguments may hold secrets |
//! | `host.name`, `host.arch`, `os.type` | the operating system and the build |
//! | `container.id` | the process's control group or mounts, see [`container_id`] |
//! | `telemetry.sdk.name`, `.language`, `.version` | `hiq`, `rust` and this crate's version |
//!
//! What a language knows of itself (`process.runtime.*`, `telemetry.sdk.language`) is given by the caller. Attributes of
//! process, host, operating system and container are left out where [`Detectors`] do not include theirs.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::config::ResourceSettings;
use crate::fork::PerProcess;
use crate::resource::Resource;
use crate::time::Clock;
use crate::value::Value;

mod container;
mod detectors;

pub use container::container_id;
pub use detectors::{Detector, Detectors};

/// The resource of this process: what is detected, then `settings` from the environment, then `own` from code; of
/// equal keys the later one counts.
///
/// Call it once a process, and again after a fork: process and instance differ then.
///
/// ```
/// use hiq_core::config::ResourceSettings;
/// use hiq_core::value::Value;
///
/// let own = [("service.name".to_owned(), Value::from("shop"))];
/// let resource = hiq_core::detect::resource(&ResourceSettings::default(), own);
/// assert_eq!(resource.service_name(), "shop");
/// ```
pub fn resource(
    settings: &ResourceSettings,
    own: impl IntoIterator<Item = (String, Value)>,
) -> Resource {
    resource_on(&Machine::here(), settings, own)
}

/// As [`resource`], with the files of `machine`.
pub fn resource_on(
    machine: &Machine,
    settings: &ResourceSettings,
    own: impl IntoIterator<Item = (String, Value)>,
) -> Resource {
    let mut attributes = vec![(SERVICE_NAME.to_owned(), fallback_name(machine))];
    attributes.extend(detected(machine, settings.detectors));
    let from_env = settings.attributes.iter();
    attributes.extend(from_env.map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
    let service_name = settings.service_name.as_deref().map(Value::from);
    attributes.extend(service_name.map(|name| (SERVICE_NAME.to_owned(), name)));
    attributes.extend(own);
    // An empty name would group this service with every other that forgot its own.
    attributes.retain(|(key, value)| key != SERVICE_NAME || *value != Value::from(""));
    Resource::new(attributes)
}

const SERVICE_NAME: &str = "service.name";

/// Where the operating system's files are: `/`, or a folder in tests.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        Self::with_files_in("/")
    }

    /// A machine whose files are found below `root`.
    pub fn with_files_in(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The text of a file of `/proc`, at most 1 MiB of it; `None` when it cannot be read.
    fn read(&self, path: &str) -> Option<String> {
        const MAX_BYTES: u64 = 1 << 20;
        let mut bytes = Vec::new();
        let file = File::open(self.root.join(path)).ok()?;
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn executable(&self) -> Option<PathBuf> {
        let link = std::fs::read_link(self.root.join("proc/self/exe")).ok();
        link.or_else(|| std::env::current_exe().ok())
    }

    /// `argv[0]`: what was typed, which for a script differs from the executable.
    fn command(&self) -> Option<String> {
        let line = self.read("proc/self/cmdline");
        let first = line.and_then(|line| Some(line.split('\0').next()?.to_owned()));
        let given = || {
            std::env::args_os()
                .next()
                .map(|word| word.to_string_lossy().into_owned())
        };
        first.or_else(given).filter(|command| !command.is_empty())
    }

    fn host_name(&self) -> Option<String> {
        let name = self.read("proc/sys/kernel/hostname").unwrap_or_else(|| {
            let system = rustix::system::uname();
            system.nodename().to_string_lossy().into_owned()
        });
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }
}

fn fallback_name(machine: &Machine) -> Value {
    let executable = machine.executable();
    let name = executable.as_deref().and_then(file_name);
    name.map_or_else(
        || "unknown_service".into(),
        |name| format!("unknown_service:{name}").into(),
    )
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn detected(machine: &Machine, detectors: Detectors) -> Vec<(String, Value)> {
    let mut found = vec![("service.instance.id", Some(instance_id().into()))];
    for detector in Detector::ALL {
        if detectors.include(detector) {
            found.extend(detected_by(detector, machine));
        }
    }
    found.extend([
        ("telemetry.sdk.name", Some("hiq".into())),
        ("telemetry.sdk.language", Some("rust".into())),
        (
            "telemetry.sdk.version",
            Some(env!("CARGO_PKG_VERSION").into()),
        ),
    ]);
    let known = found
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    known.collect()
}

fn detected_by(detector: Detector, machine: &Machine) -> Vec<Found> {
    match detector {
        Detector::Process => process(machine),
        Detector::Host => host(machine),
        Detector::Os => vec![("os.type", Some(os_type(std::env::consts::OS).into()))],
        Detector::Container => vec![("container.id", text(container_id_of(machine)))],
    }
}

/// An attribute; `None` where it could not be found out.
type Found = (&'static str, Option<Value>);

fn text(value: Option<String>) -> Option<Value> {
    value.map(Value::from)
}

fn process(machine: &Machine) -> Vec<Found> {
    let executable = machine.executable();
    let name = executable.as_deref().and_then(file_name);
    let path = executable
        .as_ref()
        .map(|path| path.to_string_lossy().into_owned());
    vec![
        ("process.pid", Some(std::process::id().into())),
        ("process.executable.name", text(name)),
        ("process.executable.path", text(path)),
        ("process.command", text(machine.command())),
    ]
}

fn host(machine: &Machine) -> Vec<Found> {
    vec![
        ("host.name", text(machine.host_name())),
        ("host.arch", Some(host_arch(std::env::consts::ARCH).into())),
    ]
}

fn container_id_of(machine: &Machine) -> Option<String> {
    let read = |path| machine.read(path).unwrap_or_default();
    container_id(&read("proc/self/cgroup"), &read("proc/self/mountinfo")).map(str::to_owned)
}

/// A random UUID that is the same all over the process and another one in a forked child.
fn instance_id() -> &'static str {
    static ID: PerProcess<String> = PerProcess::new(|| uuid(random_word(), random_word()));
    ID.get()
}

/// Where the operating system has no randomness to give, the process and the time tell instances apart.
fn random_word() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|_| Clock::unix_nanos().0 ^ u64::from(std::process::id()).rotate_right(20))
}

/// Version 4, variant 1 (RFC 9562).
fn uuid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{high:016x}{low:016x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}

/// Rust's name of an architecture in the words of the conventions.
fn host_arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// Rust's name of an operating system in the words of the conventions.
fn os_type(rust: &str) -> &str {
    match rust {
        "macos" | "ios" => "darwin",
        "dragonfly" => "dragonflybsd",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_and_systems_have_the_conventions_names() {
        for (rust, name) in [
            ("x86_64", "amd64"),
            ("aarch64", "arm64"),
            ("arm", "arm32"),
            ("powerpc64", "ppc64"),
            ("powerpc", "ppc32"),
            ("s390x", "s390x"),
            ("x86", "x86"),
        ] {
            assert_eq!(host_arch(rust), name);
        }
        for (rust, name) in [
            ("linux", "linux"),
            ("macos", "darwin"),
            ("windows", "windows"),
        ] {
            assert_eq!(os_type(rust), name);
        }
    }

    #[test]
    fn a_uuid_has_version_four_and_variant_one() {
        assert_eq!(
            uuid(u64::MAX, u64::MAX),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(
            uuid(0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }
}
