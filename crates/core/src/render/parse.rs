//! Reading the string that `serial.rs` writes, whoever wrote it.

use std::num::{ParseFloatError, ParseIntError};

use super::Extras;
use super::arena::Node;
use super::node::NodeId;
use super::tree::HiqTree;

/// A string that is not a tree of HiQ. Offsets are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTreeError {
    /// It begins differently.
    #[error("not a HiQ tree: it starts with {start:?}, a tree starts with \"t1^\"")]
    NotATree {
        /// The first characters.
        start: String,
    },
    /// Written by a version unknown here.
    #[error("version {version:?} at byte {offset} is not known; version 1 is")]
    UnknownVersion {
        /// What stands for the version.
        version: String,
        /// Where.
        offset: usize,
    },
    /// It ends too early.
    #[error("cut off: {expected} is missing at byte {offset}")]
    Truncated {
        /// What should follow.
        expected: &'static str,
        /// Where.
        offset: usize,
    },
    /// Something else stands in the place of a character of the format.
    #[error("{found:?} at byte {offset}, where {expected} should be")]
    Unexpected {
        /// What stands there.
        found: char,
        /// What should.
        expected: &'static str,
        /// Where.
        offset: usize,
    },
    /// A whole number that is none, or is out of range.
    #[error("{field} is {text:?} before byte {offset}, which is not a whole number in range")]
    BadInteger {
        /// Which number.
        field: &'static str,
        /// What stands there.
        text: String,
        /// Where it ends.
        offset: usize,
        /// Why.
        source: ParseIntError,
    },
    /// A number that is none.
    #[error("{field} is {text:?} before byte {offset}, which is not a number")]
    BadFloat {
        /// Which number.
        field: &'static str,
        /// What stands there.
        text: String,
        /// Where it ends.
        offset: usize,
        /// Why.
        source: ParseFloatError,
    },
    /// A dict that is longer than what is left.
    #[error("a dict of {length} characters at byte {offset}, but the string ends before")]
    DictTooLong {
        /// Its length by the string.
        length: usize,
        /// Where it starts.
        offset: usize,
    },
    /// A dict that is not in braces: its length is wrong.
    #[error("the {length} characters from byte {offset} are not a dict: its length is wrong")]
    NotADict {
        /// Its length by the string.
        length: usize,
        /// Where it starts.
        offset: usize,
    },
    /// More nodes than a tree can hold.
    #[error("more spans than a tree can hold")]
    TooManySpans,
}

