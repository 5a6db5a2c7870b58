//! HiQ's tree text: what is read, is written and read again as the same.
#![no_main]

use hiq_core::render::{HiqTree, RenderOptions, TimeFormat};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(tree) = HiqTree::parse(text) else {
        return;
    };
    let written = tree.repr();
    let again = HiqTree::parse(&written).expect("we read what we write");
    assert_eq!(written, again.repr());
    let _ = tree.graph(&RenderOptions::new(TimeFormat::DateTime));
});
