//! The rules of a row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ConfError, ConfProblem};
use super::read::{Format, RawFields, RawRow};
use super::row::{Column, Place, Row};
use crate::value::Value;

/// What HiQ puts before a name.
const PREFIX: &str = "__";

/// Checks the rows of one conf, one after the other.
pub(super) struct RowCheck {
    file: Arc<str>,
    format: Format,
    lines_of_names: HashMap<String, usize>,
}

impl RowCheck {
    pub(super) fn new(file: Arc<str>, format: Format) -> Self {
        Self {
            file,
            format,
            lines_of_names: HashMap::new(),
        }
    }

    /// The row; `None` for a comment.
    pub(super) fn row(&mut self, raw: RawRow) -> Result<Option<Row>, ConfError> {
        let line = raw.line;
        let place = Place {
            file: Arc::clone(&self.file),
            line,
        };
        self.checked(raw.fields, place)
            .map_err(|(column, problem)| {
                ConfError::new(&self.file, problem).at(line, column.map(Column::number))
            })
    }

    fn checked(&mut self, fields: RawFields, place: Place) -> Result<Option<Row>, Problem> {
        let cells = match fields {
            RawFields::Cells(cells) if is_comment(&cells) => return Ok(None),
            RawFields::Cells(cells) => by_position(cells)?,
            RawFields::Keys(keys) if is_comment_by_key(&keys) => return Ok(None),
            RawFields::Keys(keys) => by_key(keys, self.format == Format::Yaml)?,
            RawFields::Neither(found) => return Err((None, ConfProblem::NotARow { found })),
        };
        let [module, class, function, name, min_duration, attributes] = cells;
        let row = Row {
            module: text(Column::Module, module)?,
            class: text(Column::Class, class)?,
            function: text(Column::Function, function)?,
            name: text(Column::Name, name)?,
            min_duration: duration(min_duration)?,
            attributes: pairs(attributes)?,
            place,
        };
        self.named(row)
            .map(Some)
            .map_err(|problem| (Some(Column::Name), problem))
    }

    fn named(&mut self, mut row: Row) -> Result<Row, ConfProblem> {
        if row.name.is_empty() {
            return Err(ConfProblem::EmptyName {
                example: example_name(&row.function),
            });
        }
        let is_template = row.is_pattern() && row.name.matches('*').count() == 1;
        if (row.name.chars().nth(1).is_some() || is_template) && !row.name.starts_with(PREFIX) {
            row.name.insert_str(0, PREFIX);
        }
        if let Some(&line) = self.lines_of_names.get(&row.name) {
            let first = Place { line, ..row.place };
            return Err(ConfProblem::DuplicateName {
                name: row.name,
                first,
            });
        }
        if row
            .name
            .chars()
            .any(|c| !(is_word(c) || is_template && c == '*'))
        {
            let example = example_name(row.name.trim_start_matches(PREFIX));
            return Err(ConfProblem::BadName {
                name: row.name,
                example,
            });
        }
        if !is_template {
            self.lines_of_names.insert(row.name.clone(), row.place.line);
        }
        Ok(row)
    }
}

type Problem = (Option<Column>, ConfProblem);
type Cells = [Value; 6];

fn is_comment(cells: &[Value]) -> bool {
    matches!(cells.first(), Some(Value::Str(text)) if text.starts_with('#'))
}

fn is_comment_by_key(keys: &[(String, Value)]) -> bool {
    let module = keys.iter().find(|(key, _)| key == Column::Module.key());
    matches!(module, Some((_, Value::Str(text))) if text.starts_with('#'))
}

fn by_position(cells: Vec<Value>) -> Result<Cells, Problem> {
    let found = cells.len();
    if !(Column::REQUIRED..=Column::ALL.len()).contains(&found) {
        return Err((None, ConfProblem::ColumnCount { found }));
    }
    let mut by_column = [const { Value::Empty }; 6];
    for (place, cell) in by_column.iter_mut().zip(cells) {
        *place = cell;
    }
    Ok(by_column)
}

