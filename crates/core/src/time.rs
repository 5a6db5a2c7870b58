//! The clock, and the only conversions between units of time in the workspace.
//!
//! A span is timed in **ticks**: the processor's time-stamp counter where the kernel itself trusts it,
//! else nanoseconds of `CLOCK_MONOTONIC`. A [`TickScale`] turns ticks into Unix time when a tree is read,
//! so the traced program pays one counter read, and a duration can never be negative or jump with the wall clock.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::fork::PerProcess;

mod source;

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// Whole microseconds since the epoch, rounded down.
    #[inline]
    pub const fn micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Seconds since the epoch, as HiQ and Prometheus count them.
    #[inline]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double holds today's time to 0.2 us, as Python's time.time()"
    )]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Nanoseconds from `start` to `end`; zero when the clock stepped back.
#[inline]
pub const fn duration_nanos(start: UnixNanos, end: UnixNanos) -> u64 {
    end.0.saturating_sub(start.0)
}

/// A duration in whole microseconds for formats that have nothing finer: rounded down, but never zero.
#[inline]
pub const fn duration_micros(nanos: u64) -> u64 {
    let micros = nanos / 1_000;
    if micros == 0 { 1 } else { micros }
}

/// Turns ticks into Unix time: `unix = unix_origin + (tick - tick_origin) * nanos_per_tick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickScale {
    tick_origin: u64,
    unix_origin: u64,
    /// Nanoseconds per tick, 32.32 fixed point.
    nanos_per_tick_q32: u64,
}

impl TickScale {
    /// For trees whose ticks are Unix nanoseconds already, as those from a decoder.
    pub const UNIX_NANOS: Self = Self {
        tick_origin: 0,
        unix_origin: 0,
        nanos_per_tick_q32: 1 << 32,
    };

    /// The Unix time of `tick`, saturating at the ends of the range.
    #[inline]
    pub fn unix_nanos(&self, tick: u64) -> UnixNanos {
        if tick >= self.tick_origin {
            UnixNanos(
                self.unix_origin
                    .saturating_add(self.nanos(tick - self.tick_origin)),
            )
        } else {
            UnixNanos(
                self.unix_origin
                    .saturating_sub(self.nanos(self.tick_origin - tick)),
            )
        }
    }

    /// The ticks that `nanos` last.
    pub fn ticks(&self, nanos: u64) -> u64 {
        let ticks = (u128::from(nanos) << 32) / u128::from(self.nanos_per_tick_q32.max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The nanoseconds that `ticks` last.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "2^64 ns are 584 years")]
    pub fn nanos(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.nanos_per_tick_q32)) >> 32) as u64
    }
}

/// What counts the ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a recorder specialises on each")]
pub enum TickSource {
    /// The processor's time-stamp counter, invariant and trusted by the kernel.
    Tsc,
    /// `CLOCK_MONOTONIC`.
    Monotonic,
}

/// The process-wide clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

/// An anchor older than this is taken again when a root starts.
const ANCHOR_MAX_AGE: Duration = Duration::from_secs(1);

/// How long the trees below a root keep to its anchor, which is all the further from the wall clock the older it is.
const KEPT_NANOS: u64 = 600_000_000_000;

impl Clock {
    /// Which counter [`Clock::ticks`] reads; found once.
    #[inline]
    pub fn source() -> TickSource {
        match SOURCE.load(Ordering::Relaxed) {
            SOURCE_TSC => TickSource::Tsc,
            SOURCE_MONOTONIC => TickSource::Monotonic,
            _ => find_source(),
        }
    }

    /// Reads the clocks for the first time, so that the counter's speed is known when the first root starts. Else that is
    /// found out then, which takes 1 ms of the root's own time.
    pub fn prepare() {
        FIRST.get();
    }

    /// Reads the counter: about 10 ns from the TSC, 23 ns from `CLOCK_MONOTONIC`.
    #[inline]
    pub fn ticks() -> u64 {
        match Self::source() {
            TickSource::Tsc => source::tsc(),
            TickSource::Monotonic => source::monotonic_nanos(),
        }
    }

    /// The scale for a tree whose root starts at `tick`.
    #[inline]
    pub fn scale_at(tick: u64) -> TickScale {
        Anchor::for_tick(tick).scale
    }

    /// The moment of the standard library's clock that it is now: half as dear as asking that.
    #[inline]
    pub(crate) fn instant() -> Instant {
        let tick = Self::ticks();
        let anchor = Anchor::for_tick(tick);
        let since = tick.saturating_sub(anchor.scale.tick_origin);
        anchor.instant + Duration::from_nanos(anchor.scale.nanos(since))
    }

