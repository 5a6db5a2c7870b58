//! Spans as plain data, and independent readers and writers of OTLP.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file uses its part of this module"
)]

pub(crate) mod metrics;
pub(crate) mod read_json;
pub(crate) mod read_metrics_json;
pub(crate) mod read_proto;
pub(crate) mod read_trees;
pub(crate) mod write_metrics;
pub(crate) mod write_proto;

pub(crate) use hiq_testkit::spans::*;
