//! Zipkin's JSON from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_zipkin::{ZipkinDecoder, ZipkinJsonEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(
        ZipkinJsonEncoder::new(),
        decoded(ZipkinDecoder::json(), input),
    );
});
