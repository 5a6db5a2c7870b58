//! Answers of any server: each becomes a verdict that accounts for all spans.
#![no_main]

use hiq_core::encode::{Encoder as _, Verdict};
use hiq_core::transport::{HttpReply, Reply};
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use libfuzzer_sys::fuzz_target;

const ITEMS: usize = 100;

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (status, is_json, body) = input;
    let mut reply = HttpReply::new(status);
    reply.body = body.to_vec();
    reply.content_type = if is_json {
        "application/json"
    } else {
        "application/x-protobuf"
    }
    .into();
    let reply = Reply::Http(reply);
    for verdict in [
        OtlpProtoEncoder::new().judge(&reply, ITEMS),
        OtlpJsonEncoder::new().judge(&reply, ITEMS),
    ] {
        if let Verdict::Delivered { rejected, .. } = verdict {
            assert!(rejected <= ITEMS, "{rejected} of {ITEMS}");
        }
    }
});
