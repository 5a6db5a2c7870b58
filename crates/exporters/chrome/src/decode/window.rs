//! A stream seen through a window of bounded size.

use std::io::{self, Read};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// The longest piece that is looked at as a whole; one event is a few hundred bytes.
const MAX_WINDOW_BYTES: usize = 64 << 20;

/// What has been read and not yet taken.
pub(crate) struct Window<'r> {
    source: &'r mut dyn Read,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes taken before `start`.
    taken: u64,
    is_at_end: bool,
}

impl<'r> Window<'r> {
    pub(crate) fn new(source: &'r mut dyn Read) -> Self {
        Self {
            source,
            bytes: vec![0; CHUNK_BYTES],
            start: 0,
            end: 0,
            taken: 0,
            is_at_end: false,
        }
    }

    /// What is in view.
    #[inline]
    pub(crate) fn view(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Offset in the stream of where the view begins.
    pub(crate) fn offset(&self) -> u64 {
        self.taken
    }

    /// True when the view may not grow any more.
    pub(crate) fn is_full(&self) -> bool {
        !self.is_at_end && self.end - self.start >= MAX_WINDOW_BYTES
    }

    /// Moves the view's beginning.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.taken += bytes as u64;
    }

    /// Brings more into view. False at the end of the stream, and when the view is as large as it may get.
    pub(crate) fn more(&mut self) -> io::Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            if self.bytes.len() >= MAX_WINDOW_BYTES {
                return Ok(false);
            }
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.bytes[self.end..]) {
                Ok(0) => {
                    self.is_at_end = true;
                    return Ok(false);
                }
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The first byte that is not white space, which stays in view.
    pub(crate) fn next_token(&mut self) -> io::Result<Option<u8>> {
        loop {
            let blanks = self
                .view()
                .iter()
                .take_while(|byte| is_blank(**byte))
                .count();
            self.take(blanks);
            if let Some(byte) = self.view().first() {
                return Ok(Some(*byte));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }
}

/// JSON's white space.
#[inline]
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}
