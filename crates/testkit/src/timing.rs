//! How long attempts of a transport take, on machines that may stand still for a moment.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use hiq_core::transport::{TransportError, TransportErrorKind};

/// How often something may be disturbed.
const ROUNDS: usize = 20;

/// Attempts until one ends with `kind` after `from` to `to` milliseconds, and gives out its error. None may end sooner;
/// on a machine that stood still for a moment one may end later, or before it got as far as `kind` says.
///
/// # Panics
/// When an attempt succeeds or ends sooner, and when none of many ends as it should.
#[track_caller]
pub fn timed<T: Debug>(
    from: u64,
    to: u64,
    kind: TransportErrorKind,
    mut attempt: impl FnMut() -> Result<T, TransportError>,
) -> TransportError {
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let result = attempt();
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(from),
            "took {took:?}: {result:?}"
        );
        match result {
            Err(error) if took <= Duration::from_millis(to) && error.kind == kind => return error,
            Err(error) => seen.push((took, error)),
            Ok(done) => panic!("succeeded: {done:?}"),
        }
    }
    panic!("not once {kind:?} within {to} ms: {seen:?}");
}

/// Checks that `error` says how long it took, which is one of these two numbers of seconds.
///
/// # Panics
/// When it says something else.
#[track_caller]
pub fn assert_says(error: &TransportError, what: &str, seconds: [&str; 2]) {
    let is_said = |seconds| error.message.contains(&format!("{what} {seconds} s"));
    assert!(seconds.into_iter().any(is_said), "{error}");
}

/// Plays rounds until one took less than `limit`: a machine that stood still for a moment spoils the one it did it in.
///
/// # Panics
/// When each of many took longer.
#[track_caller]
pub fn within(limit: Duration, mut round: impl FnMut() -> Duration) {
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let took = round();
        if took < limit {
            return;
        }
        seen.push(took);
    }
    panic!("not once within {limit:?}: {seen:?}");
}

/// Plays rounds until one took no time to speak of.
///
/// # Panics
/// When each of many took long.
#[track_caller]
pub fn at_once(round: impl FnMut() -> Duration) {
    within(Duration::from_millis(100), round);
}
