//! Times as HiQ prints them: in the local time of the machine, as `datetime.fromtimestamp` computes it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Extras;
use super::python::{Digits, float_repr};

/// The rules by which a moment becomes a local date and time.
///
/// ```
/// use hiq_core::render::LocalZone;
/// let zone = LocalZone::named("America/New_York")?;
/// assert_eq!(zone.date_time(1636000000.123456), "2021-11-04 00:26:40.123456");
/// # Ok::<(), hiq_core::render::UnknownZone>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LocalZone(TimeZone);

/// The system has no rules for this time zone.
#[derive(Debug, thiserror::Error)]
#[error(
    "no time zone {name:?} on this system; names are like Europe/Lisbon, or EST5EDT,M3.2.0,M11.1.0"
)]
pub struct UnknownZone {
    name: String,
    source: jiff::Error,
}

impl LocalZone {
    /// The zone of this machine: `TZ`, else `/etc/localtime`, else UTC. Looked up at most every five minutes.
    pub fn system() -> Self {
        Self(TimeZone::system())
    }

    /// The zone of this name, as `TZ` would hold it.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        TimeZone::get(name)
            .or_else(|error| TimeZone::posix(name).map_err(|_| error))
            .map(Self)
            .map_err(|source| UnknownZone {
                name: name.to_owned(),
                source,
            })
    }

    /// Forgets what [`LocalZone::system`] remembers, for a process that has changed its `TZ`.
    pub fn forget_system() {
        jiff::tz::reset_system_time_zone_cache();
    }

    /// HiQ's `ts_to_dt`: seconds since 1970 as local date and time with microseconds. What is too early to be a time
    /// (before 1995-11-17) is printed as a number; what the calendar does not reach is empty.
    pub fn date_time(&self, unix_seconds: f64) -> String {
        const OLDEST: f64 = 816_639_732.0;
        if unix_seconds < OLDEST {
            return float_repr(unix_seconds);
        }
        let Some(moment) = self.moment(unix_seconds) else {
            return String::new();
        };
        let mut text = Digits::new();
        moment.push_date(&mut text);
        moment.push_time(&mut text);
        text.text().to_owned()
    }

    /// HiQ's `ts_pair_to_dt`: two moments, the date of the second only where it differs. `None` outside of the years
    /// 1 to 9999.
    pub fn date_time_pair(&self, start_unix_seconds: f64, end_unix_seconds: f64) -> Option<String> {
        let mut text = String::with_capacity(56);
        self.push_pair(&mut text, start_unix_seconds, end_unix_seconds)?;
        Some(text)
    }

    pub(super) fn push_pair(&self, out: &mut String, start: f64, end: f64) -> Option<()> {
        let (start, end) = (self.moment(start)?, self.moment(end)?);
        let mut text = Digits::new();
        start.push_date(&mut text);
        start.push_time(&mut text);
        text.push(b" - ");
        if start.date != end.date {
            end.push_date(&mut text);
        }
        end.push_time(&mut text);
        out.push_str(text.text());
        Some(())
    }

    fn moment(&self, unix_seconds: f64) -> Option<Moment> {
        let (seconds, micros) = whole_and_micros(unix_seconds)?;
        // The last hours of the year 9999 are beyond jiff's timestamps; no rule changes there.
        let clamped = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let offset = self
            .0
            .to_offset(Timestamp::from_second(clamped).ok()?)
            .seconds();
        Moment::new(seconds + i64::from(offset), micros)
    }
}

/// Rounded to microseconds as `datetime.fromtimestamp` does: the part after the point alone, halves to even.
fn whole_and_micros(unix_seconds: f64) -> Option<(i64, u64)> {
    const FARTHEST: f64 = 1e12;
    if !unix_seconds.is_finite() || unix_seconds.abs() > FARTHEST {
        return None;
    }
    let micros = (unix_seconds.fract() * 1e6).round_ties_even();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both are integers below 1e12"
    )]
    let (seconds, micros) = (unix_seconds.trunc() as i64, micros as i64);
    let micros_in_second = micros.rem_euclid(1_000_000).unsigned_abs();
    Some((seconds + micros.div_euclid(1_000_000), micros_in_second))
}

