//! What can be wrong with a conf. Each message says what stands there and what to write.

use std::fmt;
use std::io;

use super::MAX_FILE_BYTES;
use super::row::{Column, Place};

/// A conf, or a row of it, that cannot be used. Prints as `shop.csv:7:4: <problem>; <fix>`.
#[derive(Debug)]
pub struct ConfError {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    pub(super) problem: ConfProblem,
}

impl ConfError {
    pub(super) fn new(file: &str, problem: ConfProblem) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            problem,
        }
    }

    pub(super) fn at(self, line: usize, column: Option<usize>) -> Self {
        Self {
            line: Some(line),
            column,
            ..self
        }
    }

    /// The file, or what the rows were said to come from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line in the file, or position in a list of rows, from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Column of the row (`module` is 1), or of the line if the file could not be taken apart, from 1.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// What is wrong.
    pub fn problem(&self) -> &ConfProblem {
        &self.problem
    }
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for part in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{part}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ConfError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// What is wrong, and how to put it right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfProblem {
    /// There is no such file.
    #[error("😓 file {path} doesn't exist. Give the path of a .json, .yaml or .csv file")]
    NoFile {
        /// Its path.
        path: String,
    },
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The file is too large.
    #[error("has more than {MAX_FILE_BYTES} bytes, which no conf needs; is this the right file?")]
    TooLarge,
    /// The file is not in UTF-8.
    #[error("byte {byte:#04x} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The first byte that does not belong.
        byte: u8,
    },
    /// The file is in UTF-16.
    #[error("is in UTF-16; save the file as UTF-8")]
    Utf16,
    /// The file has nothing in it.
    #[error("is empty; write a row for each function: module, class, function, name")]
    Empty,
    /// The file is not in its format.
    #[error("not {format}: {reason}")]
    Syntax {
        /// JSON, YAML or CSV.
        format: &'static str,
        /// What its reader says.
        reason: String,
    },
    /// The file is deeper, or unfolds to more, than a conf may.
    #[error("more than a conf may hold ({breach}); write the rows out, in one document")]
    OutOfBounds {
        /// The bound, and what the reader counted.
        breach: String,
    },
    /// A quote is not closed.
    #[error(
        "the quote that starts here is never closed; close it, or write \"\" for a quote in a cell"
    )]
    OpenQuote,
    /// The top level is no list.
    #[error("the conf is {found}, not a list; write a list of rows")]
    NotAList {
        /// What it is.
        found: &'static str,
    },
    /// A row is neither an object nor a list.
    #[error("the row is {found}; write an object with the keys module, class, function and name")]
    NotARow {
        /// What it is.
        found: &'static str,
    },
    /// The number of cells is wrong.
    #[error(
        "🦉 tau table must have exact 4 columns: module, class, function, name, and optionally min_duration and \
         attributes; {}",
        if *found == 0 { "this line is blank, delete it".to_owned() } else { format!("this row has {found}") }
    )]
    ColumnCount {
        /// How many there are.
        found: usize,
    },
    /// The fifth cell is no duration, so that the row may have a cell too many.
    #[error(
        "🦉 tau table must have exact 4 columns; a fifth is the min_duration, and {found} is no duration; write a \
         number with its unit, e.g. 5ms"
    )]
    NotADuration {
        /// What stands there.
        found: String,
    },
    /// A key is missing.
    #[error("key \"{key}\" is missing; add it{}", if *key == Column::Class { ", e.g. \"class\": \"\"" } else { "" })]
    MissingKey {
        /// Which.
        key: Column,
    },
    /// A key that conf rows do not have.
    #[error(
        "unknown key {key:?}; {}the keys are module, class, function, name, min_duration and attributes",
        hint.map_or_else(String::new, |hint| format!("did you mean \"{hint}\"? "))
    )]
    UnknownKey {
        /// The key.
        key: String,
        /// The key it resembles.
        hint: Option<Column>,
    },
    /// A key stands twice in a row.
    #[error("key \"{key}\" stands twice in this row; delete one of the two")]
    DuplicateKey {
        /// Which.
        key: Column,
    },
    /// A cell is not text.
    #[error("{}{column} is {found}; write it as text{}", hiq_on(*column), quoted(example.as_deref()))]
    NotText {
        /// Which cell.
        column: Column,
        /// What it is.
        found: &'static str,
        /// It, as text.
        example: Option<String>,
    },
    /// The name is empty.
    #[error(
        "🦉 tau table must have exact 4 columns; the fourth, the name, is empty; write a name, e.g. {example:?}"
    )]
    EmptyName {
        /// A name that would do.
        example: String,
    },
    /// The name has characters that names cannot have.
    #[error(
        "🦉 only alpha numerics are allowed in tag but got: {name:?}; use letters, digits and underscores, e.g. {example:?}"
    )]
    BadName {
        /// The name.
        name: String,
        /// A name that would do.
        example: String,
    },
    /// Two rows have one name.
    #[error(
        "🦉 duplicated tag: {name} in tau input! {first} has it already; rename one of the two"
    )]
    DuplicateName {
        /// The name, with its prefix.
        name: String,
        /// The row that has it.
        first: Place,
    },
    /// The attributes are no object.
    #[error("attributes are {found}; write an object, in CSV key=value;key=value")]
    NotAttributes {
        /// What they are.
        found: String,
    },
    /// An attribute's value is of a type that attributes do not have.
    #[error(
        "attribute {key:?} is {found}; a text, number, truth value or a list of them can be sent"
    )]
    BadAttribute {
        /// Its key.
        key: String,
        /// What it is.
        found: &'static str,
    },
    /// An attribute stands twice.
    #[error("attribute {key:?} stands twice in this row; delete one of the two")]
    DuplicateAttribute {
        /// Its key.
        key: String,
    },
}

/// HiQ finds fault with the number of columns when a name is no text.
fn hiq_on(column: Column) -> &'static str {
    if column == Column::Name {
        "🦉 tau table must have exact 4 columns; the fourth, the "
    } else {
        ""
    }
}

fn quoted(example: Option<&str>) -> String {
    example.map_or_else(String::new, |example| format!(", in quotes: {example:?}"))
}
