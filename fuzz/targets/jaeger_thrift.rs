//! Jaeger's thrift from anybody, in both protocols: decoded, and what was understood is written in both.
#![no_main]

use hiq_fuzz::{decoded, encode};
use hiq_jaeger::{JaegerBinaryEncoder, JaegerCompactEncoder, JaegerDecoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let trees = decoded(JaegerDecoder::compact(), input);
    encode(JaegerCompactEncoder::new(), trees);
    let trees = decoded(JaegerDecoder::binary(), input);
    encode(JaegerBinaryEncoder::calls(), trees);
});
