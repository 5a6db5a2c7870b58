//! Zipkin's JSON of version 1 from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_zipkin::{ZipkinDecoder, ZipkinJsonV1Encoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(
        ZipkinJsonV1Encoder::new(),
        decoded(ZipkinDecoder::json_v1(), input),
    );
});
