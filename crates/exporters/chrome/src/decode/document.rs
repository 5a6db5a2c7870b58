//! The document around the events, and the way through it.

use std::io;

use hiq_core::decode::DecodeError;

use super::rows::{Metadata, Rows};
use super::scan::{Stop, end_of_value, event};
use super::window::{Window, is_blank};
use super::{FORMAT, failed};

/// A document that is being read.
pub(super) struct Document<'r, 'w> {
    window: Window<'r>,
    rows: &'w mut Rows,
}

type Read<T> = Result<T, DecodeError>;

impl<'r, 'w> Document<'r, 'w> {
    pub(super) fn new(window: Window<'r>, rows: &'w mut Rows) -> Self {
        Self { window, rows }
    }

    /// Bytes behind us.
    pub(super) fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Reads to the end.
    pub(super) fn read(&mut self) -> Read<()> {
        if self.window.view().is_empty() {
            self.more()?;
        }
        if self.window.view().starts_with(b"\xef\xbb\xbf") {
            self.window.take(3);
        }
        match self.token()? {
            Some(b'<') => self.find_page_data()?,
            Some(b'[' | b'{') => {}
            Some(_) => return Err(self.error(0, "neither an object nor a list of events")),
            None => return Err(self.error(0, "the file is empty")),
        }
        match self.token()? {
            Some(b'[') => self.events(),
            _ => self.members(),
        }
    }

    /// `VizTracer`'s page holds the document in a script, behind this name.
    fn find_page_data(&mut self) -> Read<()> {
        const NAME: &[u8] = b"json_data = ";
        loop {
            let view = self.window.view();
            let place = view.windows(NAME.len()).position(|bytes| bytes == NAME);
            if let Some(place) = place {
                self.window.take(place + NAME.len());
                return Ok(());
            }
            let kept = NAME.len() - 1;
            self.window
                .take(self.window.view().len().saturating_sub(kept));
            if !self.more()? {
                return Err(self.error(0, "a page without `json_data`: not a report of VizTracer"));
            }
        }
    }

    fn members(&mut self) -> Read<()> {
        self.window.take(1);
        loop {
            match self.token()? {
                Some(b'"') => {}
                Some(b',') => {
                    self.window.take(1);
                    continue;
                }
                Some(b'}') => return Ok(()),
                Some(_) => return Err(self.error(0, "the name of a field is missing")),
                None => return Err(self.cut()),
            }
            let key = self.value(false)?;
            match self.token()? {
                Some(b':') => self.window.take(1),
                Some(_) => return Err(self.error(0, "a colon is missing")),
                None => return Err(self.cut()),
            }
            let is_list = self.token()? == Some(b'[');
            match key.as_slice() {
                b"\"traceEvents\"" if is_list => self.events()?,
                b"\"viztracer_metadata\"" => {
                    let value = self.value(true)?;
                    self.rows.metadata(Metadata::VizTracer, &value);
                }
                b"\"baseTimeNanoseconds\"" => {
                    let value = self.value(true)?;
                    self.rows.metadata(Metadata::BaseTime, &value);
                }
                _ => self.skip_value()?,
            }
        }
    }

    fn events(&mut self) -> Read<()> {
        self.window.take(1);
        loop {
            match self.token()? {
                Some(b'{') => self.event()?,
                Some(b',') => self.window.take(1),
                Some(b']') => {
                    self.window.take(1);
                    return Ok(());
                }
                Some(_) => return Err(self.error(0, "an event is not an object")),
                None => return Err(self.cut()),
            }
        }
    }

    fn event(&mut self) -> Read<()> {
        loop {
            match event(self.window.view()) {
                Ok((event, length)) => {
                    let added = self.rows.add(&event);
                    added.map_err(|error| failed(self.offset(), &error))?;
                    self.window.take(length);
                    return Ok(());
                }
                Err(Stop::Bad(at, problem)) => return Err(self.error(at, problem)),
                Err(Stop::Short) => {
                    if !self.more()? {
                        return Err(self.cut());
                    }
                }
            }
        }
    }

    /// A small value, whole. A number may end with the file.
    fn value(&mut self, must_be_small: bool) -> Read<Vec<u8>> {
        const MAX_BYTES: usize = 1 << 20;
        loop {
            match end_of_value(self.window.view(), 0) {
                Ok(length) => {
                    let value = self.window.view()[..length].to_vec();
                    self.window.take(length);
                    return Ok(value);
                }
                Err(Stop::Bad(at, problem)) => return Err(self.error(at, problem)),
                Err(Stop::Short) if must_be_small && self.window.view().len() > MAX_BYTES => {
                    self.skip_value()?;
                    return Ok(Vec::new());
                }
                Err(Stop::Short) => {
                    if !self.more()? {
                        return Err(self.cut());
                    }
                }
            }
        }
    }

    /// Passes over a value of any size: the sources of a program, for example.
    fn skip_value(&mut self) -> Read<()> {
        let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
        let mut has_begun = false;
        loop {
            let mut done = None;
            for (at, byte) in self.window.view().iter().enumerate() {
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' if in_text => is_escaped = true,
                    b'"' => {
                        in_text = !in_text;
                        if !in_text && depth == 0 {
                            done = Some(at + 1);
                        }
                    }
                    _ if in_text => {}
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' | b',' if depth == 0 => done = Some(at),
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            done = Some(at + 1);
                        }
                    }
                    byte if is_blank(*byte) && depth == 0 && has_begun => done = Some(at),
                    _ => {}
                }
                has_begun |= !is_blank(*byte);
                if done.is_some() {
                    break;
                }
            }
            match done {
                Some(length) => {
                    self.window.take(length);
                    return Ok(());
                }
                None => {
                    self.window.take(self.window.view().len());
                    if !self.more()? {
                        return Err(self.cut());
                    }
                }
            }
        }
    }

    fn token(&mut self) -> Read<Option<u8>> {
        let token = self.window.next_token();
        token.map_err(|error| self.failed(&error))
    }

    fn more(&mut self) -> Read<bool> {
        let more = self.window.more();
        more.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> DecodeError {
        failed(self.offset() + self.window.view().len() as u64, error)
    }

    fn cut(&self) -> DecodeError {
        let length = self.window.view().len();
        if self.window.is_full() {
            return self.error(0, "an event is longer than 64 MiB");
        }
        self.error(
            length,
            "the file ends in the middle: it was cut, or is still being written",
        )
    }

    fn error(&self, at: usize, problem: &str) -> DecodeError {
        let offset = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        DecodeError::new(FORMAT, offset.saturating_add(at), problem)
    }
}
