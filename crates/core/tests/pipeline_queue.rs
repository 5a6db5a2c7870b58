//! The queue of a pipeline: what waits, what leaves together, what gives way, and when the worker wakes.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers as well")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::config::PipelineSettings;
use hiq_core::encode::DropReason;
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::id::SpanId;
use hiq_core::ledger::{Custody, LedgerSnapshot};
use hiq_core::pipeline::Pipeline;
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, Watched, assert_balances};

/// Takes batches when it is let to, and keeps the ids of their spans.
#[derive(Debug)]
struct Gated {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: Arc<Watched<bool>>,
    batches: Arc<Watched<Vec<Vec<SpanId>>>>,
}

impl Shared {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Self {
            open: Watched::new(open),
            batches: Watched::new(Vec::new()),
        })
    }

    fn open(&self) {
        self.open.with(|open| *open = true);
    }

    /// Waits until there are `count` batches.
    #[track_caller]
    fn batches(&self, count: usize) -> Vec<Vec<SpanId>> {
        self.batches
            .wait_for(|batches| (batches.len() >= count).then(|| batches.clone()))
    }
}

impl Exporter<TreeBatch> for Gated {
    fn export(&mut self, batch: Arc<TreeBatch>, custody: Custody, _: &Deadline) -> Progress {
        let spans = batch.trees().iter().flat_map(|tree| tree.spans());
        let ids = spans.map(|span| span.id()).collect();
        self.shared.batches.with(|batches| batches.push(ids));
        self.shared.open.wait_for(|open| open.then_some(()));
        custody.delivered();
        Progress::Done
    }
}

fn pipeline(settings: PipelineSettings, shared: &Arc<Shared>) -> Pipeline {
    named("gated", settings, shared)
}

fn named(name: &str, settings: PipelineSettings, shared: &Arc<Shared>) -> Pipeline {
    let shared = Arc::clone(shared);
    let build = move || {
        let shared = Arc::clone(&shared);
        Ok::<_, Infallible>(Box::new(Gated { shared }) as Box<dyn Exporter<_>>)
    };
    let builder = Pipeline::builder().exporter(name, build);
    builder.settings(settings).build()
}

/// Batches leave only when they are full.
fn unhurried() -> PipelineSettings {
    let mut settings = PipelineSettings::default();
    settings.schedule_delay = Duration::from_secs(3_600);
    settings
}

fn ledger(pipeline: &Pipeline) -> LedgerSnapshot {
    let ledger = pipeline.stats().ledger("gated").unwrap().clone();
    assert_balances(&ledger);
    ledger
}

/// Offers a tree of `spans` spans.
fn offer(pipeline: &Pipeline, spans: usize) -> Vec<SpanId> {
    let (tree, ids) = tree_of(spans);
    pipeline.offer(tree);
    ids
}

/// Has the worker stand in its exporter with one span, so that the queue only fills.
fn occupy(pipeline: &Pipeline, shared: &Shared, full_batch: usize) {
    offer(pipeline, full_batch);
    shared.batches(1);
}

#[test]
fn pressure_drops_the_oldest_fragments_and_counts_them() {
    let shared = Shared::new(false);
    let mut settings = unhurried();
    (settings.max_queue_spans, settings.max_batch_spans) = (100, 10);
    let pipeline = pipeline(settings, &shared);
    occupy(&pipeline, &shared, 10);
    let offered: Vec<_> = (0..30).map(|_| offer(&pipeline, 5)).collect();
    let full = ledger(&pipeline);
    assert_eq!((full.queued, full.in_flight), (100, 10));
    assert_eq!(full.dropped[DropReason::QueueFull], 50);
    shared.open();
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    let survived: HashSet<_> = shared.batches(11)[1..].concat().into_iter().collect();
    let newest: HashSet<_> = offered[10..].concat().into_iter().collect();
    assert_eq!(survived, newest);
    assert_eq!(ledger(&pipeline).exported, 110);
}

#[test]
fn bytes_are_bounded_as_well() {
    let shared = Shared::new(false);
    let mut settings = unhurried();
    let bytes_of_ten = tree_of(10).0.heap_bytes();
    settings.max_queue_bytes = 5 * bytes_of_ten;
    settings.max_batch_spans = 10;
    let pipeline = pipeline(settings, &shared);
    occupy(&pipeline, &shared, 10);
    for _ in 0..20 {
        offer(&pipeline, 10);
    }
    assert_eq!(ledger(&pipeline).queued, 50);
    shared.open();
    let _ = pipeline.shutdown(PATIENCE);
    assert_eq!(ledger(&pipeline).dropped[DropReason::QueueFull], 150);
}

