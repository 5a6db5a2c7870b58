//! Fixtures and conformance checks for hiq's crates.
