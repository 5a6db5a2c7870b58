//! Jaeger's Protobuf from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_jaeger::{JaegerDecoder, JaegerMessageEncoder, JaegerProtoEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(
        JaegerProtoEncoder::new(),
        decoded(JaegerDecoder::proto(), input),
    );
    encode(
        JaegerMessageEncoder::new(),
        decoded(JaegerDecoder::message(), input),
    );
});
