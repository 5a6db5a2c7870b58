//! Processes that are killed, race for what others left, run out of disk or lose their folder; judged by what they
//! said they had done, line by line, before they died.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod spool_common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hiq_core::config::Env;
use hiq_core::spool::{Recovered, Spool, SpoolError, SpoolLimits};
use spool_common::{
    Said, append, command, drain, number_of, numbers, prepare, role, run, say, take_all,
};
use tempfile::tempdir;

/// Not a test by itself: the others run it as a process of its own, with a role.
#[test]
fn child() {
    let Some((role, dir)) = role() else {
        return;
    };
    match role.as_str() {
        "write" => write_until_killed(&dir),
        "hold" => hold_until_killed(&dir),
        "take" => take_all(&dir),
        "count" => count_backlog(&dir),
        "limited" => write_past_the_file_size_limit(&dir),
        other => panic!("{other}"),
    }
}

fn write_until_killed(dir: &Path) {
    let mut spool = Spool::open(dir, "otlp", small_segments()).unwrap();
    let mut open = std::collections::VecDeque::new();
    for number in 0.. {
        let id = append(&mut spool, number).unwrap();
        say(&format!("appended {number}"));
        open.push_back((number, id));
        if number % 3 == 2 {
            let (settled, id) = open.pop_front().unwrap();
            say(&format!("settling {settled}"));
            spool.settle(id);
            say(&format!("settled {settled}"));
        }
    }
}

fn small_segments() -> SpoolLimits {
    let mut limits = SpoolLimits::default();
    limits.segment_bytes = 64 << 10;
    limits
}

