//! What Prometheus calls things: names of metrics and labels, units, and numbers in labels.
//!
//! Sources: OpenTelemetry specification, `compatibility/prometheus_and_openmetrics.md`; prometheus/docs, `practices/naming.md`.

use std::borrow::Cow;
use std::fmt::Write as _;

use hiq_core::metric::{Descriptor, Kind};

/// Which characters a name may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alphabet {
    /// Letters, digits, `_` and, in names of metrics, `:`. What every version reads; anything else becomes `_`.
    #[default]
    Classic,
    /// Any UTF-8: Prometheus 3 and newer.
    Utf8,
}

/// The name of a family: with its unit, and for a gauge of a share `_ratio`; without a counter's `_total`.
///
/// ```
/// use hiq_core::metric::{Descriptor, Kind};
/// use hiq_prometheus::names::{Alphabet, family_name};
///
/// let duration = Descriptor::new("http.server.duration", Kind::Histogram).with_unit("s");
/// assert_eq!(family_name(&duration, Alphabet::Classic), "http_server_duration_seconds");
/// assert_eq!(family_name(&duration, Alphabet::Utf8), "http.server.duration_seconds");
/// let orders = Descriptor::new("orders_total", Kind::COUNTER).with_unit("{order}");
/// assert_eq!(family_name(&orders, Alphabet::Classic), "orders");
/// // Nothing but underscores would be left of it.
/// let far = Descriptor::new("日本", Kind::Gauge);
/// assert_eq!(family_name(&far, Alphabet::Classic), "U___65e5__672c_");
/// ```
pub fn family_name(descriptor: &Descriptor, alphabet: Alphabet) -> String {
    let is_counter = descriptor.kind() == Kind::COUNTER;
    let given = without_total(descriptor.name(), is_counter);
    let mut name = match alphabet {
        // `orders.total` as well.
        Alphabet::Classic => {
            without_total(&classic_name(given, is_metric_char), is_counter).to_owned()
        }
        Alphabet::Utf8 => given.to_owned(),
    };
    if name.is_empty() {
        name.push_str("unnamed");
    }
    let unit = unit(descriptor, alphabet);
    if !unit.is_empty() && !has_word(&name, &unit) {
        name.push('_');
        name.push_str(&unit);
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) && alphabet == Alphabet::Classic {
        name.insert(0, '_');
    }
    name
}

fn without_total(name: &str, is_counter: bool) -> &str {
    let base = name.strip_suffix("_total");
    base.filter(|base| is_counter && !base.is_empty())
        .unwrap_or(name)
}

/// The unit in Prometheus' words: `s` is `seconds`, `By/s` is `bytes_per_second`. Empty where there is none.
pub fn unit(descriptor: &Descriptor, alphabet: Alphabet) -> String {
    if descriptor.unit() == "1" && descriptor.kind() == Kind::Gauge {
        return "ratio".to_owned();
    }
    let (main, per) = match descriptor.unit().split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (descriptor.unit().trim(), ""),
    };
    let clean = |word: &'static str, given: &str| -> String {
        let word = if word.is_empty() { given } else { word };
        match alphabet {
            Alphabet::Classic => classic(word, |c| c.is_ascii_alphanumeric())
                .trim_matches('_')
                .to_owned(),
            Alphabet::Utf8 => word.to_owned(),
        }
    };
    // What stands in braces is a remark.
    let said = |unit: &str| !unit.is_empty() && !unit.contains(['{', '}']);
    let main = match main {
        "1" => String::new(),
        main if said(main) => clean(unit_word(main), main),
        _ => String::new(),
    };
    if !said(per) {
        return main;
    }
    let per = clean(per_word(per), per);
    match main.as_str() {
        "" => format!("per_{per}"),
        main => format!("{main}_per_{per}"),
    }
}

/// UCUM's units; empty for those that Prometheus calls the same.
fn unit_word(unit: &str) -> &'static str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" | "kBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        _ => "",
    }
}

/// Behind the stroke, in the singular.
fn per_word(unit: &str) -> &'static str {
    match unit {
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => "",
    }
}

/// True when `unit` stands in `name` as a word or words of its own.
fn has_word(name: &str, unit: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
    name.match_indices(unit).any(|(at, _)| {
        is_edge(name[..at].chars().next_back()) && is_edge(name[at + unit.len()..].chars().next())
    })
}

/// The name of a label. Names that begin with two underscores are Prometheus' own, so `key` is put before them.
///
/// ```
/// use hiq_prometheus::names::{Alphabet, label_name};
///
/// assert_eq!(label_name("http.method", Alphabet::Classic), "http_method");
/// assert_eq!(label_name("http.method", Alphabet::Utf8), "http.method");
/// assert_eq!(label_name("__name__", Alphabet::Utf8), "key__name__");
/// assert_eq!(label_name("1st", Alphabet::Classic), "key_1st");
/// assert_eq!(label_name("城市", Alphabet::Classic), "U___57ce__5e02_");
/// ```
pub fn label_name(name: &str, alphabet: Alphabet) -> Cow<'_, str> {
    let clean = match alphabet {
        Alphabet::Classic => classic_name(name, |c| c.is_ascii_alphanumeric()),
        Alphabet::Utf8 => Cow::Borrowed(name),
    };
    let is_reserved = clean.is_empty() || clean.starts_with("__");
    if is_reserved {
        return format!("key{clean}").into();
    }
    if alphabet == Alphabet::Classic && clean.starts_with(|first: char| first.is_ascii_digit()) {
        return format!("key_{clean}").into();
    }
    clean
}

fn is_metric_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// The name with an underscore for each run of characters that are neither `allowed` nor underscores themselves.
fn classic(name: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    if name.chars().all(|c| allowed(c) || c == '_') {
        return name.into();
    }
    let mut clean = String::with_capacity(name.len());
    let mut in_run = false;
    for c in name.chars() {
        if allowed(c) || c == '_' {
            clean.push(c);
            in_run = false;
        } else if !in_run {
            clean.push('_');
            in_run = true;
        }
    }
    clean.into()
}

/// The same, or by its characters' values where nothing but underscores would be left.
fn classic_name(name: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let clean = classic(name, allowed);
    let says_nothing = !clean.chars().any(|c| c.is_ascii_alphanumeric());
    if says_nothing && clean != name {
        return by_value(name).into();
    }
    clean
}

/// What Prometheus' scheme `values` makes of a name: told apart from others where nothing but underscores would be left.
/// Source: prometheus/docs, `escaping_schemes.md`.
fn by_value(name: &str) -> String {
    let mut escaped = "U__".to_owned();
    for c in name.chars() {
        if c == '_' {
            escaped.push_str("__");
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(escaped, "_{:x}_", u32::from(c));
        }
    }
    escaped
}

/// A number as it stands in the labels `le` and `quantile`: the canonical form of `OpenMetrics`, in which Prometheus 3 stores them.
///
/// ```
/// use hiq_prometheus::names::label_number;
///
/// assert_eq!(label_number(1.0), "1.0");
/// assert_eq!(label_number(0.99), "0.99");
/// assert_eq!(label_number(2_500_000.0), "2.5e+06");
/// assert_eq!(label_number(f64::INFINITY), "+Inf");
/// ```
pub fn label_number(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // The shortest digits that read back as the same double, and their power of ten.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests;
