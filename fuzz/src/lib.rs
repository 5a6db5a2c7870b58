//! What the targets share.

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::decode::Decoder;
use hiq_core::encode::{Encodable, Encoder, Limits};
use hiq_core::tree::SpanTree;

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

/// Encodes `trees`: every payload is within its limit, and every span is in one or counted.
pub fn encode(mut encoder: impl Encoder<TreeBatch>, trees: Vec<Arc<SpanTree>>) {
    let batch = TreeBatch::new(trees);
    let whole = batch.whole();
    let mut cursor = batch.cursor_over(whole.start, whole.end);
    let (mut spans, mut payload) = (cursor.remaining(), Vec::new());
    while spans > 0 {
        payload.clear();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(PAYLOAD_BYTES), &mut payload);
        assert!(payload.len() <= PAYLOAD_BYTES, "{} bytes", payload.len());
        let taken = encoded.items + encoded.items_left_out();
        assert!(taken > 0, "each call gets further");
        spans -= taken;
        assert_eq!(encoded.more, spans > 0);
    }
}