    /// The scale for a tree whose root starts at `tick` under `parent`: that of the parent's tree, when that is of this process
    /// and no older than ten minutes, so that children lie inside their parents to the nanosecond.
    pub(crate) fn scale_under(parent: Option<&Context>, tick: u64) -> TickScale {
        let inherited = parent
            .filter(|parent| !parent.is_remote)
            .and_then(|parent| parent.scale)
            .filter(|scale| scale.nanos(tick.saturating_sub(scale.tick_origin)) < KEPT_NANOS);
        inherited.unwrap_or_else(|| Self::scale_at(tick))
    }

    /// The wall clock.
    pub fn unix_nanos() -> UnixNanos {
        UnixNanos(source::realtime_nanos())
    }
}

const SOURCE_TSC: u8 = 1;
const SOURCE_MONOTONIC: u8 = 2;
static SOURCE: AtomicU8 = AtomicU8::new(0);
static ANCHORS: PerProcess<Mutex<Anchors>> = PerProcess::new(|| Mutex::new(Anchors::new()));

#[cold]
fn find_source() -> TickSource {
    let found = if source::tsc_is_trusted() {
        TickSource::Tsc
    } else {
        TickSource::Monotonic
    };
    let code = match found {
        TickSource::Tsc => SOURCE_TSC,
        TickSource::Monotonic => SOURCE_MONOTONIC,
    };
    SOURCE.store(code, Ordering::Relaxed);
    found
}

/// Where the counter stood at one moment, by the other clocks.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    scale: TickScale,
    instant: Instant,
    max_age_ticks: u64,
}

thread_local! {
    /// What this thread saw last, so that no lock is taken for each root.
    static ANCHOR: Cell<Option<Anchor>> = const { Cell::new(None) };
}

impl Anchor {
    #[inline]
    fn for_tick(tick: u64) -> Self {
        match ANCHOR.get() {
            Some(anchor) if anchor.holds_at(tick) => anchor,
            _ => Self::anew(tick),
        }
    }

    #[cold]
    fn anew(tick: u64) -> Self {
        let anchors = ANCHORS.get().lock();
        let mut anchors = anchors.unwrap_or_else(PoisonError::into_inner);
        let anchor = anchors.for_tick(tick);
        ANCHOR.set(Some(anchor));
        anchor
    }

    #[inline]
    fn holds_at(&self, tick: u64) -> bool {
        tick.saturating_sub(self.scale.tick_origin) <= self.max_age_ticks
    }
}

/// The first reading fixes the counter's speed, the latest one the wall time.
#[derive(Debug)]
struct Anchors {
    first: Start,
    latest: Anchor,
}

impl Anchors {
    fn new() -> Self {
        let first = FIRST.get();
        let later = match Clock::source() {
            TickSource::Tsc => first.spin_until_comparable(),
            TickSource::Monotonic => Reading::take(),
        };
        let latest = first.anchor_at(later);
        Self { first, latest }
    }

    fn for_tick(&mut self, tick: u64) -> Anchor {
        if !self.latest.holds_at(tick) {
            self.latest = self.first.anchor_at(Reading::take());
        }
        self.latest
    }
}

/// The clocks at (nearly) one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    tick: u64,
    monotonic: u64,
    realtime: u64,
    instant: Instant,
}

/// Long enough that a clock read's jitter (30 ns) is 30 ppm of it; later anchors are far apart and better.
const CALIBRATION_NANOS: u64 = 1_000_000;

impl Reading {
    /// The tightest of a few attempts, so that a preemption between the reads does not skew the scale.
    fn take() -> Self {
        (0..5)
            .map(|_| {
                let before = Clock::ticks();
                let (monotonic, realtime) = (source::monotonic_nanos(), source::realtime_nanos());
                let instant = Instant::now();
                let after = Clock::ticks();
                let tick = before + (after - before) / 2;
                (
                    after - before,
                    Self {
                        tick,
                        monotonic,
                        realtime,
                        instant,
                    },
                )
            })
            .min_by_key(|(width, _)| *width)
            .map_or_else(Self::zero, |(_, reading)| reading)
    }

    fn zero() -> Self {
        Self {
            tick: 0,
            monotonic: 0,
            realtime: 0,
            instant: Instant::now(),
        }
    }
}

/// Where the counter stood when the clocks were first looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    tick: u64,
    monotonic: u64,
}

impl Start {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a rate in 32.32 fixed point; a counter below 1 Hz does not exist"
    )]
    fn anchor_at(self, now: Reading) -> Anchor {
        let ticks = now.tick - self.tick;
        let nanos = now.monotonic - self.monotonic;
        let nanos_per_tick_q32 = match Clock::source() {
            TickSource::Monotonic => 1 << 32,
            TickSource::Tsc => ((u128::from(nanos) << 32) / u128::from(ticks.max(1))) as u64,
        };
        let scale = TickScale {
            tick_origin: now.tick,
            unix_origin: now.realtime,
            nanos_per_tick_q32,
        };
        Anchor {
            scale,
            instant: now.instant,
            max_age_ticks: scale.ticks(ANCHOR_MAX_AGE.as_nanos() as u64),
        }
    }

    fn spin_until_comparable(self) -> Reading {
        loop {
            let later = Reading::take();
            if later.monotonic - self.monotonic >= CALIBRATION_NANOS {
                return later;
            }
            std::hint::spin_loop();
        }
    }
}

