//! Many processes behind one scrape: everything that was counted is there once, whoever has ended and however.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]
#![allow(unsafe_code, reason = "fork and kill")]

use std::cell::RefCell;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hiq_core::config::{Env, PipelineSettings};
use hiq_core::metric::record::{Registry, Spec};
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::pipeline::Pipeline;
use hiq_core::resource::Resource;
use hiq_core::value::Value;
use hiq_prometheus::{ScrapeGroup, ScrapeOptions, ScrapeSettings};
use hiq_testkit::PATIENCE;
use hiq_testkit::trees::tree_of;
use tempfile::TempDir;

/// A forked child joins every group that its parent is in, so that two tests at once would be in each other's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings of a group at a port that was free a moment ago, in a folder of its own.
fn settings(folder: &Path) -> ScrapeSettings {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = ScrapeOptions::default();
    options.host = Some("127.0.0.1".to_owned());
    options.port = Some(free.local_addr().unwrap().port());
    options.group_dir = Some(folder.to_owned());
    ScrapeSettings::new(&options, &Env::default(), &mut Vec::new())
}

fn registry() -> Registry {
    let name = [("service.name", Value::from("shop"))];
    Registry::of(Arc::new(Resource::new(name)))
}

fn scrape(settings: &ScrapeSettings) -> String {
    let mut stream = TcpStream::connect((settings.host.as_str(), settings.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    reply.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The value of a series; the text as it stands.
#[track_caller]
fn value<'p>(page: &'p str, series: &str) -> Option<&'p str> {
    let mut lines = page.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name == series).then_some(value)
    });
    let value = lines.next();
    assert_eq!(lines.next(), None, "{series} twice in {page}");
    value
}

fn slots(folder: &TempDir) -> usize {
    let users = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let group = std::fs::read_dir(users.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let names = std::fs::read_dir(group.path()).unwrap();
    let is_slot = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("slot-");
    names
        .filter(|entry| is_slot(&entry.as_ref().unwrap().file_name()))
        .count()
}

/// A forked process that does a step whenever it is told to, until it is killed.
struct Worker {
    pid: libc::pid_t,
    tell: PipeWriter,
    hear: PipeReader,
}

impl Worker {
    /// The first step is done when this returns; the others wait.
    fn new<const N: usize>(steps: [&mut dyn FnMut(); N]) -> Self {
        let (mut hear_there, tell) = std::io::pipe().unwrap();
        let (hear, mut tell_here) = std::io::pipe().unwrap();
        // SAFETY: the child runs what must work there, and is killed, here or by its alarm.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above.
            unsafe { libc::alarm(60) };
            drop((hear, tell));
            for step in steps {
                hear_there.read_exact(&mut [0]).unwrap();
                let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step));
                tell_here.write_all(&[u8::from(ran.is_ok())]).unwrap();
            }
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        }
        let mut worker = Self { pid, tell, hear };
        worker.step();
        worker
    }

    #[track_caller]
    fn step(&mut self) {
        self.tell.write_all(b"!").unwrap();
        let mut answer = [0];
        self.hear.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [1], "the worker panicked");
    }

    /// By a signal that it cannot hear.
    fn kill(self) {
        let mut status = 0;
        // SAFETY: our own child.
        unsafe {
            assert_eq!(libc::kill(self.pid, libc::SIGKILL), 0);
            assert_eq!(libc::waitpid(self.pid, &raw mut status, 0), self.pid);
        }
        assert!(libc::WIFSIGNALED(status));
    }
}

