//! CSV as Python's `csv` reads it the way HiQ sets it up: commas, double quotes doubled inside, blanks before a cell
//! skipped, blanks behind it kept.

use super::error::ConfProblem;

/// A line of cells, with the line of the file where it starts.
pub(super) type Line = (usize, Vec<String>);

/// The lines of `text`, or the line and character of a quote that is never closed. A line that starts with `#` is one
/// cell, whatever is in it.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, (usize, usize, ConfProblem)> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        line_text: text,
    };
    let mut lines = Vec::new();
    while !reader.rest.is_empty() {
        lines.push((reader.line, reader.cells()?));
    }
    Ok(lines)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// What is left from the start of the current line on.
    line_text: &'a str,
}

impl Reader<'_> {
    fn cells(&mut self) -> Result<Vec<String>, (usize, usize, ConfProblem)> {
        if self.rest.trim_start_matches(' ').starts_with('#') {
            let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
            let comment = self.rest[..end].trim_start_matches(' ').to_owned();
            self.rest = &self.rest[end..];
            self.skip_line_end();
            return Ok(vec![comment]);
        }
        if self.skip_line_end() {
            return Ok(Vec::new());
        }
        let mut cells = vec![self.cell()?];
        while let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            cells.push(self.cell()?);
        }
        self.skip_line_end();
        Ok(cells)
    }

    /// Up to the comma or the line end.
    fn cell(&mut self) -> Result<String, (usize, usize, ConfProblem)> {
        self.rest = self.rest.trim_start_matches(' ');
        let mut cell = String::new();
        if self.rest.starts_with('"') {
            self.quoted(&mut cell)?;
        }
        // What follows a closing quote belongs to the cell.
        let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
        cell.push_str(&self.rest[..end]);
        self.rest = &self.rest[end..];
        Ok(cell)
    }

    fn quoted(&mut self, cell: &mut String) -> Result<(), (usize, usize, ConfProblem)> {
        let column = self.line_text[..self.line_text.len() - self.rest.len()]
            .chars()
            .count()
            + 1;
        let place = (self.line, column, ConfProblem::OpenQuote);
        self.rest = &self.rest[1..];
        loop {
            let Some(quote) = self.rest.find('"') else {
                return Err(place);
            };
            let (part, rest) = self.rest.split_at(quote);
            // As Python reads a file: every line end is one \n.
            let part = part.replace("\r\n", "\n").replace('\r', "\n");
            self.line += part.matches('\n').count();
            cell.push_str(&part);
            self.rest = &rest[1..];
            match self.rest.strip_prefix('"') {
                Some(rest) => {
                    cell.push('"');
                    self.rest = rest;
                }
                None => return Ok(()),
            }
        }
    }

    fn skip_line_end(&mut self) -> bool {
        let rest = ["\r\n", "\n", "\r"]
            .iter()
            .find_map(|end| self.rest.strip_prefix(end));
        if let Some(rest) = rest {
            self.rest = rest;
            self.line += 1;
        }
        self.line_text = self.rest;
        rest.is_some()
    }
}
