//! HiQ conf in its three texts: good rows, and an error for each bad one.
#![no_main]

use hiq_core::conf::{Conf, Format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Csv, Format::Json, Format::Yaml] {
        let (_, errors) = Conf::check(text, format, "fuzz");
        for error in errors {
            assert!(!error.to_string().is_empty());
        }
    }
});
