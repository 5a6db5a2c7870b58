//! JSON without a parser: where values end.

use std::io::{self, BufRead};

use super::{Copied, Items};

/// How deep in brackets, and whether in a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    depth: usize,
    in_text: bool,
    is_escaped: bool,
}

impl Scan {
    /// Inside of `depth` brackets.
    pub(super) fn at_depth(depth: usize) -> Self {
        Self {
            depth,
            ..Self::default()
        }
    }

    /// The place behind the bracket that closes the outermost one; `None` where `bytes` end before.
    pub(super) fn end_in(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_text => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' if !self.in_text => self.depth += 1,
                b'}' | b']' if !self.in_text => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Moves what `source` has to `out`: up to the bracket that closes the outermost one, or until `out` has `limit` bytes.
    pub(super) fn copy(
        &mut self,
        source: &mut dyn BufRead,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> io::Result<Copied> {
        loop {
            let chunk = source.fill_buf()?;
            if chunk.is_empty() {
                return Ok(Copied::UpToEnd);
            }
            let end = self.end_in(chunk);
            let taken = end.unwrap_or(chunk.len());
            out.extend_from_slice(&chunk[..taken]);
            source.consume(taken);
            if end.is_some() {
                return Ok(Copied::Whole);
            }
            if out.len() >= limit {
                return Ok(Copied::UpToLimit);
            }
        }
    }
}

/// The place in `document`, or in what there is of it, of what the list of its `items` holds.
pub(super) fn items_in(document: &[u8], items: Items) -> Option<usize> {
    let first = skip_blanks(document, 0);
    match items {
        Items::Listed => (document.get(first) == Some(&b'[')).then_some(first + 1),
        Items::Under(names) => items_under(names, document, first),
    }
}

fn items_under(names: &[&str], document: &[u8], mut at: usize) -> Option<usize> {
    if document.get(at) != Some(&b'{') {
        return None;
    }
    loop {
        at = skip_blanks(document, at + 1);
        let key_end = end_of_text(document, at)?;
        let key = &document[at + 1..key_end - 1];
        at = skip_blanks(document, key_end);
        if document.get(at) != Some(&b':') {
            return None;
        }
        at = skip_blanks(document, at + 1);
        let is_wanted = names.iter().any(|name| name.as_bytes() == key);
        if is_wanted && document.get(at) == Some(&b'[') {
            return Some(at + 1);
        }
        at = skip_blanks(document, end_of_value(document, at)?);
        if document.get(at) != Some(&b',') {
            return None;
        }
    }
}

fn skip_blanks(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    from + blanks.count()
}

/// The place behind the text that begins at `at`.
fn end_of_text(bytes: &[u8], at: usize) -> Option<usize> {
    let (b'"', rest) = bytes.get(at..)?.split_first()? else {
        return None;
    };
    let mut is_escaped = false;
    let end = rest.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some(at + end + 2)
}

fn end_of_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => end_of_text(bytes, at),
        b'{' | b'[' => Some(at + Scan::default().end_in(&bytes[at..])?),
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']');
            Some(at + bytes[at..].iter().position(is_end)?)
        }
    }
}
