//! Settings that the environment has words for: what is only warned of there is an error in code.

use hiq_core::config::{ConfigError, Env, LogLevel, Settings};
use hiq_core::sample::Sampler;
use pyo3::prelude::*;

use super::Arguments;
use crate::module::errors;

const NAME: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// What `sampler` and `sampler_arg` say together; one without the other is completed by the environment.
pub(super) fn sampler(arguments: &Arguments<'_, '_>) -> PyResult<Option<Sampler>> {
    let (name, ratio) = (arguments.text("sampler")?, arguments.number("sampler_arg")?);
    if let Some(ratio) = ratio
        && !(0.0..=1.0).contains(&ratio)
    {
        let problem = format!("{ratio} is no share of the traces");
        return refused("sampler_arg", problem, "give a number from 0 to 1");
    }
    let env = Env::process();
    let name = match (name, ratio) {
        (Some(name), _) => name,
        // What the environment alone says is read, and warned of, with the rest of it.
        (None, None) => return Ok(None),
        (None, Some(ratio)) => {
            let Some(name) = env.text(NAME) else {
                let problem = format!("{ratio} was given, but no sampler");
                let fix = "give sampler=\"parentbased_traceidratio\" as well";
                return refused("sampler_arg", problem, fix);
            };
            name.to_owned()
        }
    };
    let ratio = ratio
        .map(|ratio| ratio.to_string())
        .or_else(|| env.text(ARGUMENT).map(str::to_owned));
    let pairs = [(NAME, name)]
        .into_iter()
        .chain(ratio.map(|ratio| (ARGUMENT, ratio)));
    Ok(Some(as_in_env("sampler", pairs)?.sampler))
}

pub(super) fn log_level(level: &str) -> PyResult<LogLevel> {
    Ok(as_in_env("log_level", [("OTEL_LOG_LEVEL", level.to_owned())])?.log_level)
}

/// Reads a value as the variable of the same meaning is read.
fn as_in_env(
    place: &str,
    pairs: impl IntoIterator<Item = (&'static str, String)>,
) -> PyResult<Settings> {
    let read = Settings::from_env(&Env::from_pairs(pairs));
    let Some(warning) = read.warnings.first() else {
        return Ok(read);
    };
    // Nothing is ignored or replaced here.
    let problem = warning.message.split(';').next().unwrap_or_default();
    let problem = problem.trim_end_matches(" and is ignored");
    let place = if warning.place == ARGUMENT {
        ARGUMENT
    } else {
        place
    };
    refused(place, problem.to_owned(), "give one that is")
}

fn refused<T>(place: &str, problem: String, fix: &str) -> PyResult<T> {
    Err(errors::config(&ConfigError::new(place, problem, fix)))
}
