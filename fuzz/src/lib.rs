//! What the targets share.

use std::sync::Arc;

use hiq_core::batch::{Batch as _, TreeBatch};
use hiq_core::decode::Decoder;
use hiq_core::encode::{Encodable, Encoder, Limits};
use hiq_core::metric::MetricBatch;
use hiq_core::tree::SpanTree;
use hiq_otlp::{OtlpMetricsDecoder, OtlpMetricsJsonEncoder, OtlpMetricsProtoEncoder};
use hiq_prometheus::names::Alphabet;
use hiq_prometheus::{RemoteWriteEncoder, WriteVersion};

/// Bytes that a payload may have here: small, so that many inputs need several.
const PAYLOAD_BYTES: usize = 4_096;

/// Decodes `input`. A reader ends with an error or with trees, and its trees can be walked.
pub fn decoded(mut decoder: impl Decoder, input: &[u8]) -> Vec<Arc<SpanTree>> {
    let mut trees = Vec::new();
    let _ = decoder.decode(input, &mut |tree| trees.push(tree));
    for tree in &trees {
        assert!(!tree.is_empty(), "a fragment has spans");
    }
    trees
}

/// Decodes `input`. A reader ends with an error or with snapshots, and those have points.
pub fn decoded_metrics(mut decoder: OtlpMetricsDecoder, input: &[u8]) -> Vec<MetricBatch> {
    let mut batches = Vec::new();
    let _ = decoder.decode(input, &mut |batch| batches.push(batch));
    for batch in &batches {
        assert!(batch.items() > 0, "a snapshot has points");
    }
    batches
}

/// Encodes `trees`, as [`encode_batch`] does.
pub fn encode(encoder: impl Encoder<TreeBatch>, trees: Vec<Arc<SpanTree>>) {
    encode_batch(encoder, &TreeBatch::new(trees));
}

/// Encodes `batch` for every backend of metrics.
pub fn encode_metrics(batch: &MetricBatch) {
    encode_batch(OtlpMetricsProtoEncoder::new(), batch);
    encode_batch(OtlpMetricsJsonEncoder::new(), batch);
    for version in [WriteVersion::V1, WriteVersion::V2] {
        encode_batch(RemoteWriteEncoder::new(version, Alphabet::Classic), batch);
    }
}

/// Encodes `batch`: every payload is within its limit, and every item is in one or counted.
pub fn encode_batch<B: Encodable>(mut encoder: impl Encoder<B>, batch: &B) {
    let mut cursor = batch.cursor_over(batch.whole());
    let (mut items, mut payload) = (B::remaining(&cursor), Vec::new());
    while items > 0 {
        payload.clear();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(PAYLOAD_BYTES), &mut payload);
        assert!(payload.len() <= PAYLOAD_BYTES, "{} bytes", payload.len());
        let taken = encoded.items + encoded.items_left_out();
        assert!(taken > 0, "each call gets further");
        items -= taken;
        assert_eq!(encoded.more, items > 0);
    }
}
