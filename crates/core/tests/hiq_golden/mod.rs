//! What Oracle HiQ 1.1.14 answered, read from `golden/hiq`. `crates/testkit/oracle` tells how it was asked.

use std::io::Read;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

#[allow(dead_code, reason = "not every test file reads both kinds")]
pub(crate) fn lines<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let packed = std::fs::read(path(file)).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[allow(dead_code, reason = "not every test file reads both kinds")]
pub(crate) fn json<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(path(file)).unwrap()).unwrap()
}

fn path(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden/hiq", file]
        .iter()
        .collect()
}
