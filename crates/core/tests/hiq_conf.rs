//! Confs, compared with what HiQ 1.1.14 makes of them.

#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

mod hiq_golden;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use hiq_core::conf::{Conf, ConfError};
use hiq_core::value::Value;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    confs: Vec<Verdict>,
}

/// What HiQ goes on with, or the exception its constructor ends with.
#[derive(Deserialize)]
struct Verdict {
    #[serde(rename = "case")]
    title: String,
    ending: String,
    content: serde_json::Value,
    rows: Option<Vec<[Option<String>; 4]>>,
    message: Option<String>,
}

/// Where the answer is another one on purpose.
const DIFFERENCES: [(&str, &str); 3] = [
    ("csv: empty", "HiQ traces nothing and says nothing"),
    ("json: byte order mark", "HiQ takes the file for CSV"),
    ("rows: line end behind a name", "HiQ's pattern overlooks it"),
];

#[test]
fn confs_are_accepted_and_refused_as_by_hiq() {
    let golden: Golden = hiq_golden::json("conf.json");
    assert!(golden.confs.len() >= 60);
    for verdict in golden.confs {
        let ours = verdict.ours();
        let case = &verdict.title;
        if DIFFERENCES.iter().any(|(name, _)| name == case) {
            assert_eq!(
                ours.is_ok(),
                verdict.rows.is_none(),
                "{case}: no difference any more"
            );
            continue;
        }
        match (ours, verdict.rows) {
            (Ok(conf), Some(rows)) => assert_eq!(cells_of(&conf), texts(rows), "{case}"),
            (Err(error), None) => {
                let message = verdict.message.unwrap_or_default();
                if let Some(hiqs) = message
                    .starts_with('🦉')
                    .then(|| message.replace("{i[3]}!", ""))
                {
                    assert!(error.to_string().contains(&hiqs), "{case}: {error}");
                }
            }
            (ours, rows) => panic!("{case}: {ours:?}, HiQ: {rows:?}"),
        }
    }
}

#[test]
fn the_differences_are_these() {
    let golden: Golden = hiq_golden::json("conf.json");
    for (name, _) in DIFFERENCES {
        let verdict = golden
            .confs
            .iter()
            .find(|verdict| verdict.title == name)
            .unwrap();
        let answer = verdict
            .ours()
            .map(|conf| cells_of(&conf))
            .map_err(|error| error.to_string());
        match name {
            "csv: empty" => assert!(answer.unwrap_err().contains("is empty")),
            "json: byte order mark" => assert_eq!(answer.unwrap(), [["m", "C", "f", "__t1"]]),
            _ => assert!(answer.unwrap_err().contains("only alpha numerics")),
        }
    }
}

impl Verdict {
    fn ours(&self) -> Result<Conf, ConfError> {
        match &self.content {
            serde_json::Value::String(text) => {
                let path = temporary_file(&self.ending, text);
                let conf = Conf::from_path(&path);
                std::fs::remove_file(path).unwrap();
                conf
            }
            rows => {
                let rows = rows.as_array().unwrap().iter();
                Conf::from_rows(
                    rows.map(|row| row.as_array().unwrap().iter().map(value).collect()),
                    "rows",
                )
            }
        }
    }
}

/// A file of its own: tests run at the same time.
fn temporary_file(ending: &str, text: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("hiq-golden-conf-{}-{number}{ending}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Null => Value::Empty,
        other => Value::Int(other.as_i64().unwrap()),
    }
}

fn cells_of(conf: &Conf) -> Vec<[String; 4]> {
    let cells = conf
        .rows()
        .iter()
        .map(|row| [&row.module, &row.class, &row.function, &row.name]);
    cells.map(|cells| cells.map(Clone::clone)).collect()
}

fn texts(rows: Vec<[Option<String>; 4]>) -> Vec<[String; 4]> {
    rows.into_iter()
        .map(|row| row.map(Option::unwrap_or_default))
        .collect()
}
