//! Payloads stay within their limit, are whole each by itself, and hold every span once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use hiq_chrome::{ChromeDecoder, ChromeEncoder, PerfettoDecoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::decode::Decoder;
use hiq_core::encode::{DropReason, Encoder, Limits};
use hiq_core::id::SpanId;
use hiq_testkit::trees::{tree_named, tree_of};

/// Encodes `batch` into payloads of at most `max_bytes`, decodes each by itself, and returns the ids found and what was left out.
fn ids_by_payload(
    encoder: &mut dyn Encoder<TreeBatch>,
    decoder: &mut dyn Decoder,
    batch: &TreeBatch,
    max_bytes: usize,
) -> (Vec<Vec<SpanId>>, usize) {
    let (mut payloads, mut left_out) = (Vec::new(), 0);
    let mut cursor = batch.cursor();
    loop {
        let mut out = Vec::new();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(max_bytes), &mut out);
        assert!(out.len() <= max_bytes, "{} bytes", out.len());
        left_out += encoded.items_left_out();
        assert!(
            encoded
                .left_out
                .iter()
                .all(|(reason, _)| *reason == DropReason::TooLarge)
        );
        if encoded.items > 0 {
            let mut ids = Vec::new();
            decoder
                .decode(&out, &mut |tree| {
                    ids.extend(tree.spans().map(|span| span.id()));
                })
                .unwrap();
            ids.sort();
            assert_eq!(
                ids.len(),
                encoded.items,
                "what is in it is what is said to be"
            );
            payloads.push(ids);
        } else {
            assert!(out.is_empty());
        }
        if !encoded.more {
            return (payloads, left_out);
        }
    }
}

fn check(encoder: &mut dyn Encoder<TreeBatch>, decoder: &mut dyn Decoder, max_bytes: usize) {
    let long = "a name that is too long for any payload ".repeat(200);
    let (small, small_ids) = tree_of(200);
    let ids: Vec<_> = (0..40).map(|_| SpanId::next()).collect();
    let names: Vec<_> = ids
        .iter()
        .map(|id| (*id, if id.0 % 7 == 0 { long.as_str() } else { "work" }))
        .collect();
    let too_long = names.iter().filter(|(_, name)| *name == long).count();
    let batch = TreeBatch::new(vec![Arc::new(small), Arc::new(tree_named(&names))]);
    let (payloads, left_out) = ids_by_payload(encoder, decoder, &batch, max_bytes);
    assert!(payloads.len() > 10, "the limit has cut");
    assert_eq!(left_out, too_long);
    let mut found: Vec<_> = payloads.concat();
    found.sort();
    let fitting = names
        .iter()
        .filter(|(_, name)| *name != long)
        .map(|(id, _)| *id);
    let mut expected: Vec<_> = small_ids.into_iter().chain(fitting).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn documents_are_whole_and_within_their_limit() {
    for max_bytes in [1_500, 2_001, 4_096] {
        check(
            &mut ChromeEncoder::new(),
            &mut ChromeDecoder::new(),
            max_bytes,
        );
    }
}

#[test]
fn traces_are_whole_and_within_their_limit() {
    for max_bytes in [800, 1_001, 1_900] {
        check(
            &mut PerfettoEncoder::new(),
            &mut PerfettoDecoder::new(),
            max_bytes,
        );
    }
}
