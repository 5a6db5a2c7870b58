//! Jaeger's JSON from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_jaeger::{JaegerDecoder, JaegerProtoEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(
        JaegerProtoEncoder::new(),
        decoded(JaegerDecoder::json(), input),
    );
    encode(
        JaegerProtoEncoder::new(),
        decoded(JaegerDecoder::message_json(), input),
    );
});
