//! The rules of a row.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ConfError, ConfProblem};
use super::read::{Format, RawFields, RawRow};
use crate::value::Value;

/// A function to trace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The module to import.
    pub module: String,
    /// The class in it; empty for a function of the module. May hold `*`.
    pub class: String,
    /// The function or method. May hold `*`.
    pub function: String,
    /// Name of its spans, with the prefix; for a row with `*`, [`Row::name_of`] completes it.
    pub name: String,
    /// Spans shorter than this are left out. Default: none are.
    pub min_duration: Option<Duration>,
    /// What each of its spans carries.
    pub attributes: Vec<(String, Value)>,
    /// Where the row stands.
    pub place: Place,
}

/// What HiQ puts before a name.
const PREFIX: &str = "__";

impl Row {
    /// Whether class or function holds a `*`.
    pub fn is_pattern(&self) -> bool {
        self.class.contains('*') || self.function.contains('*')
    }

    /// Whether the row means this class (empty: the module itself) and function.
    pub fn matches(&self, class: &str, function: &str) -> bool {
        glob_matches(&self.class, class) && glob_matches(&self.function, function)
    }

    /// Name of the spans of `function`, which the row matches.
    pub fn name_of(&self, function: &str) -> String {
        self.name.replace('*', function)
    }

    /// The target as HiQ writes it: `module.class.function`, the class possibly empty.
    pub fn target(&self) -> String {
        format!("{}.{}.{}", self.module, self.class, self.function)
    }
}

/// Where a row stands. Prints as `shop.csv:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: Arc<str>,
    line: usize,
}

impl Place {
    /// The file, or what the rows were said to come from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line in the file, or position in a list of rows, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A column of the conf. Prints as its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Column {
    /// The module to import.
    Module = 1,
    /// The class in it.
    Class,
    /// The function or method.
    Function,
    /// Name of its spans.
    Name,
    /// Spans shorter than this are left out.
    MinDuration,
    /// What its spans carry.
    Attributes,
}

impl Column {
    const ALL: [Self; 6] = [
        Self::Module,
        Self::Class,
        Self::Function,
        Self::Name,
        Self::MinDuration,
        Self::Attributes,
    ];
    const REQUIRED: usize = 4;

    /// Its place in a row, from 1.
    pub fn number(self) -> usize {
        self as usize
    }

    fn key(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Class => "class",
            Self::Function => "function",
            Self::Name => "name",
            Self::MinDuration => "min_duration",
            Self::Attributes => "attributes",
        }
    }

    /// The column that a key resembles.
    fn like(key: &str) -> Option<Self> {
        let key = key.trim().to_lowercase().replace(['-', ' '], "_");
        match key.as_str() {
            "tag" => return Some(Self::Name),
            "min" | "threshold" => return Some(Self::MinDuration),
            "attrs" | "tags" => return Some(Self::Attributes),
            _ => {}
        }
        let resembles = |column: &Self| {
            let known = column.key();
            known.starts_with(&key) || key.starts_with(known) || same_but_one(known, &key)
        };
        Self::ALL
            .into_iter()
            .find(|column| !key.is_empty() && resembles(column))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

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

/// `*` is any number of any characters, all else is itself.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let Some((start, mut rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(found) = text.find(middle) else {
            return false;
        };
        text = &text[found + middle.len()..];
        rest = after;
    }
    text.ends_with(rest)
}

/// Whether one character more, less or other makes one of the other.
fn same_but_one(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let ahead = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[ahead..], &b[ahead..]);
    let behind = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    a.len() - behind <= 1 && b.len() - behind <= 1
}
