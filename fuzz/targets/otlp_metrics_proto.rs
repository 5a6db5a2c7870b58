//! Protobuf of metrics from anybody: decoded, and what was understood is written for every backend of metrics.
#![no_main]

use hiq_fuzz::{decoded_metrics, encode_metrics};
use hiq_otlp::OtlpMetricsDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for batch in decoded_metrics(OtlpMetricsDecoder::proto(), input) {
        encode_metrics(&batch);
    }
});
