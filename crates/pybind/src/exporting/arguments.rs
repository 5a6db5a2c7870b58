//! Settings as Python gives them: a dict whose values are looked at by name.

use std::time::Duration;

use hiq_core::config::ConfigError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

use crate::module::errors;

/// Arguments of `init`, with what the environment says where they say nothing.
pub(super) struct Arguments<'a, 'py> {
    pub(super) dict: &'a Bound<'py, PyDict>,
}

impl<'py> Arguments<'_, 'py> {
    pub(super) fn get(&self, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.dict.get_item(key)?.filter(|value| !value.is_none()))
    }

    pub(super) fn text(&self, key: &str) -> PyResult<Option<String>> {
        self.get(key)?
            .map(|value| value.extract().map_err(|_| no_text(key, &value)))
            .transpose()
    }

    pub(super) fn number(&self, key: &str) -> PyResult<Option<f64>> {
        self.get(key)?
            .map(|value| {
                value
                    .extract()
                    .map_err(|_| wrong_type(key, &value, "a number"))
            })
            .transpose()
    }

    pub(super) fn count(&self, key: &str) -> PyResult<Option<usize>> {
        self.get(key)?
            .map(|value| value.extract().map_err(|_| no_count(key, &value)))
            .transpose()
    }

    pub(super) fn flag(&self, key: &str) -> PyResult<Option<bool>> {
        self.get(key)?
            .map(|value| {
                value
                    .extract()
                    .map_err(|_| wrong_type(key, &value, "True or False"))
            })
            .transpose()
    }

    pub(super) fn seconds(&self, key: &str) -> PyResult<Option<Duration>> {
        let Some(seconds) = self.number(key)? else {
            return Ok(None);
        };
        Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| {
            errors::config(&ConfigError::new(
                key,
                format!("{seconds} is not a number of seconds"),
                "use a finite number, 0 or more",
            ))
        })
    }

    /// Names that nobody knows are mistakes, not wishes.
    pub(super) fn refuse_unknown(&self, known: &[&str]) -> PyResult<()> {
        for key in self.dict.keys() {
            let key: String = key.extract()?;
            if !known.contains(&key.as_str()) {
                let fix = format!("known are {}", known.join(", "));
                return Err(errors::config(&ConfigError::new(
                    key,
                    "is not a setting",
                    fix,
                )));
            }
        }
        Ok(())
    }
}

/// Texts leave as UTF-8; the text itself may be a secret.
fn no_text(key: &str, value: &Bound<'_, PyAny>) -> PyErr {
    if !value.is_instance_of::<PyString>() {
        return wrong_type(key, value, "a text");
    }
    let problem = "the text holds half of a surrogate pair";
    errors::config(&ConfigError::new(
        key,
        problem,
        "give a text that can be written as UTF-8",
    ))
}

fn no_count(key: &str, value: &Bound<'_, PyAny>) -> PyErr {
    if !value.is_instance_of::<PyInt>() {
        return wrong_type(key, value, "a whole number");
    }
    errors::config(&ConfigError::new(
        key,
        format!("{value} was given"),
        "give a whole number of 1 or more",
    ))
}

pub(super) fn wrong_type(key: &str, value: &Bound<'_, PyAny>, wanted: &str) -> PyErr {
    let found = value
        .get_type()
        .name()
        .map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    errors::config(&ConfigError::new(
        key,
        format!("{found} was given"),
        format!("give {wanted}"),
    ))
}
