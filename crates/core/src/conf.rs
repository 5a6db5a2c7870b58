//! HiQ's conf: which functions of a program are traced, and under which names.
//!
//! A conf is a list of rows, given as a list, or as a JSON, YAML or CSV file:
//!
//! | column | key | rule |
//! |---|---|---|
//! | 1 | `module` | the module to import; in the first column `#` makes the row a comment |
//! | 2 | `class` | the class in it, empty for a function of the module; `*` stands for any characters |
//! | 3 | `function` | the function or method; `*` stands for any characters |
//! | 4 | `name` | the span's name, HiQ's tag: letters, digits and `_`; from two characters on it gets the prefix `__`; no two rows share one. In a row with `*` its own `*` becomes the function's name |
//! | 5 | `min_duration` | optional: spans shorter than this are left out; a number with its unit, `5ms` |
//! | 6 | `attributes` | optional: what each of its spans carries; an object, in CSV `key=value;key=value` |
//!
//! CSV has no header of its own; one with these keys is skipped. In YAML, `class` may be left out. JSON and YAML rows
//! may also be lists of cells.
//!
//! ```
//! use hiq_core::conf::{Conf, Format};
//!
//! let conf = Conf::parse("shop.cart,Cart,add,add\nshop.cart,,total,total\n", Format::Csv, "shop.csv")?;
//! assert_eq!(conf.rows()[0].name, "__add");
//!
//! let error = Conf::parse("shop.cart,Cart,add,a b\n", Format::Csv, "shop.csv").unwrap_err();
//! assert!(error.to_string().starts_with("shop.csv:1:4: "));
//! # Ok::<(), hiq_core::conf::ConfError>(())
//! ```

mod check;
mod csv;
mod error;
mod raw;
mod read;
mod row;

use std::path::Path;
use std::sync::Arc;

pub use error::{ConfError, ConfProblem};
pub use read::Format;
pub use row::{Column, Place, Row};

use check::RowCheck;
use read::RawRow;

use crate::value::Value;

/// A file larger than this is refused.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// The rows of a conf, checked, comments left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conf {
    rows: Vec<Row>,
}

impl Conf {
    /// Reads a file. Its ending names its format; a file that ends otherwise, or that ends in `.csv` and starts with a
    /// `[` or `{`, is looked into, as HiQ does.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, ConfError> {
        first_error(Self::check_path(path))
    }

    /// Reads text. `source` is what errors call it.
    pub fn parse(text: &str, format: Format, source: &str) -> Result<Self, ConfError> {
        first_error(Self::check(text, format, source))
    }

    /// Takes rows of cells, as Python hands them over. `source` is what errors call them; their lines count from 1.
    pub fn from_rows(
        rows: impl IntoIterator<Item = Vec<Value>>,
        source: &str,
    ) -> Result<Self, ConfError> {
        let rows = rows
            .into_iter()
            .enumerate()
            .map(|(index, cells)| RawRow::cells(index + 1, cells));
        first_error(checked(rows, Format::Csv, source))
    }

    /// Reads a file and goes on after an error: the good rows, and what is wrong with the others.
    pub fn check_path(path: impl AsRef<Path>) -> (Self, Vec<ConfError>) {
        let path = path.as_ref();
        let source = path.display().to_string();
        match read::file(path) {
            Ok((text, format)) => Self::check(&text, format, &source),
            Err(error) => (Self::default(), vec![error]),
        }
    }

    /// Reads text and goes on after an error: the good rows, and what is wrong with the others.
    pub fn check(text: &str, format: Format, source: &str) -> (Self, Vec<ConfError>) {
        match read::raw_rows(text, format, source) {
            Ok(rows) => checked(rows, format, source),
            Err(error) => (Self::default(), vec![error]),
        }
    }

    /// The rows, in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows, in their order.
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

fn checked(
    rows: impl IntoIterator<Item = RawRow>,
    format: Format,
    source: &str,
) -> (Conf, Vec<ConfError>) {
    let mut check = RowCheck::new(Arc::from(source), format);
    let (mut conf, mut errors) = (Conf::default(), Vec::new());
    for raw in rows {
        match check.row(raw) {
            Ok(row) => conf.rows.extend(row),
            Err(error) => errors.push(error),
        }
    }
    (conf, errors)
}

fn first_error((conf, errors): (Conf, Vec<ConfError>)) -> Result<Conf, ConfError> {
    errors.into_iter().next().map_or(Ok(conf), Err)
}

#[cfg(test)]
mod tests;
