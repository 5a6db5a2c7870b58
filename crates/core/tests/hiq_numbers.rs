//! Numbers, times and log lines, as CPython 3.11 and HiQ 1.1.14 print them.

#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

mod hiq_golden;

use hiq_core::render::{Extras, LocalZone, LogLine, float_fixed, float_repr};
use serde::Deserialize;

#[test]
fn floats_print_as_python_prints_them() {
    let rows: Vec<(String, String, String, String, String)> = hiq_golden::lines("floats.jsonl.gz");
    assert!(rows.len() >= 3000);
    for (bits, repr, two, three, four) in rows {
        let value = f64::from_bits(u64::from_str_radix(&bits, 16).unwrap());
        assert_eq!(float_repr(value), repr, "{bits}");
        let fixed = [2, 3, 4].map(|decimals| float_fixed(value, decimals));
        assert_eq!(fixed, [two, three, four], "{bits}");
    }
}

#[test]
fn times_print_as_datetime_prints_them() {
    let rows: Vec<(String, String, String, String, String)> = hiq_golden::lines("times.jsonl.gz");
    assert!(rows.len() >= 1200);
    for (zone, start, end, single, pair) in rows {
        let zone = LocalZone::named(&zone).unwrap();
        let (start, end) = (start.parse().unwrap(), end.parse().unwrap());
        assert_eq!(zone.date_time(start), single);
        assert_eq!(zone.date_time_pair(start, end), Some(pair), "{start} {end}");
    }
}

#[derive(Deserialize)]
struct Line {
    id_: String,
    name: String,
    value: String,
    extra: Vec<(String, String)>,
    is_start: bool,
    tz: String,
    pid: u32,
    #[serde(rename = "line")]
    written: String,
}

#[derive(Deserialize)]
struct Named {
    lmk: Vec<Line>,
}

#[test]
fn log_lines_are_hiqs() {
    let named: Named = hiq_golden::json("named.json");
    assert_eq!(named.lmk.len(), 32);
    for line in named.lmk {
        let extras = Extras::from_reprs(line.extra.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let written = LogLine {
            tid: &line.id_,
            name: &line.name,
            value: line.value.parse().unwrap(),
            extras: &extras,
            is_start: line.is_start,
            pid: line.pid,
        };
        assert_eq!(
            written.text(&LocalZone::named(&line.tz).unwrap()),
            line.written
        );
    }
}

const ZONE_PROBE: &str = "HIQ_TEST_PRINTS_ITS_ZONE";

/// The zone of the process is fixed at its start, so each zone needs a process of its own: this test binary again.
#[test]
fn the_zone_of_the_system_is_taken_from_tz() {
    if std::env::args().any(|arg| arg == ZONE_PROBE) {
        return;
    }
    for (tz, expected) in [
        ("UTC", "2021-11-04 04:26:40.123456"),
        ("America/New_York", "2021-11-04 00:26:40.123456"),
        ("Asia/Kolkata", "2021-11-04 09:56:40.123456"),
        ("XYZ-3:30", "2021-11-04 07:56:40.123456"),
    ] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "prints_a_time_in_its_zone",
                "--include-ignored",
                "--nocapture",
            ])
            .env("TZ", tz)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{tz}: {text}");
    }
}

#[test]
#[ignore = "run by the_zone_of_the_system_is_taken_from_tz, in a process of its own"]
fn prints_a_time_in_its_zone() {
    println!("{}", LocalZone::system().date_time(1_636_000_000.123_456));
}
