//! What is detected of this process and machine, held against what the system's own tools say.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::HashSet;
use std::process::Command;

use hiq_core::config::{Env, ResourceSettings, Settings};
use hiq_core::detect::{Machine, resource, resource_on};
use hiq_core::resource::Resource;
use hiq_core::value::Value;

fn text(resource: &Resource, key: &str) -> Option<String> {
    match resource.attribute(key)?.to_value() {
        Value::Str(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

fn own(pairs: &[(&str, &str)]) -> Vec<(String, Value)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect()
}

fn settings(pairs: &[(&str, &str)]) -> ResourceSettings {
    Settings::from_env(&Env::from_pairs(pairs.iter().copied())).resource
}

fn output_of(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().unwrap();
    assert!(output.status.success(), "{program} {argument}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn host_and_system_are_what_uname_says() {
    let here = resource(&ResourceSettings::default(), []);
    assert_eq!(text(&here, "host.name"), Some(output_of("uname", "-n")));
    let arch = match output_of("uname", "-m").as_str() {
        "x86_64" => "amd64".to_owned(),
        "aarch64" | "arm64" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    assert_eq!(text(&here, "host.arch"), Some(arch));
    assert_eq!(
        text(&here, "os.type"),
        Some(output_of("uname", "-s").to_lowercase())
    );
}

#[test]
fn the_process_is_this_one() {
    let here = resource(&ResourceSettings::default(), []);
    let executable = std::env::current_exe().unwrap();
    let name = executable.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        here.attribute("process.pid").unwrap().to_value(),
        Value::from(std::process::id())
    );
    assert_eq!(
        text(&here, "process.executable.path").as_deref(),
        executable.to_str()
    );
    assert_eq!(
        text(&here, "process.executable.name").as_deref(),
        Some(name)
    );
    assert_eq!(text(&here, "process.command"), std::env::args().next());
    assert_eq!(here.service_name(), format!("unknown_service:{name}"));
    assert_eq!(text(&here, "telemetry.sdk.name").as_deref(), Some("hiq"));
    assert_eq!(
        text(&here, "telemetry.sdk.language").as_deref(),
        Some("rust")
    );
    assert_eq!(
        text(&here, "telemetry.sdk.version").as_deref(),
        Some(env!("CARGO_PKG_VERSION"))
    );
}

/// The keys of this process's resource when these detectors are asked.
fn keys(detectors: &str) -> Vec<String> {
    let pairs = [("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", detectors)];
    let here = resource(&settings(&pairs), own(&[("mine", "1")]));
    let keys = here.attributes().map(|(key, _)| key.as_str().to_owned());
    keys.collect()
}

#[test]
fn only_what_the_chosen_detectors_find_out_is_told_beside_the_service() {
    const ALWAYS: [&str; 6] = [
        "service.name",
        "service.instance.id",
        "telemetry.sdk.name",
        "telemetry.sdk.language",
        "telemetry.sdk.version",
        "mine",
    ];
    const OF_PROCESS: [&str; 4] = [
        "process.pid",
        "process.executable.name",
        "process.executable.path",
        "process.command",
    ];
    let expected: [(&str, &[&str]); 6] = [
        ("otel", &[]),
        ("service_instance,somebody_elses", &[]),
        ("process", &OF_PROCESS),
        ("os", &["os.type"]),
        (" Host , otel", &["host.name", "host.arch"]),
        ("os,host", &["host.name", "host.arch", "os.type"]),
    ];
    for (names, more) in expected {
        let found = keys(names);
        let (first, last) = (&ALWAYS[..2], &ALWAYS[2..]);
        assert_eq!(found, [first, more, last].concat(), "{names}");
    }
    let all = keys("");
    assert_eq!(keys("host,*"), all, "a star is the same as saying nothing");
    let of = |kind: &str| all.iter().filter(|key| key.starts_with(kind)).count();
    assert_eq!((of("process."), of("host."), of("os.")), (4, 2, 1));
}

#[test]
fn code_beats_the_service_variable_beats_the_attributes_beats_detection() {
    let name = |pairs: &[(&str, &str)], code: &[(&str, &str)]| {
        resource(&settings(pairs), own(code))
            .service_name()
            .to_owned()
    };
    let attributes = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=attribute,host.name=other",
    );
    let service = ("OTEL_SERVICE_NAME", "variable");
    assert_eq!(name(&[attributes], &[]), "attribute");
    assert_eq!(name(&[attributes, service], &[]), "variable");
    assert_eq!(
        name(&[attributes, service], &[("service.name", "code")]),
        "code"
    );
    assert_eq!(
        name(&[service], &[("service.name", "")]),
        "variable",
        "an empty name counts as none"
    );
    let here = resource(
        &settings(&[attributes]),
        own(&[("telemetry.sdk.language", "python")]),
    );
    assert_eq!(text(&here, "host.name").as_deref(), Some("other"));
    assert_eq!(
        text(&here, "telemetry.sdk.language").as_deref(),
        Some("python")
    );
    let keys: Vec<_> = here
        .attributes()
        .map(|(key, _)| key.as_str().to_owned())
        .collect();
    let unique: HashSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len(), "{keys:?}");
}

/// A machine whose files are those given.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let machine = Machine::with_files_in(root.path());
    (root, machine)
}

