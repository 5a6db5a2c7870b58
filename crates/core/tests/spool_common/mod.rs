//! What the spool's tests share: numbered payloads, child processes that say what they do, and what is left of it.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use hiq_core::config::Env;
use hiq_core::spool::{Record, RecordId, Recovered, Spool, SpoolError, SpoolLimits};
use tempfile::TempDir;

/// A folder in memory where there is one: tests with thousands of syncs need not wait for a disk.
pub(crate) fn quick_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The role of this process, when it is a child of a test, and its folder.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let env = Env::process();
    let role = env.text("HIQ_TEST_ROLE")?.to_owned();
    Some((role, env.text("HIQ_TEST_DIR")?.into()))
}

/// One line, whole, at once: what was said before a kill is in the pipe.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The payload that belongs to a number: its length and all its bytes follow from it.
pub(crate) fn body_of(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(7) {
        50_000
    } else {
        300
    } + number * 37 % 100;
    let mut body = number.to_le_bytes().to_vec();
    body.extend((8..length).map(|place| (number * 31 + place * 7).to_le_bytes()[0]));
    body
}

pub(crate) fn number_of(body: &[u8]) -> u64 {
    let number = u64::from_le_bytes(body[..8].try_into().unwrap());
    assert_eq!(body, body_of(number), "the payload is what was written");
    number
}

pub(crate) fn append(spool: &mut Spool, number: u64) -> Result<RecordId, SpoolError> {
    spool.append(&Record::new(
        "otlp_proto",
        "application/x-protobuf",
        1,
        &body_of(number),
    ))
}

pub(crate) fn take_all(dir: &Path) {
    let mut line = String::new();
    say("ready");
    std::io::stdin().read_line(&mut line).unwrap();
    let mut spool = Spool::open(dir, "otlp", SpoolLimits::default()).unwrap();
    while let Some(recovered) = spool.next_recovered() {
        let Recovered::Record(found) = recovered else {
            panic!("{recovered:?}");
        };
        say(&format!("found {}", number_of(&found.body)));
        spool.settle(found.id);
    }
    for notice in spool.take_notices() {
        say(&format!("notice {notice}"));
    }
}

pub(crate) fn command(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]);
    prepare(&mut command, role, dir);
    command
}

pub(crate) fn prepare(command: &mut Command, role: &str, dir: &Path) {
    command.env("HIQ_TEST_ROLE", role).env("HIQ_TEST_DIR", dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
}

/// What a child says, line by line.
pub(crate) struct Said(BufReader<ChildStdout>);

impl Said {
    pub(crate) fn by(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().unwrap()))
    }
}

impl Iterator for Said {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(said) = line
                .strip_prefix('@')
                .and_then(|said| said.strip_suffix('\n'))
            {
                return Some(said.to_owned());
            }
        }
    }
}

/// All that a child says up to its end, which is a good one.
pub(crate) fn run(mut command: Command) -> Vec<String> {
    let mut child = command.spawn().unwrap();
    let said: Vec<String> = Said::by(&mut child).collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    said
}

pub(crate) fn numbers(said: &[String], word: &str) -> Vec<u64> {
    let lines = said
        .iter()
        .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    lines
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// What is left in `dir`, in order; all of it is settled. Nothing may be damaged.
pub(crate) fn drain(dir: &Path) -> Vec<u64> {
    drain_and_count_torn(dir).0
}

/// The same, and how many files end in a record whose writing was cut off.
pub(crate) fn drain_and_count_torn(dir: &Path) -> (Vec<u64>, u64) {
    let mut spool = Spool::open(dir, "otlp", SpoolLimits::default()).unwrap();
    let mut found = Vec::new();
    while let Some(recovered) = spool.next_recovered() {
        let Recovered::Record(record) = recovered else {
            panic!("{recovered:?}");
        };
        found.push(number_of(&record.body));
        spool.settle(record.id);
    }
    let damage = spool.damage();
    assert_eq!((damage.records, damage.files), (0, 0));
    assert_eq!(spool.take_notices(), Vec::<String>::new());
    (found, damage.torn_ends)
}
