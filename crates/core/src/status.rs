//! The status line: what the pipeline says aloud, one line for each change of state of an exporter.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::export::Health;
use crate::ledger::{Ledger, LedgerSnapshot};
use crate::os;

/// Lines of one exporter are at least this far apart.
const MIN_GAP: Duration = Duration::from_secs(60);

/// A longer line is cut.
const MAX_CHARS: usize = 600;

/// Where status lines go.
#[derive(Clone)]
pub struct StatusSink(Option<Arc<dyn Fn(&str) + Send + Sync>>);

impl StatusSink {
    /// Standard error, one `write` a line: the default.
    pub fn stderr() -> Self {
        Self::to(|line| os::write_to_stderr(format!("{line}\n").as_bytes()))
    }

    /// Nowhere (`OTEL_LOG_LEVEL=none`).
    pub fn silent() -> Self {
        Self(None)
    }

    /// To `sink`, which is handed lines without their line end, from the exporters' threads.
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    fn say(&self, line: &str) {
        if let Some(sink) = &self.0 {
            sink(line);
        }
    }
}

impl Default for StatusSink {
    fn default() -> Self {
        Self::stderr()
    }
}

impl fmt::Debug for StatusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "StatusSink(on)"
        } else {
            "StatusSink(silent)"
        })
    }
}

/// The status line of one exporter.
#[derive(Debug)]
pub(crate) struct StatusLine {
    exporter: Arc<str>,
    sink: StatusSink,
    said: State,
    said_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    Warned,
    Waiting,
    Losing,
}

impl StatusLine {
    pub(crate) fn new(exporter: Arc<str>, sink: StatusSink) -> Self {
        Self {
            exporter,
            sink,
            said: State::Fine,
            said_at: None,
        }
    }

    /// Says how the exporter fares, if that is not what was said last and the last line is old enough. What is held
    /// back is said by a later call, if it is still so then.
    pub(crate) fn update(&mut self, health: &Health, ledger: &Ledger, now: Instant) {
        let state = State::of(health);
        let too_early = self
            .said_at
            .is_some_and(|at| now.duration_since(at) < MIN_GAP);
        if state == self.said || too_early {
            return;
        }
        self.said = state;
        self.said_at = Some(now);
        self.sink.say(&self.line(health, &ledger.snapshot()));
    }

    fn line(&self, health: &Health, ledger: &LedgerSnapshot) -> String {
        let lost = ledger.rejected + ledger.dropped.total();
        let news = match health {
            Health::Waiting(why) => format!("{} spans wait: {why}", ledger.unsettled()),
            Health::Losing(why) if lost == 0 => why.clone(),
            Health::Losing(why) => format!("{lost} spans lost: {why}"),
            Health::Warned(words) => format!("delivered, but {words}"),
            Health::Fine => format!("delivering again; {lost} spans were lost"),
        };
        one_line(&format!("hiq: {} exporter: {news}", self.exporter))
    }
}

/// A server's words may hold anything.
fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_CHARS).map(printable).collect()
}

impl State {
    fn of(health: &Health) -> Self {
        match health {
            Health::Fine => Self::Fine,
            Health::Warned(_) => Self::Warned,
            Health::Waiting(_) => Self::Waiting,
            Health::Losing(_) => Self::Losing,
        }
    }
}
