//! Zipkin's protobuf from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_zipkin::{ZipkinDecoder, ZipkinProtoEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(
        ZipkinProtoEncoder::new(),
        decoded(ZipkinDecoder::proto(), input),
    );
});