#[test]
fn one_fragment_larger_than_the_queue_enters_it_alone() {
    let shared = Shared::new(false);
    let mut settings = unhurried();
    (settings.max_queue_spans, settings.max_batch_spans) = (100, 10);
    let pipeline = pipeline(settings, &shared);
    occupy(&pipeline, &shared, 10);
    offer(&pipeline, 5);
    let large = offer(&pipeline, 500);
    assert_eq!(ledger(&pipeline).queued, 500);
    assert_eq!(ledger(&pipeline).dropped[DropReason::QueueFull], 5);
    let small = offer(&pipeline, 5);
    assert_eq!(ledger(&pipeline).queued, 5, "and gives way as any other");
    shared.open();
    let _ = pipeline.shutdown(PATIENCE);
    assert_eq!(shared.batches(2)[1], small);
    assert!(!shared.batches(2).concat().contains(&large[0]));
}

#[test]
fn a_full_batch_leaves_at_once_and_fragments_are_not_divided() {
    let shared = Shared::new(true);
    let mut settings = unhurried();
    settings.max_batch_spans = 20;
    let pipeline = pipeline(settings, &shared);
    for _ in 0..3 {
        offer(&pipeline, 8);
    }
    let first = shared.batches(1);
    assert_eq!(
        first[0].len(),
        16,
        "two of eight; the third would be too many"
    );
    offer(&pipeline, 50);
    assert_eq!(
        shared.batches(3)[1..]
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
        [8, 50]
    );
    let _ = pipeline.shutdown(PATIENCE);
    assert_eq!(ledger(&pipeline).exported, 74);
}

#[test]
fn a_batch_that_is_not_full_leaves_after_the_delay() {
    let shared = Shared::new(true);
    let mut settings = unhurried();
    settings.schedule_delay = Duration::from_millis(30);
    let pipeline = pipeline(settings, &shared);
    let before = std::time::Instant::now();
    let ids = offer(&pipeline, 3);
    assert_eq!(shared.batches(1), [ids]);
    assert!(before.elapsed() >= Duration::from_millis(30));
    let _ = pipeline.shutdown(PATIENCE);
    ledger(&pipeline);
}

#[test]
fn fragments_that_waited_too_long_are_dropped() {
    let shared = Shared::new(false);
    let mut settings = unhurried();
    settings.max_batch_spans = 10;
    settings.max_age = Duration::from_secs(2);
    let pipeline = pipeline(settings, &shared);
    occupy(&pipeline, &shared, 10);
    offer(&pipeline, 7);
    // Not a wait for something: the age itself.
    std::thread::sleep(Duration::from_millis(2_001));
    shared.open();
    let _ = pipeline.flush(PATIENCE);
    let ledger = ledger(&pipeline);
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::Expired]),
        (10, 7)
    );
}

#[test]
fn the_worker_wakes_for_the_first_fragment_for_a_full_batch_and_once_to_see_that_no_more_comes() {
    // A machine that stands still for 2 ms lets a worker sleep on, since it would see then that no more has come.
    let mut rounds = (0..20).map(|_| wake_ups_for_a_batch());
    assert!(rounds.any(|wake_ups| wake_ups == 3));
}

/// How often a worker wakes up for a batch of 31 fragments; it must not be more than three times.
fn wake_ups_for_a_batch() -> u64 {
    let shared = Shared::new(true);
    let mut settings = unhurried();
    settings.max_batch_spans = 100;
    let pipeline = pipeline(settings, &shared);
    let wake_ups = || pipeline.stats().exporters()[0].wake_ups;
    offer(&pipeline, 100);
    shared.batches(1);
    assert!(pipeline.flush(PATIENCE).is_complete());
    let before = steady(wake_ups);
    for _ in 0..30 {
        offer(&pipeline, 1);
        // Time for a wake-up that must not come.
        std::thread::sleep(Duration::from_millis(2));
    }
    while wake_ups() == before {
        std::thread::yield_now();
    }
    assert_eq!(wake_ups() - before, 1, "wake-ups for 30 fragments");
    offer(&pipeline, 70);
    shared.batches(2);
    let all = steady(wake_ups) - before;
    assert!((2..=3).contains(&all), "{all} wake-ups for a batch");
    let _ = pipeline.shutdown(PATIENCE);
    all
}