#[test]
fn two_processes_are_one_scrape_and_the_second_takes_the_port_over() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let registry = registry();
    let orders = registry.counter("orders").unwrap().plain();
    let spec = Spec::new("took").with_quantiles([0.5, 1.0]);
    let took = registry.summary(spec).unwrap().plain();
    let group = ScrapeGroup::join(&registry, &settings).unwrap();
    assert_eq!(group.address().unwrap().port(), settings.port);
    let group = RefCell::new(Some(group));
    let mut second = Worker::new([
        &mut || {
            orders.add(4);
            took.observe(1.0);
            took.observe(8.0);
            let group = group.borrow();
            let group = group.as_ref().unwrap();
            group.publish().unwrap();
            assert_eq!(group.address(), None, "the first one answers");
        },
        &mut || {
            let group = group.borrow();
            let group = group.as_ref().unwrap();
            group.publish().unwrap();
            assert_eq!(group.address().unwrap().port(), settings.port);
        },
    ]);
    orders.add(3);
    took.observe(1.0);
    let page = scrape(&settings);
    assert_eq!(value(&page, "orders_total"), Some("7"));
    assert_eq!(value(&page, "took_count"), Some("3"));
    assert_eq!(value(&page, "took_sum"), Some("10.0"));
    let near = |share: &str, exact: f64| {
        let shown = value(&page, &format!("took{{quantile=\"{share}\"}}")).unwrap();
        (shown.parse::<f64>().unwrap() - exact).abs() < exact * 0.005_42
    };
    assert!(near("0.5", 1.0) && near("1.0", 8.0), "{page}");
    assert!(
        page.contains("target_info{service_name=\"shop\"} 1"),
        "{page}"
    );
    drop(group.take());
    second.step();
    for _ in 0..3 {
        let page = scrape(&settings);
        assert_eq!(
            value(&page, "orders_total"),
            Some("7"),
            "once, and not less"
        );
        assert_eq!(value(&page, "took_count"), Some("3"));
    }
    assert_eq!(slots(&folder), 1, "the first one's slot was folded");
    second.kill();
}

#[test]
fn a_port_that_somebody_else_holds_is_an_error() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let mut settings = settings(folder.path());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    settings.port = other.local_addr().unwrap().port();
    let error = ScrapeGroup::join(&registry(), &settings)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{}", settings.port)),
        "{error}"
    );
    assert_eq!(slots(&folder), 0, "nothing is left behind");
    let bank = Registry::of(Arc::new(Resource::new([(
        "service.name",
        Value::from("bank"),
    )])));
    drop(other);
    let _shop = ScrapeGroup::join(&registry(), &settings).unwrap();
    assert!(
        ScrapeGroup::join(&bank, &settings).is_err(),
        "another service is another group"
    );
}

#[test]
fn a_group_that_has_ended_is_no_part_of_the_next() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    for _ in 0..2 {
        let registry = registry();
        let group = ScrapeGroup::join(&registry, &settings).unwrap();
        registry.counter("orders").unwrap().plain().add(1);
        assert_eq!(value(&scrape(&settings), "orders_total"), Some("1"));
        drop(group);
        assert_eq!(slots(&folder), 0);
    }
    let worker = Worker::new([&mut || {
        let registry = registry();
        registry.counter("orders").unwrap().plain().add(1);
        std::mem::forget(ScrapeGroup::join(&registry, &settings).unwrap());
    }]);
    assert_eq!(value(&scrape(&settings), "orders_total"), Some("1"));
    worker.kill();
    let registry = registry();
    let _group = ScrapeGroup::join(&registry, &settings).unwrap();
    assert_eq!(value(&scrape(&settings), "orders_total"), None);
}

