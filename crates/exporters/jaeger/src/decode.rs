//! Jaeger's formats read back: thrift, protobuf, its JSON, and the JSON of its query API and page.

use std::sync::Arc;

use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::tree::SpanTree;

mod batch;
mod json;
mod message_json;
mod proto;
mod tags;
mod thrift;

/// Reads what this crate writes, and the JSON that Jaeger's query API answers and its page downloads.
///
/// Each fragment holds the spans of one process and one trace that hang together. What OpenTelemetry's mapping made tags becomes again
/// what it was: kind, status, trace state, scope, dropped counts, the names of events. Tags of a scope's attributes stay with the span,
/// and lists stay the JSON that they travel as. A reference `FOLLOWS_FROM` is a link; the first `CHILD_OF` within the trace is the
/// parent where no other field says one. Texts that are not UTF-8 are made so.
///
/// Takes a few times the payload's memory.
///
/// ```
/// use hiq_core::decode::Decoder;
/// use hiq_jaeger::JaegerDecoder;
///
/// let page = br#"{"data": [{"traceID": "2a", "processes": {"p": {"serviceName": "shop"}}, "spans": [
///     {"traceID": "2a", "spanID": "7", "processID": "p", "operationName": "buy", "startTime": 5, "duration": 3}]}]}"#;
/// let mut names = Vec::new();
/// JaegerDecoder::json().decode(page, &mut |tree| {
///     let spans = tree.spans();
///     names.extend(spans.map(|span| (span.name().as_str().to_owned(), span.duration_nanos())));
/// })?;
/// assert_eq!(names, [("buy".to_owned(), 3_000)]);
/// # Ok::<(), hiq_core::decode::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JaegerDecoder {
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Compact,
    Binary,
    Proto,
    Message,
    MessageJson,
    Json,
}

impl JaegerDecoder {
    /// Reads a call of `emitBatch`, or a `Batch`, in thrift's compact protocol.
    pub fn compact() -> Self {
        Self {
            form: Form::Compact,
        }
    }

    /// Reads a call of `emitBatch`, or a `Batch`, in thrift's binary protocol.
    pub fn binary() -> Self {
        Self { form: Form::Binary }
    }

    /// Reads a `PostSpansRequest` in protobuf.
    pub fn proto() -> Self {
        Self { form: Form::Proto }
    }

    /// Reads a `Span` in protobuf with its process: a message of Kafka.
    pub fn message() -> Self {
        Self {
            form: Form::Message,
        }
    }

    /// Reads a `Span` in protobuf's JSON with its process: a message of Kafka as the Collector's `jaeger_json` writes it, and Jaeger up
    /// to 1.x where its encoding is `json`.
    pub fn message_json() -> Self {
        Self {
            form: Form::MessageJson,
        }
    }

    /// Reads traces in JSON: an answer of the query API with its `data`, or a trace by itself, one after the other.
    pub fn json() -> Self {
        Self { form: Form::Json }
    }
}

impl Decoder for JaegerDecoder {
    fn decode(
        &mut self,
        payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        match self.form {
            Form::Compact => thrift::read(payload, thrift::Protocol::Compact)?.hand_out(sink),
            Form::Binary => thrift::read(payload, thrift::Protocol::Binary)?.hand_out(sink),
            Form::Proto => {
                for batch in proto::read(payload)? {
                    batch.hand_out(sink);
                }
            }
            Form::Message => proto::read_message(payload)?.hand_out(sink),
            Form::MessageJson => message_json::read(payload)?.hand_out(sink),
            Form::Json => json::each_batch(payload, |batch| batch.hand_out(&mut *sink))?,
        }
        Ok(())
    }
}
