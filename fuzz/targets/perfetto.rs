//! Perfetto's protobuf from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_chrome::{PerfettoDecoder, PerfettoEncoder};
use hiq_fuzz::{decoded, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(
        PerfettoEncoder::new(),
        decoded(PerfettoDecoder::new(), input),
    );
});
