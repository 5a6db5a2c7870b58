//! A document that is too long for memory: its items, some at a time, each time as a document of these alone.

use std::io::{self, BufRead};

use super::json::Scan;
use super::{CUT, Copied, Items, Limits, Sink};
use crate::decode::{DecodeError, Decoder};

/// Items that are decoded together.
pub(super) struct List {
    limits: Limits,
    format: &'static str,
    items: Items,
    /// Of the next byte of the source.
    offset: usize,
    document: Vec<u8>,
    /// Of each item: where it stands in the document, and where in the source.
    places: Vec<(usize, usize)>,
}

/// Hands all items of `source`, which begins behind the list's bracket, to `decoder`. Returns the offset behind the
/// document.
pub(super) fn each_list(
    mut list: List,
    source: &mut dyn BufRead,
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
) -> Result<usize, DecodeError> {
    loop {
        let added = list.add(source);
        let is_last = !matches!(added, Ok(true));
        if is_last || list.document.len() >= list.limits.together {
            list.decode(decoder, sink)?;
        }
        if is_last {
            let ended = added.and_then(|_| list.pass_over_rest(source));
            ended.map_err(|error| DecodeError::new(list.format, list.offset, error.to_string()))?;
            return Ok(list.offset);
        }
    }
}

impl List {
    /// `offset`: of the first item.
    pub(super) fn new(limits: Limits, format: &'static str, items: Items, offset: usize) -> Self {
        let mut list = Self {
            limits,
            format,
            items,
            offset,
            document: Vec::new(),
            places: Vec::new(),
        };
        list.begin();
        list
    }

    fn begin(&mut self) {
        self.places.clear();
        self.document.clear();
        if let Items::Under([name, ..]) = self.items {
            self.document.extend_from_slice(b"{\"");
            self.document.extend_from_slice(name.as_bytes());
            self.document.extend_from_slice(b"\":");
        }
        self.document.push(b'[');
    }

    /// Adds the next item; false behind the last one.
    fn add(&mut self, source: &mut dyn BufRead) -> io::Result<bool> {
        match self.next_token(source)? {
            Some(b'{' | b'[') => {}
            Some(b']') => {
                self.pass(source, 1);
                return Ok(false);
            }
            Some(_) => {
                return Err(io::Error::other(
                    "neither an object nor a list, where one should be",
                ));
            }
            None => return Err(io::Error::other(CUT)),
        }
        if !self.places.is_empty() {
            self.document.push(b',');
        }
        let place = self.document.len();
        let limit = place + self.limits.piece;
        let copied = Scan::default().copy(source, &mut self.document, limit)?;
        self.offset += self.document.len() - place;
        let problem = match copied {
            Copied::Whole => {
                let begun_at = self.offset - (self.document.len() - place);
                self.places.push((place, begun_at));
                return Ok(true);
            }
            Copied::UpToEnd => CUT.to_owned(),
            Copied::UpToLimit => format!(
                "one item of a list is longer than {} MiB",
                self.limits.piece >> 20
            ),
        };
        self.document
            .truncate(place - usize::from(!self.places.is_empty()));
        Err(io::Error::other(problem))
    }

    fn decode(
        &mut self,
        decoder: &mut dyn Decoder,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        if self.places.is_empty() {
            return Ok(());
        }
        self.document.push(b']');
        if let Items::Under(_) = self.items {
            self.document.push(b'}');
        }
        let decoded = decoder.decode(&self.document, sink);
        decoded.map_err(|mut error| {
            error.offset = self.in_source(error.offset);
            error
        })?;
        self.begin();
        Ok(())
    }

    /// Where the byte at `offset` of the document stands in the source.
    fn in_source(&self, offset: usize) -> usize {
        let behind = self.places.partition_point(|(place, _)| *place <= offset);
        let (place, begun_at) = self.places[behind.saturating_sub(1)];
        begun_at + offset.saturating_sub(place)
    }

    /// What follows the list in its document.
    fn pass_over_rest(&mut self, source: &mut dyn BufRead) -> io::Result<()> {
        let Items::Under(_) = self.items else {
            return Ok(());
        };
        let mut scan = Scan::at_depth(1);
        loop {
            let chunk = source.fill_buf()?;
            if chunk.is_empty() {
                return Err(io::Error::other(CUT));
            }
            let end = scan.end_in(chunk);
            let passed = end.unwrap_or(chunk.len());
            self.pass(source, passed);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// The next byte that is neither blank nor a comma, which stays.
    fn next_token(&mut self, source: &mut dyn BufRead) -> io::Result<Option<u8>> {
        loop {
            let chunk = source.fill_buf()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
            match chunk.iter().position(|byte| !is_between(byte)) {
                Some(at) => {
                    let token = chunk[at];
                    self.pass(source, at);
                    return Ok(Some(token));
                }
                None => {
                    let all = chunk.len();
                    self.pass(source, all);
                }
            }
        }
    }

    fn pass(&mut self, source: &mut dyn BufRead, bytes: usize) {
        source.consume(bytes);
        self.offset += bytes;
    }
}
