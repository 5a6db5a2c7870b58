//! Protobuf from anybody: decoded, and what was understood is written in both forms.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_otlp::{OtlpDecoder, OtlpJsonEncoder, OtlpProtoEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let trees = decoded(OtlpDecoder::proto(), input);
    encode(OtlpProtoEncoder::new(), trees.clone());
    encode(OtlpJsonEncoder::new(), trees);
});
