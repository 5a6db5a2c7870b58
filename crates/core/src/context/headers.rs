//! The headers of a request, whatever they are called in.

use std::borrow::Cow;

/// Headers by their names in lower case, in their order.
#[derive(Debug)]
pub(super) struct Headers<'h>(Vec<(Cow<'h, str>, &'h str)>);

impl<'h> Headers<'h> {
    pub(super) fn new(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Self {
        let headers = headers.into_iter();
        Self(headers.map(|(name, value)| (lower(name), value)).collect())
    }

    /// The first of this name.
    pub(super) fn first(&self, name: &str) -> Option<&'h str> {
        self.all(name).next()
    }

    /// All of this name as the one list that HTTP takes them for.
    pub(super) fn joined(&self, name: &str) -> Option<Cow<'h, str>> {
        let mut all = self.all(name);
        let first = Cow::Borrowed(all.next()?);
        Some(all.fold(first, |list, value| Cow::Owned(format!("{list},{value}"))))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'h str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| *value)
    }

    /// Those whose names begin with `prefix`, without it.
    pub(super) fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &'h str)> {
        let named = self.0.iter();
        named.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, *value)))
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}