/// The start of this process, or of the one that it was forked from: they share the counter and its speed. No lock, which a fork
/// could leave locked.
struct FirstStart {
    /// Zero until somebody has claimed it.
    tick: AtomicU64,
    /// Zero until both are there.
    monotonic: AtomicU64,
}

static FIRST: FirstStart = FirstStart {
    tick: AtomicU64::new(0),
    monotonic: AtomicU64::new(0),
};

impl FirstStart {
    fn get(&self) -> Start {
        match self.monotonic.load(Ordering::Acquire) {
            0 => self.set(),
            monotonic => Start {
                tick: self.tick.load(Ordering::Relaxed),
                monotonic,
            },
        }
    }

    /// Of threads that come here at once, each goes on with its own reading, and later ones with that of the first.
    #[cold]
    fn set(&self) -> Start {
        let Reading {
            tick, monotonic, ..
        } = Reading::take();
        let claimed = (self.tick).compare_exchange(0, tick, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_ok() {
            self.monotonic.store(monotonic, Ordering::Release);
        }
        Start { tick, monotonic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: Duration = Duration::from_millis(1);

    #[test]
    fn ticks_become_the_time_that_the_wall_clock_shows() {
        for _ in 0..100 {
            let before = Clock::unix_nanos();
            let tick = Clock::ticks();
            let after = Clock::unix_nanos();
            let unix = Clock::scale_at(tick).unix_nanos(tick);
            let slack = u64::try_from(SLACK.as_nanos()).unwrap();
            assert!(
                unix.0 + slack >= before.0 && unix.0 <= after.0 + slack,
                "{unix:?} {before:?} {after:?}"
            );
        }
    }

    #[test]
    fn an_instant_by_ticks_is_that_of_the_standard_library() {
        for _ in 0..100 {
            let before = Instant::now();
            let instant = Clock::instant();
            let after = Instant::now();
            assert!(instant + SLACK >= before && instant <= after + SLACK);
        }
    }

    #[test]
    fn a_decoded_trees_ticks_are_unix_nanoseconds() {
        for nanos in [0, 1, 1_700_000_000_000_000_000, u64::MAX] {
            assert_eq!(TickScale::UNIX_NANOS.unix_nanos(nanos), UnixNanos(nanos));
        }
    }

    #[test]
    fn what_hangs_in_this_process_keeps_to_its_parents_anchor_until_that_is_old() {
        let near = Clock::scale_at(Clock::ticks());
        // Far enough ahead that an anchor of long ago is after the machine's start.
        let tick = Clock::ticks() + near.ticks(2 * KEPT_NANOS);
        let under = |age: u64, is_remote: bool| {
            let parent = Context {
                is_remote,
                scale: Some(TickScale {
                    tick_origin: tick - near.ticks(age),
                    unix_origin: 5,
                    ..near
                }),
                ..Context::default()
            };
            (Some(Clock::scale_under(Some(&parent), tick)), parent.scale)
        };
        let (young, of_its_parent) = under(KEPT_NANOS - 1_000_000, false);
        assert_eq!(young, of_its_parent);
        for (age, is_remote) in [(KEPT_NANOS + 1_000_000, false), (0, true)] {
            let (own, of_its_parent) = under(age, is_remote);
            assert_ne!(own, of_its_parent, "{age} {is_remote}");
        }
    }

    #[test]
    fn a_tick_before_the_anchor_lies_before_its_time() {
        let scale = TickScale {
            tick_origin: 1_000,
            unix_origin: 500_000,
            nanos_per_tick_q32: 2 << 32,
        };
        assert_eq!(scale.unix_nanos(900), UnixNanos(499_800));
        assert_eq!(scale.unix_nanos(1_100), UnixNanos(500_200));
    }

    #[test]
    fn durations_are_never_negative_and_micros_never_zero() {
        assert_eq!(duration_nanos(UnixNanos(9), UnixNanos(5)), 0);
        assert_eq!(duration_micros(999), 1);
        assert_eq!(duration_micros(2_500), 2);
    }

    #[test]
    fn a_forked_child_knows_the_counters_speed_at_once() {
        Clock::prepare();
        let ours = FIRST.get();
        assert_eq!(ours, FIRST.get(), "taken once");
        assert!(crate::fork::tests::in_child(|| FIRST.get() == ours));
    }
}