fn by_key(keys: Vec<(String, Value)>, class_is_optional: bool) -> Result<Cells, Problem> {
    let mut by_column = [const { None }; 6];
    for (key, value) in keys {
        let Some(column) = Column::ALL.into_iter().find(|column| column.key() == key) else {
            let hint = Column::like(&key);
            return Err((hint, ConfProblem::UnknownKey { key, hint }));
        };
        if by_column[column.number() - 1].replace(value).is_some() {
            return Err((Some(column), ConfProblem::DuplicateKey { key: column }));
        }
    }
    for column in &Column::ALL[..Column::REQUIRED] {
        let is_optional = class_is_optional && *column == Column::Class;
        if by_column[column.number() - 1].is_none() && !is_optional {
            return Err((Some(*column), ConfProblem::MissingKey { key: *column }));
        }
    }
    Ok(by_column.map(|cell| cell.unwrap_or(Value::Empty)))
}

fn text(column: Column, cell: Value) -> Result<String, Problem> {
    let example = match cell {
        Value::Str(text) => return Ok(text),
        Value::Empty if column == Column::Class => return Ok(String::new()),
        Value::Int(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    Err((
        Some(column),
        ConfProblem::NotText {
            column,
            found: kind(&cell),
            example,
        },
    ))
}

fn duration(cell: Value) -> Result<Option<Duration>, Problem> {
    let refused = |found| {
        Err((
            Some(Column::MinDuration),
            ConfProblem::NotADuration { found },
        ))
    };
    match cell {
        Value::Empty => Ok(None),
        Value::Str(text) if text.trim().is_empty() => Ok(None),
        Value::Str(text) => match parsed_duration(&text) {
            Some(duration) => Ok(Some(duration)),
            None => refused(format!("{text:?}")),
        },
        Value::Int(number) => refused(number.to_string()),
        Value::F64(number) => refused(number.to_string()),
        other => refused(kind(&other).to_owned()),
    }
}

fn parsed_duration(text: &str) -> Option<Duration> {
    let duration: jiff::SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(duration).ok()
}

fn pairs(cell: Value) -> Result<Vec<(String, Value)>, Problem> {
    let at_fault = |problem| (Some(Column::Attributes), problem);
    let pairs = match cell {
        Value::Empty => Vec::new(),
        Value::Map(pairs) => pairs,
        Value::Str(text) => split_pairs(&text).ok_or_else(|| {
            at_fault(ConfProblem::NotAttributes {
                found: format!("{text:?}"),
            })
        })?,
        other => {
            let found = kind(&other).to_owned();
            return Err(at_fault(ConfProblem::NotAttributes { found }));
        }
    };
    for (index, (key, value)) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(at_fault(ConfProblem::DuplicateAttribute {
                key: key.clone(),
            }));
        }
        if !is_attribute(value) {
            return Err(at_fault(ConfProblem::BadAttribute {
                key: key.clone(),
                found: kind(value),
            }));
        }
    }
    Ok(pairs)
}

fn split_pairs(text: &str) -> Option<Vec<(String, Value)>> {
    let pairs = text
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then(|| (key.to_owned(), Value::from(value.trim())))
        })
        .collect()
}

fn is_attribute(value: &Value) -> bool {
    let is_scalar = |value: &Value| {
        matches!(
            value,
            Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::F64(_)
        )
    };
    match value {
        Value::Array(items) => items.iter().all(is_scalar),
        other => is_scalar(other),
    }
}

/// What a value is, as a message says it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Str(_) => "a text",
        Value::Bool(_) => "a truth value",
        Value::Int(_) | Value::F64(_) => "a number",
        Value::Bytes(_) => "bytes",
        Value::Array(_) => "a list",
        Value::Map(_) => "an object",
        Value::Empty => "empty",
    }
}

/// Python's `\w`.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn example_name(text: &str) -> String {
    let name: String = text
        .trim()
        .chars()
        .map(|c| if is_word(c) { c } else { '_' })
        .collect();
    if name.is_empty() {
        "main".to_owned()
    } else {
        name
    }
}