#[test]
fn the_arguments_of_the_command_never_leave() {
    let (_root, machine) =
        machine(&[("proc/self/cmdline", "/usr/bin/worker\0--password\0c4n4ry\0")]);
    let there = resource_on(&machine, &ResourceSettings::default(), []);
    assert_eq!(
        text(&there, "process.command").as_deref(),
        Some("/usr/bin/worker")
    );
    assert!(!format!("{there:?}").contains("c4n4ry"));
}

#[test]
fn the_container_is_found_in_the_files_of_the_process() {
    let id = "485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9";
    let by_group = format!("12:pids:/docker/{id}\n");
    let by_mount = format!(
        "1 2 259:2 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/x rw\n"
    );
    for files in [
        vec![("proc/self/cgroup", by_group.as_str())],
        vec![
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", by_mount.as_str()),
        ],
    ] {
        let (_root, machine) = machine(&files);
        let there = resource_on(&machine, &ResourceSettings::default(), []);
        assert_eq!(text(&there, "container.id").as_deref(), Some(id));
    }
    let (_root, bare) = machine(&[("proc/sys/kernel/hostname", "box-7\n")]);
    let there = resource_on(&bare, &ResourceSettings::default(), []);
    assert_eq!(text(&there, "container.id"), None);
    assert_eq!(text(&there, "host.name").as_deref(), Some("box-7"));
}

#[test]
fn an_instance_is_the_same_all_over_the_process_and_another_in_the_next() {
    let id = || {
        text(
            &resource(&ResourceSettings::default(), []),
            "service.instance.id",
        )
        .unwrap()
    };
    let other_thread = std::thread::spawn(id).join().unwrap();
    assert_eq!(id(), other_thread);
    let parts: Vec<usize> = id().split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);

    // This test itself, run again as another process, says its own id.
    let mark = "instance: ";
    println!("{mark}{}", id());
    let executable = std::env::current_exe().unwrap();
    if Env::process().text("HIQ_TEST_CHILD").is_none() {
        let name = "an_instance_is_the_same_all_over_the_process_and_another_in_the_next";
        let again = Command::new(executable)
            .args(["--exact", name, "--nocapture"])
            .env("HIQ_TEST_CHILD", "1")
            .output()
            .unwrap();
        let said = String::from_utf8(again.stdout).unwrap();
        let theirs = said
            .lines()
            .find_map(|line| line.split(mark).nth(1))
            .unwrap();
        assert_eq!(theirs.len(), 36);
        assert_ne!(theirs, id());
    }
}
