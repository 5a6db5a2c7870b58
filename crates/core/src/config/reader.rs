//! Turns variables into values by OpenTelemetry's rules, and remembers what could not be understood.

use std::fmt;
use std::time::Duration;

use super::env::Held;
use super::{Env, Secret, Warning, headers};

/// Reads variables; each method takes names from the strongest to the weakest.
#[derive(Debug)]
pub struct Reader<'e> {
    env: &'e Env,
    warnings: Vec<Warning>,
}

impl<'e> Reader<'e> {
    /// A reader of `env` that has nothing to warn of yet.
    pub fn new(env: &'e Env) -> Self {
        Self {
            env,
            warnings: Vec::new(),
        }
    }

    /// What was not understood so far.
    pub fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// Adds a warning about `place`.
    pub fn warn(&mut self, place: &str, message: impl Into<String>) {
        self.warnings.push(Warning::new(place, message));
    }

    /// Files of declarative configuration switch all other variables off in OpenTelemetry; ignoring everything would
    /// leave the user with nothing, so the variables count.
    pub(super) fn warn_of_config_file(&mut self) {
        if self.text("OTEL_CONFIG_FILE").is_some() {
            self.warn(
                "OTEL_CONFIG_FILE",
                "configuration files are not supported; the other OTEL_ variables are used",
            );
        }
    }

    /// The text of `name`.
    pub fn text(&mut self, name: &str) -> Option<&'e str> {
        match self.env.held(name) {
            Held::Text(text) => Some(text),
            Held::Unset => None,
            Held::NotUtf8 => {
                self.warn(name, "the value is not UTF-8 and is ignored");
                None
            }
        }
    }

    /// The text of the first of `names` that is set, with that name.
    pub fn first<'n>(&mut self, names: &[&'n str]) -> Option<(&'n str, &'e str)> {
        names
            .iter()
            .find_map(|name| Some((*name, self.text(name)?)))
    }

    /// The first of `names` that `parse` understands; the others are warned of.
    fn parsed<T>(
        &mut self,
        names: &[&str],
        wanted: &dyn fmt::Display,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        for name in names {
            let Some(text) = self.text(name) else {
                continue;
            };
            if let Some(value) = parse(text) {
                return Some(value);
            }
            let shown: String = text.chars().take(64).collect();
            self.warn(name, format!("`{shown}` is not {wanted} and is ignored"));
        }
        None
    }

    /// Only `true`, in any case, is true; anything but `false` is warned of and false.
    pub fn flag(&mut self, names: &[&str]) -> Option<bool> {
        let (name, text) = self.first(names)?;
        let is_true = text.eq_ignore_ascii_case("true");
        if !is_true && !text.eq_ignore_ascii_case("false") {
            let shown: String = text.chars().take(64).collect();
            self.warn(
                name,
                format!("`{shown}` is neither true nor false and counts as false"),
            );
        }
        Some(is_true)
    }

    /// A whole number of at least `min`.
    pub fn number<T>(&mut self, names: &[&str], min: T) -> Option<T>
    where
        T: std::str::FromStr + PartialOrd + fmt::Display + Copy,
    {
        let wanted = format!("a whole number of at least {min}");
        self.parsed(names, &wanted, |text| {
            text.parse().ok().filter(|number| *number >= min)
        })
    }

    /// A whole number between `min` and `max`.
    pub fn number_up_to<T>(&mut self, names: &[&str], min: T, max: T) -> Option<T>
    where
        T: std::str::FromStr + PartialOrd + fmt::Display + Copy,
    {
        let wanted = format!("a whole number from {min} to {max}");
        self.parsed(names, &wanted, |text| {
            text.parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
        })
    }

    /// A number between `min` and `max`.
    pub fn decimal(&mut self, names: &[&str], min: f64, max: f64) -> Option<f64> {
        let wanted = format!("a number from {min} to {max}");
        self.parsed(names, &wanted, |text| {
            text.parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
        })
    }

    /// A whole number of milliseconds.
    pub fn millis(&mut self, names: &[&str]) -> Option<Duration> {
        self.parsed(names, &"a whole number of milliseconds", |text| {
            text.parse().ok().map(Duration::from_millis)
        })
    }

    /// Headers from `key=value,key=value`, percent-encoded; of a repeated name the last value. Warnings show names only.
    pub fn headers(&mut self, name: &str) -> Option<Vec<(String, Secret)>> {
        let text = self.text(name)?;
        Some(headers::parse(self, name, text))
    }

    /// One of a few words, in any case.
    pub fn choice<T: Copy>(&mut self, names: &[&str], choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let wanted = format!("one of {}", words.join(", "));
        self.parsed(names, &wanted, |text| {
            let chosen = choices
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text));
            chosen.map(|(_, value)| *value)
        })
    }

    /// Words between commas, in lower case, each once.
    pub fn words(&mut self, name: &str) -> Option<Vec<String>> {
        let mut words = Vec::new();
        for word in self
            .text(name)?
            .split(',')
            .map(|word| word.trim().to_ascii_lowercase())
        {
            if !word.is_empty() && !words.contains(&word) {
                words.push(word);
            }
        }
        (!words.is_empty()).then_some(words)
    }
}

/// In variables that hold a timeout, 0 means no limit.
pub fn unlimited_if_zero(timeout: Duration) -> Option<Duration> {
    (!timeout.is_zero()).then_some(timeout)
}
