//! Where variables come from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// A snapshot of environment variables: the process's own, or a map in tests.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, OsString>,
    #[cfg(test)]
    pub(super) asked: std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>,
}

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held<'e> {
    Unset,
    Text(&'e str),
    NotUtf8,
}

impl Env {
    /// The environment of this process, as it is now. Later changes are not seen.
    pub fn process() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// These variables and no others; of a repeated name the last counts.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<OsString>,
    {
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self {
            variables: pairs.collect(),
            #[cfg(test)]
            asked: std::sync::Arc::default(),
        }
    }

    /// The value of `name` without surrounding white space. Empty counts as unset, and so does what is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.held(name) {
            Held::Text(text) => Some(text),
            Held::Unset | Held::NotUtf8 => None,
        }
    }

    pub(super) fn held(&self, name: &str) -> Held<'_> {
        #[cfg(test)]
        self.asked.lock().unwrap().insert(name.to_owned());
        match self
            .variables
            .get(name)
            .map(|value| value.to_str().map(str::trim))
        {
            None | Some(Some("")) => Held::Unset,
            Some(Some(text)) => Held::Text(text),
            Some(None) => Held::NotUtf8,
        }
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
