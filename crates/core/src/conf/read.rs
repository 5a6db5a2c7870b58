//! From a file to rows that are not checked yet.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::value::RawValue;

use super::MAX_FILE_BYTES;
use super::check::kind;
use super::csv;
use super::error::{ConfError, ConfProblem};
use super::raw::{Raw, Top};
use crate::value::Value;

/// How a conf is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A list of objects or lists.
    Json,
    /// A line per row.
    Csv,
    /// A list of mappings or lists.
    Yaml,
}

/// A row as it was written.
pub(super) struct RawRow {
    pub(super) line: usize,
    pub(super) fields: RawFields,
}

pub(super) enum RawFields {
    Cells(Vec<Value>),
    Keys(Vec<(String, Value)>),
    /// What it is instead.
    Neither(&'static str),
}

impl RawRow {
    pub(super) fn cells(line: usize, cells: Vec<Value>) -> Self {
        Self {
            line,
            fields: RawFields::Cells(cells),
        }
    }

    fn new(line: usize, value: Value) -> Self {
        let fields = match value {
            Value::Array(cells) => RawFields::Cells(cells),
            Value::Map(keys) => RawFields::Keys(keys),
            other => RawFields::Neither(kind(&other)),
        };
        Self { line, fields }
    }
}

/// The text of a file and its format.
pub(super) fn file(path: &Path) -> Result<(String, Format), ConfError> {
    let name = path.display().to_string();
    let bytes = bytes_of(path).map_err(|problem| ConfError::new(&name, problem))?;
    let text = utf8(bytes, &name)?;
    let format = format_of(path, &text);
    Ok((text, format))
}

pub(super) fn raw_rows(text: &str, format: Format, file: &str) -> Result<Vec<RawRow>, ConfError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(ConfError::new(file, ConfProblem::Empty));
    }
    match format {
        Format::Json => json_rows(text, file),
        Format::Csv => csv_rows(text, file),
        Format::Yaml => yaml_rows(text, file),
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, ConfProblem> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfProblem::NoFile {
            path: path.display().to_string(),
        },
        _ => ConfProblem::Unreadable(error),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(ConfProblem::Unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfProblem::TooLarge);
    }
    Ok(bytes)
}

fn utf8(bytes: Vec<u8>, file: &str) -> Result<String, ConfError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(ConfError::new(file, ConfProblem::Utf16));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let byte = error.as_bytes()[good.len()];
        let (line, column) = place_of_end(&String::from_utf8_lossy(good));
        ConfError::new(file, ConfProblem::NotUtf8 { byte }).at(line, Some(column))
    })
}

/// Line and character behind the end of `text`, from 1.
fn place_of_end(text: &str) -> (usize, usize) {
    let line = text.matches('\n').count() + 1;
    let column = text
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    (line, column)
}

fn format_of(path: &Path, text: &str) -> Format {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    let start = text.trim_start_matches('\u{feff}').trim_start();
    match ending.as_deref() {
        Some("json") => Format::Json,
        Some("yaml" | "yml") => Format::Yaml,
        _ if start.starts_with(['[', '{']) => Format::Json,
        Some("csv") => Format::Csv,
        _ if start.starts_with("- ") || start.starts_with("---") => Format::Yaml,
        _ => Format::Csv,
    }
}

fn csv_rows(text: &str, file: &str) -> Result<Vec<RawRow>, ConfError> {
    let lines = csv::lines(text)
        .map_err(|(line, column, problem)| ConfError::new(file, problem).at(line, Some(column)))?;
    let rows = lines
        .into_iter()
        .filter(|(_, cells)| !is_header(cells))
        .map(|(line, cells)| {
            let last = cells.len().min(NAME_INDEX);
            let trimmed = |(index, cell): (usize, String)| {
                // Blanks behind a name are an error, for HiQ has always said so.
                Value::from(if index < last {
                    cell.trim_end_matches(' ')
                } else {
                    &cell
                })
            };
            RawRow::cells(line, cells.into_iter().enumerate().map(trimmed).collect())
        });
    Ok(rows.collect())
}

const NAME_INDEX: usize = 3;

fn is_header(cells: &[String]) -> bool {
    const HEADER: [&str; 6] = [
        "module",
        "class",
        "function",
        "name",
        "min_duration",
        "attributes",
    ];
    cells.len() >= HEADER.len() - 2
        && cells
            .iter()
            .zip(HEADER)
            .all(|(cell, name)| cell.trim().eq_ignore_ascii_case(name))
}

fn json_rows(text: &str, file: &str) -> Result<Vec<RawRow>, ConfError> {
    let syntax = |error: &serde_json::Error, first_line: usize| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = error.to_string().replace(&place, "");
        ConfError::new(
            file,
            ConfProblem::Syntax {
                format: "JSON",
                reason,
            },
        )
        .at(
            first_line + error.line().max(1) - 1,
            Some(error.column().max(1)),
        )
    };
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error, 1))?;
    if !whole.get().starts_with('[') {
        let Raw(value) = serde_json::from_str(text).map_err(|error| syntax(&error, 1))?;
        return Err(ConfError::new(
            file,
            ConfProblem::NotAList {
                found: kind(&value),
            },
        ));
    }
    let rows: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| syntax(&error, 1))?;
    let (mut line, mut counted) = (1, 0);
    rows.into_iter()
        .map(|row| {
            let start = row.get().as_ptr() as usize - text.as_ptr() as usize;
            line += text[counted..start].matches('\n').count();
            counted = start;
            let Raw(value) =
                serde_json::from_str(row.get()).map_err(|error| syntax(&error, line))?;
            Ok(RawRow::new(line, value))
        })
        .collect()
}

fn yaml_rows(text: &str, file: &str) -> Result<Vec<RawRow>, ConfError> {
    let top: Top = serde_saphyr::from_str_with_options(text, yaml_options())
        .map_err(|error| yaml_error(&error, file))?;
    let rows = top
        .0
        .map_err(|found| ConfError::new(file, ConfProblem::NotAList { found }))?;
    Ok(rows
        .into_iter()
        .map(|row| RawRow::new(number(row.referenced.line()), row.value.0))
        .collect())
}

fn yaml_error(error: &serde_saphyr::Error, file: &str) -> ConfError {
    let reason = error.without_snippet().to_string();
    let Some(place) = error.location() else {
        return ConfError::new(
            file,
            ConfProblem::Syntax {
                format: "YAML",
                reason,
            },
        );
    };
    let (line, column) = (number(place.line()), number(place.column()));
    let reason = reason.replace(&format!(" at line {line}, column {column}"), "");
    let problem = match reason.strip_prefix("budget breached: ") {
        Some(breach) => {
            // Behind the brace stand other places that took part.
            let breach = breach
                .split_inclusive('}')
                .next()
                .unwrap_or(breach)
                .to_owned();
            ConfProblem::OutOfBounds { breach }
        }
        None => ConfProblem::Syntax {
            format: "YAML",
            reason,
        },
    };
    ConfError::new(file, problem).at(line, Some(column))
}

fn number(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // Repeated keys are reported by the rules of a row.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_documents: 1,
            // One anchor for the attributes of every row is no bomb: what aliases expand to is limited.
            enforce_alias_anchor_ratio: false,
        },
    }
}
