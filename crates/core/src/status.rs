//! The status line: what the pipeline says aloud, one line for each change of state of an exporter.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::LogLevel;
use crate::encode::DropReason;
use crate::export::Health;
use crate::ledger::{Ledger, LedgerSnapshot};
use crate::os;

/// Lines of one exporter are at least this far apart.
const MIN_GAP: Duration = Duration::from_secs(60);

/// A longer line is cut.
const MAX_CHARS: usize = 600;

/// Where status lines go.
#[derive(Clone)]
pub struct StatusSink {
    say: Arc<Say>,
    level: LogLevel,
}

type Say = dyn Fn(&str) + Send + Sync;

impl StatusSink {
    /// Standard error, one `write` a line: the default.
    pub fn stderr() -> Self {
        Self::to(|line| os::write_to_stderr(format!("{line}\n").as_bytes()))
    }

    /// Nowhere.
    pub fn silent() -> Self {
        Self::to(|_| {}).at_level(LogLevel::None)
    }

    /// To `sink`, which is handed lines without their line end, from the exporters' threads.
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            say: Arc::new(sink),
            level: LogLevel::Info,
        }
    }

    /// Says `line`, of something that is lost, as one line; nothing where errors are not to be said.
    pub fn say_loss(&self, line: &str) {
        if LogLevel::Error <= self.level {
            (self.say)(&one_line(line));
        }
    }

    /// Only lines of this importance (`OTEL_LOG_LEVEL`): losses are errors, waits are warnings. Default: all.
    #[must_use]
    pub fn at_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }
}

impl Default for StatusSink {
    fn default() -> Self {
        Self::stderr()
    }
}

impl fmt::Debug for StatusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusSink({:?})", self.level)
    }
}

/// The status line of one exporter.
#[derive(Debug)]
pub(crate) struct StatusLine {
    exporter: Arc<str>,
    /// One of what it counts: `span`.
    item: &'static str,
    sink: StatusSink,
    said: State,
    said_at: Option<Instant>,
    /// How it fared when it was looked at last.
    last: Health,
    end: End,
}

