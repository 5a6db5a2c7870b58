//! What HiQ keeps beside a span's values: a Python dict, here as the text that Python prints for it.

use super::python::{is_falsy, str_pieces, str_repr, str_repr_of_pieces};

/// A Python dict as its `repr`. Empty unless something is set.
///
/// Keys and values are whatever Python printed: text that is not a literal (`ValueError('x')`) is kept as it is.
///
/// ```
/// use hiq_core::render::Extras;
///
/// let mut extras = Extras::new();
/// extras.set("args", "'int(1)'");
/// extras.set("n", "3");
/// assert_eq!(extras.as_repr(), "{'args': 'int(1)', 'n': 3}");
/// assert_eq!(extras.get("n"), Some("3"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Empty for the empty dict.
    text: String,
}

impl Extras {
    /// The empty dict.
    pub const fn new() -> Self {
        Self {
            text: String::new(),
        }
    }

    /// The dict that Python prints as `repr`, taken as it is.
    pub fn from_repr(repr: impl Into<String>) -> Self {
        let text = repr.into();
        Self {
            text: if text == "{}" { String::new() } else { text },
        }
    }

    /// A dict of these keys and values, each given as its Python `repr`. The keys differ from each other.
    pub fn from_reprs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::new();
        for (key, value) in pairs {
            push_pair(&mut text, key, value);
        }
        if !text.is_empty() {
            text.push('}');
        }
        Self { text }
    }

    /// Sets the value of a text key; `value_repr` is the value as Python's `repr` prints it.
    pub fn set(&mut self, key: &str, value_repr: &str) {
        self.set_repr(&str_repr(key), value_repr);
    }

    /// Takes over the pairs of `other`, as `dict.update` does.
    pub fn update(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
        }
        for (key, value) in other.pairs() {
            self.set_repr(key, value);
        }
    }

    /// The value of a text key, as Python's `repr` prints it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs()
            .into_iter()
            .find(|(name, _)| is_key(name, key))
            .map(|(_, value)| value)
    }

    /// Keys and values, as Python's `repr` prints them. Empty for text that is no dict of literal keys.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        split_dict(&self.text).unwrap_or_default()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// The dict as Python's `repr` prints it; empty for the empty dict.
    pub fn as_repr(&self) -> &str {
        &self.text
    }

    /// The same without these text keys.
    pub(super) fn without(&self, keys: &[&str]) -> Self {
        let pairs = self.pairs();
        if pairs.is_empty() {
            return self.clone();
        }
        Self::from_reprs(
            pairs
                .into_iter()
                .filter(|(name, _)| !keys.iter().any(|key| is_key(name, key))),
        )
    }

    /// The values of these text keys as numbers, and the same without these keys.
    pub(super) fn split_numbers<const N: usize>(
        &self,
        keys: &[&str; N],
    ) -> ([Option<f64>; N], Self) {
        let (mut numbers, mut rest) = ([None; N], String::new());
        let pairs = self.pairs();
        if pairs.is_empty() {
            return (numbers, self.clone());
        }
        for (name, value) in pairs {
            match keys.iter().position(|key| is_key(name, key)) {
                Some(index) => numbers[index] = value.parse().ok(),
                None => push_pair(&mut rest, name, value),
            }
        }
        if !rest.is_empty() {
            rest.push('}');
        }
        (numbers, Self { text: rest })
    }

    /// As HiQ shortens the extras of a tree: no false values, only the end of long texts.
    pub(super) fn concise(&self) -> Self {
        let pairs = self.pairs();
        if pairs.is_empty() {
            return self.clone();
        }
        let mut text = String::new();
        for (key, value) in pairs {
            match str_pieces(value) {
                Some(pieces) if pieces.len() > SHOWN_CHARS => {
                    let end = &pieces[pieces.len() - SHOWN_CHARS..];
                    push_pair(&mut text, key, &str_repr_of_pieces("...", end));
                }
                _ if is_falsy(value) => {}
                _ => push_pair(&mut text, key, value),
            }
        }
        if !text.is_empty() {
            text.push('}');
        }
        Self { text }
    }

    /// The value of a text key as a number.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.parse().ok()
    }

    fn set_repr(&mut self, key: &str, value: &str) {
        let pairs = self.pairs();
        if pairs.is_empty() {
            let mut text = self.text.strip_suffix('}').unwrap_or_default().to_owned();
            push_pair(&mut text, key, value);
            text.push('}');
            self.text = text;
            return;
        }
        let known = pairs.iter().any(|(name, _)| *name == key);
        let replaced = pairs
            .into_iter()
            .map(|(name, old)| (name, if name == key { value } else { old }));
        *self = Self::from_reprs(replaced.chain((!known).then_some((key, value))));
    }
}