fn hold_until_killed(dir: &Path) {
    let mut spool = Spool::open(dir, "otlp", SpoolLimits::default()).unwrap();
    append(&mut spool, 1).unwrap();
    say("holding");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn count_backlog(dir: &Path) {
    let before = status_kib("VmRSS");
    let mut spool = Spool::open(dir, "otlp", SpoolLimits::default()).unwrap();
    let mut ids = Vec::new();
    let mut descriptors = 0;
    while let Some(Recovered::Record(found)) = spool.next_recovered() {
        ids.push(found.id);
        if ids.len().is_multiple_of(10_000) {
            descriptors = descriptors.max(fs::read_dir("/proc/self/fd").unwrap().count());
        }
    }
    say(&format!("found {}", ids.len()));
    say(&format!("grew-kib {}", status_kib("VmHWM") - before));
    say(&format!("descriptors {descriptors}"));
    for id in ids {
        spool.settle(id);
    }
}

fn status_kib(name: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The limit stands for a full disk: the kernel refuses to write past it. Then there is space again.
fn write_past_the_file_size_limit(dir: &Path) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut spool = Spool::open(dir, "otlp", SpoolLimits::default()).unwrap();
    let mut report = |number| match append(&mut spool, number) {
        Ok(_) => say(&format!("appended {number}")),
        Err(error) => say(&format!("refused {number} {error}")),
    };
    (0..30).for_each(&mut report);
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = limit.maximum;
    setrlimit(Resource::Fsize, limit).unwrap();
    (30..40).for_each(&mut report);
}

/// Pseudo-random places to kill at, the same in each run.
fn kill_points(rounds: u64) -> impl Iterator<Item = usize> {
    (0..rounds).map(|round| (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % 300)
}

#[test]
fn a_kill_loses_nothing_that_was_confirmed_and_repeats_nothing_that_was_settled() {
    let rounds = Env::process()
        .text("HIQ_TEST_KILLS")
        .map_or(40, |rounds| rounds.parse().unwrap());
    for lines in kill_points(rounds) {
        let dir = tempdir().unwrap();
        let mut child = command("write", dir.path()).spawn().unwrap();
        let mut said = Said::by(&mut child);
        let mut heard: Vec<String> = said.by_ref().take(lines).collect();
        child.kill().unwrap();
        heard.extend(said);
        child.wait().unwrap();

        let (appended, settling) = (numbers(&heard, "appended"), numbers(&heard, "settling"));
        let settled: BTreeSet<u64> = numbers(&heard, "settled").into_iter().collect();
        let found = drain(dir.path());
        let next = appended.len() as u64;
        let in_order = found.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(in_order, "{found:?}");
        for number in &found {
            assert!(!settled.contains(number), "{number} was settled");
            assert!(*number <= next, "{number} was never begun");
        }
        for number in appended.iter().filter(|number| !settling.contains(number)) {
            assert!(found.contains(number), "{number} was confirmed and is lost");
        }
    }
}

#[test]
fn of_many_processes_that_come_at_once_each_record_is_taken_by_one() {
    let dir = tempdir().unwrap();
    let mut dead = Vec::new();
    for number in 0..60 {
        let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
        append(&mut spool, number).unwrap();
        dead.push(spool);
    }
    drop(dead);
    let mut children: Vec<_> = (0..4)
        .map(|_| command("take", dir.path()).spawn().unwrap())
        .collect();
    let mut said: Vec<_> = children.iter_mut().map(Said::by).collect();
    for said in &mut said {
        assert_eq!(said.next().as_deref(), Some("ready"));
    }
    for child in &mut children {
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }
    let all: Vec<String> = said.into_iter().flatten().collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(
        all.iter().filter(|line| line.starts_with("notice")).count(),
        0,
        "{all:?}"
    );
    let mut found = numbers(&all, "found");
    // Each takes the orphans that it could lock; what none of them saw is left for the next.
    found.extend(drain(dir.path()));
    found.sort_unstable();
    assert_eq!(found, (0..60).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(dir.path().join("otlp")).unwrap().count(), 0);
}

#[test]
fn what_a_living_process_holds_is_adopted_only_after_its_death() {
    let dir = tempdir().unwrap();
    let mut child = command("hold", dir.path()).spawn().unwrap();
    let mut said = Said::by(&mut child);
    assert_eq!(said.next().as_deref(), Some("holding"));
    assert!(!Spool::has_backlog(dir.path()));
    assert!(drain(dir.path()).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Spool::has_backlog(dir.path()));
    assert_eq!(drain(dir.path()), [1]);
}

#[test]
fn a_lock_file_or_a_pid_without_its_process_means_nothing() {
    let dir = tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    append(&mut spool, 1).unwrap();
    drop(spool);
    let home = only_home(dir.path());
    let name = home.file_name().unwrap().to_str().unwrap();
    assert!(
        name.contains(&format!("-{}-", std::process::id())),
        "the pid of a living process: {name}"
    );
    fs::write(home.join("lock"), "4711\n").unwrap();
    assert_eq!(drain(dir.path()), [1]);
}

#[test]
fn a_home_without_its_lock_file_is_adopted() {
    let dir = tempdir().unwrap();
    append(
        &mut Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap(),
        1,
    )
    .unwrap();
    fs::remove_file(only_home(dir.path()).join("lock")).unwrap();
    assert_eq!(drain(dir.path()), [1]);
}

#[test]
fn a_large_backlog_costs_little_memory_and_few_descriptors() {
    let dir = tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    for _ in 0..100_000 {
        append(&mut spool, 1).unwrap();
    }
    drop(spool);
    let said = run(command("count", dir.path()));
    assert_eq!(numbers(&said, "found"), [100_000]);
    assert!(numbers(&said, "grew-kib")[0] <= 32 << 10, "{said:?}");
    assert!(numbers(&said, "descriptors")[0] <= 64, "{said:?}");
    assert!(drain(dir.path()).is_empty());
}

fn only_home(dir: &Path) -> PathBuf {
    let homes: Vec<_> = fs::read_dir(dir.join("otlp"))
        .unwrap()
        .map(|home| home.unwrap().path())
        .collect();
    assert_eq!(homes.len(), 1);
    homes[0].clone()
}

#[test]
fn a_folder_that_goes_away_is_noticed_and_made_again() {
    let dir = tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    let lost = append(&mut spool, 1).unwrap();
    fs::remove_dir_all(dir.path().join("otlp")).unwrap();
    assert!(matches!(spool.sync(), Err(SpoolError::Gone)));
    assert!(matches!(spool.load(&lost), Err(SpoolError::Gone)));
    let kept = append(&mut spool, 2).unwrap();
    assert_eq!(number_of(&spool.load(&kept).unwrap().body), 2);
    spool.sync().unwrap();
    spool.settle(lost);
    assert!(
        drain(dir.path()).is_empty(),
        "the new folder is locked as well"
    );
    drop(spool);
    assert_eq!(drain(dir.path()), [2]);
}

#[test]
fn a_limit_of_the_kernel_is_an_error_and_writing_goes_on_after_it() {
    let dir = tempdir().unwrap();
    let mut shell = Command::new("sh");
    // 64 blocks of 512 bytes; the signal would kill before the call fails.
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 64; exec \"$0\" \"$@\""]);
    shell
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"]);
    prepare(&mut shell, "limited", dir.path());
    let said = run(shell);
    let (appended, refused) = (numbers(&said, "appended"), numbers(&said, "refused"));
    assert_eq!(refused, [0, 7, 14, 21, 28], "those of 50,000 bytes");
    assert!(
        said.iter()
            .any(|line| line.contains("cannot write") && line.contains(".spool")),
        "{said:?}"
    );
    assert_eq!(drain(dir.path()), appended);
    assert!(appended.contains(&35), "there is space again");
}