#[test]
fn batches_that_follow_each_other_do_not_wake_the_worker_one_by_one() {
    const BATCHES: u64 = 400;
    let shared = Shared::new(true);
    let mut settings = unhurried();
    settings.max_batch_spans = 10;
    let pipeline = pipeline(settings, &shared);
    let start = Instant::now();
    for _ in 0..BATCHES {
        offer(&pipeline, 10);
    }
    let took = start.elapsed();
    assert!(pipeline.flush(PATIENCE).is_complete());
    let wake_ups = pipeline.stats().exporters()[0].wake_ups;
    // In each two milliseconds: one to look, one for a first fragment, one for a full batch. Else for every eight batches.
    let of_time = 3 * (u64::try_from(took.as_millis()).unwrap() / 2 + 1);
    let most = of_time + BATCHES / 8 + 3;
    assert!(wake_ups <= most, "{wake_ups} wake-ups in {took:?}");
    assert_balances(&ledger(&pipeline));
    let _ = pipeline.shutdown(PATIENCE);
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_worker_sleeps_without_polling() {
    let shared = Shared::new(true);
    let pipeline = named("idle", PipelineSettings::default(), &shared);
    offer(&pipeline, 1);
    assert!(pipeline.flush(PATIENCE).is_complete());
    let activity = || {
        let wake_ups = pipeline.stats().exporters()[0].wake_ups;
        (wake_ups, context_switches("hiq-idle"))
    };
    // Who polls is seen in each round; who is stopped from outside, as by a debugger, is in some.
    let mut rounds = (0..20).map(|_| {
        let asleep = steady(activity);
        // Not a wait for something: the time in which nothing must happen.
        std::thread::sleep(Duration::from_millis(300));
        activity() == asleep
    });
    assert!(rounds.any(|slept| slept));
    let _ = pipeline.shutdown(PATIENCE);
}

/// What `look` finds once it finds the same twice, some time apart.
fn steady<T: PartialEq>(look: impl Fn() -> T) -> T {
    let mut found = look();
    loop {
        std::thread::sleep(Duration::from_millis(30));
        let again = look();
        if again == found {
            return found;
        }
        found = again;
    }
}

/// How often the threads of this process named `name` were switched to, by the kernel's count.
#[cfg(target_os = "linux")]
fn context_switches(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named = tasks.filter_map(|task| {
        let path = task.unwrap().path();
        let comm = std::fs::read_to_string(path.join("comm")).ok()?;
        (comm.trim() == name).then(|| std::fs::read_to_string(path.join("status")).ok())?
    });
    let voluntary = named.map(|status| {
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary"))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    });
    voluntary.sum()
}

#[test]
fn four_threads_that_flood_a_slow_exporter_lose_nothing_unseen_at_any_snapshot() {
    let shared = Shared::new(false);
    let mut settings = unhurried();
    (settings.max_queue_spans, settings.max_batch_spans) = (200, 16);
    settings.schedule_delay = Duration::ZERO;
    let pipeline = pipeline(settings, &shared);
    let watching = Watched::new(true);
    let watcher = {
        let (pipeline, watching) = (pipeline.clone(), Arc::clone(&watching));
        std::thread::spawn(move || {
            let mut snapshots = 0;
            while watching.with(|on| *on) {
                ledger(&pipeline);
                snapshots += 1;
            }
            snapshots
        })
    };
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let pipeline = pipeline.clone();
            std::thread::spawn(move || (1..=500).for_each(|n| drop(offer(&pipeline, n % 7 + 1))))
        })
        .collect();
    shared.batches(1);
    shared.open();
    for producer in producers {
        producer.join().unwrap();
    }
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    watching.with(|on| *on = false);
    assert!(watcher.join().unwrap() > 0);
    let end = ledger(&pipeline);
    let offered: usize = 4 * (1..=500_usize).map(|n| n % 7 + 1).sum::<usize>();
    assert_eq!(end.offered, offered as u64);
    let arrived: usize = shared.batches(1).iter().map(Vec::len).sum();
    assert_eq!(end.exported, arrived as u64, "as the far side counted");
    assert_eq!(
        end.exported + end.dropped[DropReason::QueueFull],
        end.offered
    );
}
