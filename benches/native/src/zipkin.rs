//! S5 and S6: a batch of 512 spans into Zipkin's formats.
//!
//! Nothing is measured before the JSON has been read back as the spans that were put in.

use std::sync::Arc;

use crate::spans::{self, Tree};
use crate::worker::Worker;
use crate::{encode, hiq};
use hiq_core::batch::TreeBatch;
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinProtoEncoder};
use serde_json::Value;

/// Until the runner closes the pipe.
pub fn main() {
    let raw = spans::batches();
    let ours = hiq::batches(&raw);
    check(&raw, &ours);
    let mut worker = Worker::default();
    worker.call(
        "hiq_json",
        spans::SPANS,
        encode::by_hiq(ZipkinJsonEncoder::new(), &ours),
    );
    worker.call(
        "hiq_proto",
        spans::SPANS,
        encode::by_hiq(ZipkinProtoEncoder::new(), &ours),
    );
    worker.serve();
}

fn check(raw: &[Vec<Tree>], ours: &[Arc<TreeBatch>]) {
    let (mut encoder, mut out) = (ZipkinJsonEncoder::new(), Vec::new());
    for (trees, ours) in raw.iter().zip(ours) {
        hiq::encode(&mut encoder, ours, &mut out);
        let found: Vec<Value> = serde_json::from_slice(&out).expect("a list of spans");
        let expected = trees.iter().flat_map(|tree| {
            let spans = tree.spans.iter();
            spans.map(|span| (format!("{:032x}", tree.trace_id), span))
        });
        assert_eq!(found.len(), spans::SPANS, "all spans");
        for (found, (trace_id, span)) in found.iter().zip(expected) {
            assert_eq!(found["traceId"], trace_id);
            assert_eq!(found["id"], format!("{:016x}", span.id));
            assert_eq!(found["timestamp"], span.start_nanos / 1_000);
            for (key, _) in &span.attributes {
                assert!(found["tags"][*key].is_string(), "{key} of {found}");
            }
        }
    }
}