/// A local date and time.
struct Moment {
    /// Year, month, day.
    date: (u64, u64, u64),
    second_of_day: u64,
    micros: u64,
}

impl Moment {
    fn new(local_seconds: i64, micros: u64) -> Option<Self> {
        const DAY: i64 = 86_400;
        let (year, month, day) = civil_date(local_seconds.div_euclid(DAY));
        if !(1..=9999).contains(&year) {
            return None;
        }
        let [year, month, day, second_of_day] =
            [year, month, day, local_seconds.rem_euclid(DAY)].map(i64::unsigned_abs);
        Some(Self {
            date: (year, month, day),
            second_of_day,
            micros,
        })
    }

    fn push_date(&self, out: &mut Digits) {
        let (year, month, day) = self.date;
        // C's %Y does not pad.
        out.push_integer(year, 1);
        out.push(b"-");
        out.push_integer(month, 2);
        out.push(b"-");
        out.push_integer(day, 2);
        out.push(b" ");
    }

    fn push_time(&self, out: &mut Digits) {
        out.push_integer(self.second_of_day / 3600, 2);
        out.push(b":");
        out.push_integer(self.second_of_day / 60 % 60, 2);
        out.push(b":");
        out.push_integer(self.second_of_day % 60, 2);
        out.push(b".");
        out.push_integer(self.micros, 6);
    }
}

/// Year, month and day of the proleptic Gregorian calendar: the year is counted from March, in eras of 400 years.
fn civil_date(days_since_1970: i64) -> (i64, i64, i64) {
    const DAYS_BEFORE_1970: i64 = 719_468;
    const DAYS_PER_ERA: i64 = 146_097;
    let days = days_since_1970 + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// One start or end of a span, as HiQ's log monkey king writes it.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// Id of the tree: the name of its metric.
    pub tid: &'a str,
    /// Name of the span. Its first two characters, HiQ's `__`, are not written.
    pub name: &'a str,
    /// Value read.
    pub value: f64,
    /// What the span carries.
    pub extras: &'a Extras,
    /// Whether the span starts here.
    pub is_start: bool,
    /// Process that writes the line.
    pub pid: u32,
}

impl LogLine<'_> {
    /// The line, without a line end.
    pub fn text(&self, zone: &LocalZone) -> String {
        let monkey = if self.is_start { '🐵' } else { '🙈' };
        let at = self.extras.number("time");
        let time = zone.date_time(at.unwrap_or(self.value));
        let name = self
            .name
            .char_indices()
            .nth(2)
            .map_or("", |(start, _)| &self.name[start..]);
        let mut line = format!(
            "{time} - [{}] [🆔 {}] {monkey} [{name}]",
            self.tid, self.pid
        );
        if at.is_some() {
            line.push(' ');
            line.push_str(&float_repr(self.value));
        }
        if !self.extras.is_empty() {
            line.push(' ');
            line.push_str(self.extras.as_repr());
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates_and_the_calendar_ends_with_the_year_9999() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(-719_162), (1, 1, 1));
        let utc = LocalZone::named("UTC").unwrap();
        assert_eq!(
            utc.date_time(253_402_300_799.0),
            "9999-12-31 23:59:59.000000"
        );
        assert_eq!(utc.date_time(253_402_300_800.0), "");
        assert_eq!(utc.date_time_pair(0.0, f64::NAN), None);
        assert_eq!(utc.date_time_pair(0.0, -62_135_596_801.0), None);
    }

    #[test]
    fn a_zone_may_be_a_rule_and_an_unknown_one_is_an_error() {
        let rule = LocalZone::named("EST5EDT,M3.2.0,M11.1.0").unwrap();
        assert_eq!(
            rule.date_time(1_636_000_000.5),
            "2021-11-04 00:26:40.500000"
        );
        let error = LocalZone::named("Middle/Earth").unwrap_err().to_string();
        assert!(error.contains("\"Middle/Earth\""), "{error}");
    }
}