/// Characters that remain of a long text.
const SHOWN_CHARS: usize = 20;

fn push_pair(text: &mut String, key: &str, value: &str) {
    text.push_str(if text.is_empty() { "{" } else { ", " });
    text.push_str(key);
    text.push_str(": ");
    text.push_str(value);
}

fn is_key(repr: &str, key: &str) -> bool {
    repr.strip_prefix(['\'', '"'])
        .and_then(|rest| rest.strip_suffix(['\'', '"']))
        == Some(key)
}

/// The pairs of a printed dict. Joined again they are the text they come from, or the answer is `None`.
fn split_dict(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut pairs = Vec::new();
    loop {
        let key_end = end_of_item(rest, b':')?;
        let value = rest[key_end..].strip_prefix(": ")?;
        let value_end = end_of_item(value, b',')?;
        pairs.push((&rest[..key_end], &value[..value_end]));
        match &value[value_end..] {
            "" => return Some(pairs),
            more => rest = more.strip_prefix(", ")?,
        }
    }
}

/// Where `end` stands outside of texts and brackets, or the end; `None` if a text or bracket is open there.
fn end_of_item(text: &str, end: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut open) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => at = end_of_text(bytes, at)?,
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.checked_sub(1)?,
            _ if byte == end && open == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (open == 0).then_some(bytes.len())
}

fn end_of_text(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            byte if byte == bytes[start] => return Some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_end_where_python_ends_them() {
        let text =
            r#"{'a': [1, (2, 3), {'b': 'c, d: e'}], '}': ']', "it's": 'q"\'', 7: b'\x00]['}"#;
        let expected = [
            ("'a'", "[1, (2, 3), {'b': 'c, d: e'}]"),
            ("'}'", "']'"),
            ("\"it's\"", r#"'q"\''"#),
            ("7", r"b'\x00]['"),
        ];
        assert_eq!(Extras::from_repr(text).pairs(), expected);
        assert_eq!(Extras::from_reprs(expected).as_repr(), text);
    }

    #[test]
    fn text_that_is_no_dict_is_kept_whole() {
        for text in [
            "",
            "{",
            "{]: 1}",
            "{'a'}",
            "{'a': it's}",
            "[1]",
            "{'a: 1}",
            "{1: 2,3}",
        ] {
            let extras = Extras::from_repr(text);
            assert_eq!((extras.as_repr(), extras.len()), (text, 0));
            assert_eq!(extras.concise(), extras);
        }
    }

    #[test]
    fn update_replaces_in_place_and_appends() {
        let mut extras = Extras::from_repr("{'a': 1, 'b': [2]}");
        extras.update(&Extras::from_repr("{'b': 3, 'c': 'x'}"));
        assert_eq!(extras.as_repr(), "{'a': 1, 'b': 3, 'c': 'x'}");
        let mut opaque = Extras::from_repr("{<it's, 1>: 2}");
        opaque.set("a", "1");
        assert_eq!(opaque.as_repr(), "{<it's, 1>: 2, 'a': 1}");
    }
}