impl HiqTree {
    /// The tree that HiQ, or [`HiqTree::repr`], has written. Blanks and line ends behind it are skipped.
    pub fn parse(text: &str) -> Result<Self, ParseTreeError> {
        let mut reader = Reader { text, at: 0 };
        let mut tree = reader.header()?;
        tree.nodes.clear();
        reader.nodes(&mut tree)?;
        reader.end()?;
        Ok(tree)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Result<HiqTree, ParseTreeError> {
        if !self.text.starts_with('t') {
            let start = self.text.chars().take(8).collect();
            return Err(ParseTreeError::NotATree { start });
        }
        self.version(b'^', "the ^ after the version")?;
        let mut tree = self.header_fields()?;
        tree.extras = self.dict()?.unwrap_or_default();
        self.expect(b'%', "the % before the nodes")?;
        self.expect(b'n', "the n of the nodes")?;
        self.at -= 1;
        self.version(b'*', "the * after the version of the nodes")?;
        Ok(tree)
    }

    /// Up to the length of the dict. An id may hold commas and `#`, so the fields are told from the right, and a `#`
    /// without them on its left belongs to the id.
    fn header_fields(&mut self) -> Result<HiqTree, ParseTreeError> {
        const MOST_HASHES: usize = 64;
        let start = self.at;
        let mut first_error = None;
        for (hash, _) in self.text[start..].match_indices('#').take(MOST_HASHES) {
            match header_of(&self.text[start..start + hash], start + hash) {
                Ok((tree, length)) => {
                    self.at = start + hash - length.len();
                    return Ok(tree);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        let expected = "the # after the length of the tree's dict";
        Err(first_error.unwrap_or(ParseTreeError::Truncated {
            expected,
            offset: self.text.len(),
        }))
    }

    fn nodes(&mut self, tree: &mut HiqTree) -> Result<(), ParseTreeError> {
        self.expect(b'[', "the [ of a node")?;
        let root = self.node(tree, NodeId::NONE)?;
        let mut open = root;
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'[') => {
                    self.at += 1;
                    open = self.node(tree, open)?;
                }
                Some(b']') => {
                    self.at += 1;
                    if open == root {
                        return Ok(());
                    }
                    open = tree.node(open).parent;
                }
                _ => return Err(self.unexpected("a [ or ]")),
            }
        }
    }

    fn node(&mut self, tree: &mut HiqTree, parent: NodeId) -> Result<NodeId, ParseTreeError> {
        let name = self.until(b',', "the comma after a name")?;
        let start = float(
            "start",
            self.until(b',', "the comma after a start")?,
            self.at,
        )?;
        let end = float("end", self.until(b',', "the comma after an end")?, self.at)?;
        let nid = integer(
            "node number",
            self.until(b'$', "the $ after a node number")?,
            self.at,
        )?;
        let extras = self.dict()?.map(Box::new);
        let name = tree.names.index(name);
        let node = Node {
            nid,
            parent,
            extras,
            ..Node::new(name, start, end)
        };
        let id = tree.push(node).map_err(|_| ParseTreeError::TooManySpans)?;
        if parent != NodeId::NONE {
            tree.link(parent, id);
        }
        Ok(id)
    }

    fn dict(&mut self) -> Result<Option<Extras>, ParseTreeError> {
        let length = self.until(b'#', "the # after the length of a dict")?;
        let length: usize = integer("length of a dict", length, self.at)?;
        if length == 0 {
            return Ok(None);
        }
        let offset = self.at;
        let dict = first_chars(&self.text[offset..], length)
            .ok_or(ParseTreeError::DictTooLong { length, offset })?;
        if !(dict.starts_with('{') && dict.ends_with('}')) {
            return Err(ParseTreeError::NotADict { length, offset });
        }
        self.at += dict.len();
        Ok(Some(Extras::from_repr(dict)))
    }

    /// A letter, `1`, and the end of the version.
    fn version(&mut self, end: u8, expected: &'static str) -> Result<(), ParseTreeError> {
        let offset = self.at + 1;
        let version = &self.until(end, expected)?[1..];
        if version == "1" {
            return Ok(());
        }
        let version = version.chars().take(16).collect();
        Err(ParseTreeError::UnknownVersion { version, offset })
    }

    fn until(&mut self, end: u8, expected: &'static str) -> Result<&'a str, ParseTreeError> {
        let rest = &self.text[self.at..];
        let Some(length) = rest.find(char::from(end)) else {
            return Err(ParseTreeError::Truncated {
                expected,
                offset: self.text.len(),
            });
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), ParseTreeError> {
        if self.text.as_bytes().get(self.at) != Some(&byte) {
            return Err(self.unexpected(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn end(&self) -> Result<(), ParseTreeError> {
        let rest = &self.text[self.at..];
        if rest.trim_ascii().is_empty() {
            Ok(())
        } else {
            Err(self.unexpected("the end"))
        }
    }

    fn unexpected(&self, expected: &'static str) -> ParseTreeError {
        let offset = self.at;
        match self.text[offset..].chars().next() {
            Some(found) => ParseTreeError::Unexpected {
                found,
                expected,
                offset,
            },
            None => ParseTreeError::Truncated { expected, offset },
        }
    }
}

/// The fields before the `#` at `offset`, and the length of the dict, which is the last of them.
fn header_of(fields: &str, offset: usize) -> Result<(HiqTree, &str), ParseTreeError> {
    let mut from_right = fields.rsplitn(8, ',');
    let mut next = || {
        let expected = "one of the eight fields of the tree";
        from_right
            .next()
            .ok_or(ParseTreeError::Truncated { expected, offset })
    };
    let length = next()?;
    let [zin, monotonic, depth, count, mode, pid, tid] = [
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
    ];
    let mut tree = HiqTree::new(tid);
    pid.clone_into(&mut tree.pid);
    tree.mode = integer("mode", mode, offset)?;
    tree.count = integer("count", count, offset)?;
    tree.depth = integer("depth", depth, offset)?;
    tree.monotonic = integer::<i32>("monotonic", monotonic, offset)? != 0;
    tree.zin_threshold = float("zero-span threshold", zin, offset)?;
    integer::<usize>("length of a dict", length, offset)?;
    Ok((tree, length))
}

fn integer<T: std::str::FromStr<Err = ParseIntError>>(
    field: &'static str,
    text: &str,
    offset: usize,
) -> Result<T, ParseTreeError> {
    text.parse().map_err(|source| ParseTreeError::BadInteger {
        field,
        text: start_of(text),
        offset,
        source,
    })
}

fn float(field: &'static str, text: &str, offset: usize) -> Result<f64, ParseTreeError> {
    text.parse().map_err(|source| ParseTreeError::BadFloat {
        field,
        text: start_of(text),
        offset,
        source,
    })
}

/// As much of a wrong text as a message should hold.
fn start_of(text: &str) -> String {
    text.chars().take(40).collect()
}

fn first_chars(text: &str, count: usize) -> Option<&str> {
    match text.get(..count) {
        Some(start) if start.is_ascii() => Some(start),
        _ => match text.char_indices().nth(count) {
            Some((end, _)) => Some(&text[..end]),
            None => (text.chars().count() == count).then_some(text),
        },
    }
}