#[test]
fn of_a_killed_worker_all_that_it_laid_down_is_there_and_the_rest_is_reported_as_lost() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let registry = registry();
    let counted = TreeMetrics::new(&registry, TreeMetricsOptions::default()).unwrap();
    let mut never = PipelineSettings::default();
    never.schedule_delay = PATIENCE * 100;
    let pipeline = Pipeline::builder()
        .settings(never)
        .exporter_before_sampling("metrics", counted.builder())
        .build();
    let group = ScrapeGroup::join(&registry, &settings).unwrap();
    pipeline.offer(tree_of(5).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    let held = registry.up_down_counter("held").unwrap().plain();
    held.add(1);
    let gauge = registry.gauge("level").unwrap().plain();
    let worker = Worker::new([&mut || {
        held.add(10);
        gauge.set(2.5);
        pipeline.offer(tree_of(100).0);
        assert!(pipeline.flush(PATIENCE).is_complete());
        group.publish().unwrap();
        // Offered, and neither counted nor laid down when the worker is killed.
        pipeline.offer(tree_of(7).0);
        assert_eq!(group.address(), None, "the parent has the port");
    }]);
    let calls = |page: &str| {
        let lines = page
            .lines()
            .filter(|line| line.starts_with("hiq_function_calls_total{"));
        let values = lines.map(|line| line.rsplit_once(' ').unwrap().1);
        values
            .map(|value| value.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let lost = "hiq_metric_lost_spans_total";
    let level = format!("level{{pid=\"{}\"}}", worker.pid);
    let page = scrape(&settings);
    assert_eq!(
        (calls(&page), value(&page, lost)),
        (105, Some("0")),
        "{page}"
    );
    assert_eq!(value(&page, "held"), Some("11"));
    assert_eq!(value(&page, &level), Some("2.5"));
    worker.kill();
    for _ in 0..3 {
        let page = scrape(&settings);
        assert_eq!(
            (calls(&page), value(&page, lost)),
            (105, Some("7")),
            "{page}"
        );
        assert_eq!(
            value(&page, "held"),
            Some("1"),
            "what the worker held is gone"
        );
        assert_eq!(value(&page, &level), None);
    }
    assert_eq!(slots(&folder), 1);
    assert!(pipeline.shutdown(PATIENCE).is_complete());
}

/// As it is when the owner is killed after it has written the base and before it has removed the slot.
#[test]
fn a_slot_that_was_folded_and_is_there_still_is_not_folded_again() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let registry = registry();
    let orders = registry.counter("orders").unwrap().plain();
    let group = ScrapeGroup::join(&registry, &settings).unwrap();
    let worker = Worker::new([&mut || {
        orders.add(5);
        group.publish().unwrap();
    }]);
    worker.kill();
    let users = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let place = std::fs::read_dir(users.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let slot = place.join("slot-001");
    let kept = place.join("kept");
    std::fs::copy(&slot, &kept).unwrap();
    assert_eq!(value(&scrape(&settings), "orders_total"), Some("5"));
    assert!(!slot.exists());
    std::fs::rename(&kept, &slot).unwrap();
    assert_eq!(value(&scrape(&settings), "orders_total"), Some("5"), "once");
    assert!(!slot.exists(), "it is removed all the same");
}

#[test]
fn when_the_owner_is_killed_another_one_takes_over_with_what_it_had_counted() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let registry = registry();
    let orders = registry.counter("orders").unwrap().plain();
    let owner = Worker::new([&mut || {
        let group = ScrapeGroup::join(&registry, &settings).unwrap();
        orders.add(40);
        group.publish().unwrap();
        std::mem::forget(group);
    }]);
    let group = ScrapeGroup::join(&registry, &settings).unwrap();
    orders.add(2);
    group.publish().unwrap();
    assert_eq!(group.address(), None);
    assert_eq!(value(&scrape(&settings), "orders_total"), Some("42"));
    owner.kill();
    group.publish().unwrap();
    assert!(group.address().is_some(), "the port is ours");
    assert_eq!(value(&scrape(&settings), "orders_total"), Some("42"));
}

#[test]
fn workers_that_come_and_go_leave_no_more_than_their_counts() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let registry = registry();
    let group = ScrapeGroup::join(&registry, &settings).unwrap();
    let orders = registry.counter("orders").unwrap().plain();
    for generation in 1..=30_u64 {
        let workers = [(); 2].map(|()| {
            Worker::new([&mut || {
                orders.add(1);
                group.publish().unwrap();
            }])
        });
        assert_eq!(slots(&folder), 3, "two that live, and ours");
        workers.into_iter().for_each(Worker::kill);
        let page = scrape(&settings);
        assert_eq!(
            value(&page, "orders_total"),
            Some(&*(2 * generation).to_string())
        );
        assert_eq!(slots(&folder), 1);
    }
}