/// How far the exporter is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    /// Whether what waits is lost will be known, and said, in a moment.
    Begun,
    Said,
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
            item: "span",
            sink,
            said: State::Fine,
            said_at: None,
            last: Health::Fine,
            end: End::NotYet,
        }
    }

    /// The same for an exporter of other things than spans; `item` is one of them.
    pub(crate) fn of(mut self, item: &'static str) -> Self {
        self.item = item;
        self
    }

    /// Says how the exporter fares, if that is not what was said last and the last line is old enough. What is held
    /// back is said by a later call, if it is still so then.
    pub(crate) fn update(&mut self, health: &Health, ledger: &Ledger, now: Instant) {
        if self.last != *health && !self.knows_better_than(health) {
            self.last.clone_from(health);
        }
        let state = State::of(health);
        if self.end == End::Begun && state == State::Waiting {
            return;
        }
        let too_early = self
            .said_at
            .is_some_and(|at| now.duration_since(at) < MIN_GAP);
        if state == self.said || too_early {
            return;
        }
        self.said = state;
        if state.level() <= self.sink.level {
            self.said_at = Some(now);
            (self.sink.say)(&self.line(health, &ledger.snapshot()));
        }
    }

    /// On the way out attempts are broken off: what was wrong before says more.
    fn knows_better_than(&self, health: &Health) -> bool {
        let is_known = matches!(self.last, Health::Waiting(_) | Health::Losing(_));
        self.end == End::Begun && is_known && matches!(health, Health::Waiting(_))
    }

    /// From now on it is not said that items wait: the last word will say what became of them.
    pub(crate) fn expect_last_word(&mut self) {
        if self.end == End::NotYet {
            self.end = End::Begun;
        }
    }

    /// Says once what the end has cost, however lately a line was said; where nothing was lost, how the exporter fared.
    pub(crate) fn last_word(&mut self, ledger: &Ledger, now: Instant) {
        if self.end == End::Said {
            return;
        }
        self.end = End::Said;
        let snapshot = ledger.snapshot();
        if snapshot.dropped[DropReason::Shutdown] == 0 {
            let last = self.last.clone();
            return self.update(&last, ledger, now);
        }
        if State::Losing.level() <= self.sink.level {
            let lost = self.items(snapshot.rejected + snapshot.dropped.total());
            let why = match &self.last {
                Health::Fine => "they were not delivered in time",
                Health::Warned(why) | Health::Waiting(why) | Health::Losing(why) => why,
            };
            let line = format!(
                "hiq: {} exporter: {lost} lost at shutdown: {why}",
                self.exporter
            );
            (self.sink.say)(&one_line(&line));
        }
    }

    fn line(&self, health: &Health, ledger: &LedgerSnapshot) -> String {
        let lost = ledger.rejected + ledger.dropped.total();
        let news = match health {
            Health::Waiting(why) => match ledger.unsettled() {
                1 => format!("1 {} waits: {why}", self.item),
                waiting => format!("{waiting} {}s wait: {why}", self.item),
            },
            Health::Losing(why) if lost == 0 => why.clone(),
            Health::Losing(why) => format!("{} lost: {why}", self.items(lost)),
            Health::Warned(words) => format!("warning: {words}"),
            Health::Fine => format!("delivering again; {} lost meanwhile", self.items(lost)),
        };
        one_line(&format!("hiq: {} exporter: {news}", self.exporter))
    }

    fn items(&self, count: u64) -> String {
        match count {
            1 => format!("1 {}", self.item),
            count => format!("{count} {}s", self.item),
        }
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

    fn level(self) -> LogLevel {
        match self {
            Self::Fine => LogLevel::Info,
            Self::Warned | Self::Waiting => LogLevel::Warn,
            Self::Losing => LogLevel::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    struct Said(Arc<Mutex<Vec<String>>>);

    impl Said {
        fn line() -> (Self, StatusLine) {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let recorder = Arc::clone(&lines);
            let sink = StatusSink::to(move |line| recorder.lock().unwrap().push(line.to_owned()));
            (Self(lines), StatusLine::new("otlp".into(), sink))
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    fn waiting(why: &str) -> Health {
        Health::Waiting(why.to_owned())
    }

    #[test]
    fn a_state_is_said_once_and_the_next_not_before_a_minute() {
        let (said, mut line) = Said::line();
        let (ledger, start) = (Ledger::new(), Instant::now());
        ledger.offer(512);
        line.update(&Health::Fine, &ledger, start);
        assert_eq!(said.take(), [] as [&str; 0], "all is well from the start");
        line.update(&waiting("connection refused"), &ledger, start);
        line.update(
            &waiting("connection refused again"),
            &ledger,
            start + MIN_GAP,
        );
        assert_eq!(
            said.take(),
            ["hiq: otlp exporter: 512 spans wait: connection refused"]
        );
        ledger.take(512, start).delivered();
        line.update(&Health::Fine, &ledger, start + MIN_GAP / 2);
        assert_eq!(said.take(), [] as [&str; 0], "too early");
        line.update(&Health::Fine, &ledger, start + MIN_GAP);
        assert_eq!(
            said.take(),
            ["hiq: otlp exporter: delivering again; 0 spans lost meanwhile"]
        );
    }

    #[test]
    fn a_state_that_passed_within_the_minute_is_not_said() {
        let (said, mut line) = Said::line();
        let (ledger, start) = (Ledger::new(), Instant::now());
        line.update(&waiting("no route"), &ledger, start);
        line.update(&Health::Fine, &ledger, start);
        line.update(&waiting("no route"), &ledger, start + MIN_GAP);
        assert_eq!(said.take().len(), 1);
    }

    #[test]
    fn the_level_says_how_much_is_said() {
        let (said, mut line) = Said::line();
        let (ledger, start) = (Ledger::new(), Instant::now());
        for (level, lines) in [
            (LogLevel::None, 0),
            (LogLevel::Error, 1),
            (LogLevel::Warn, 2),
            (LogLevel::Info, 3),
        ] {
            line.said_at = None;
            line.sink = line.sink.clone().at_level(level);
            let losing = Health::Losing("refused".to_owned());
            let states = [waiting("no route"), losing, Health::Fine];
            for (minute, health) in (0..).zip(states) {
                line.update(&health, &ledger, start + MIN_GAP * minute);
            }
            assert_eq!(said.take().len(), lines, "{level:?}");
        }
    }

    #[test]
    fn losses_are_said_with_their_number() {
        let (said, mut line) = Said::line();
        let ledger = Ledger::new();
        ledger.refuse(3, DropReason::Refused);
        let health = Health::Losing("404 from http://localhost:4318/".to_owned());
        line.update(&health, &ledger, Instant::now());
        let expected = "hiq: otlp exporter: 3 spans lost: 404 from http://localhost:4318/";
        assert_eq!(said.take(), [expected]);
    }

    #[test]
    fn the_last_word_is_what_was_lost_in_all_and_why_however_lately_a_line_was_said() {
        let (said, mut line) = Said::line();
        let (ledger, start) = (Ledger::new(), Instant::now());
        ledger.refuse(2, DropReason::QueueFull);
        ledger.offer(5);
        line.update(&waiting("connection refused"), &ledger, start);
        said.take();
        ledger.take(5, start).dropped(DropReason::Shutdown);
        line.expect_last_word();
        line.update(&waiting("told to stop"), &ledger, start + MIN_GAP);
        line.last_word(&ledger, start);
        line.last_word(&ledger, start);
        assert_eq!(
            said.take(),
            ["hiq: otlp exporter: 7 spans lost at shutdown: connection refused"]
        );
    }

    #[test]
    fn the_last_word_heeds_the_level() {
        let (said, mut line) = Said::line();
        line.sink = line.sink.clone().at_level(LogLevel::None);
        let ledger = Ledger::new();
        ledger.refuse(2, DropReason::Shutdown);
        line.last_word(&ledger, Instant::now());
        assert_eq!(said.take(), [] as [&str; 0]);
    }

    #[test]
    fn what_waits_on_disk_at_the_end_is_not_called_lost() {
        let (said, mut line) = Said::line();
        let ledger = Ledger::new();
        ledger.offer(5);
        line.expect_last_word();
        line.update(&waiting("connection refused"), &ledger, Instant::now());
        assert_eq!(said.take(), [] as [&str; 0]);
        line.last_word(&ledger, Instant::now());
        assert_eq!(
            said.take(),
            ["hiq: otlp exporter: 5 spans wait: connection refused"]
        );
    }

    #[test]
    fn whatever_a_server_says_becomes_one_line_of_bounded_length() {
        let (said, mut line) = Said::line();
        let words = format!("no\r\nhiq: all is well\x1b[31m{}", "x".repeat(10_000));
        line.update(&waiting(&words), &Ledger::new(), Instant::now());
        let said = said.take().concat();
        assert!(!said.contains(char::is_control), "{said}");
        assert_eq!(said.chars().count(), MAX_CHARS);
    }
}
