//! Reads `jaeger.api_v2` with prost, by the numbers of `model.proto` and `collector.proto`.

use prost::Message;

use super::{Reference, Span, Tags, Value, normal};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PostSpansRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) batch: Option<Batch>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) spans: Vec<ProtoSpan>,
    #[prost(message, optional, tag = "2")]
    pub(crate) process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Process {
    #[prost(string, tag = "1")]
    pub(crate) service_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) tags: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProtoSpan {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) operation_name: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) references: Vec<SpanRef>,
    #[prost(uint32, tag = "5")]
    pub(crate) flags: u32,
    #[prost(message, optional, tag = "6")]
    pub(crate) start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    pub(crate) duration: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) logs: Vec<Log>,
    #[prost(message, optional, tag = "10")]
    pub(crate) process: Option<Process>,
    #[prost(string, tag = "11")]
    pub(crate) process_id: String,
    #[prost(string, repeated, tag = "12")]
    pub(crate) warnings: Vec<String>,
}

/// `Timestamp` and `Duration` have the same fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Time {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) span_id: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub(crate) ref_type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Log {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) fields: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(int32, tag = "2")]
    pub(crate) v_type: i32,
    #[prost(string, tag = "3")]
    pub(crate) v_str: String,
    #[prost(bool, tag = "4")]
    pub(crate) v_bool: bool,
    #[prost(int64, tag = "5")]
    pub(crate) v_int64: i64,
    #[prost(double, tag = "6")]
    pub(crate) v_float64: f64,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) v_binary: Vec<u8>,
}

pub(crate) fn request(payload: &[u8]) -> PostSpansRequest {
    PostSpansRequest::decode(payload).unwrap()
}

/// A span by itself with its process, as a batch of one.
pub(crate) fn message(payload: &[u8]) -> Vec<Span> {
    let mut span = ProtoSpan::decode(payload).unwrap();
    let process = span.process.take();
    assert!(process.is_some());
    let spans = vec![span];
    of_batch(Batch { spans, process })
}

pub(crate) fn spans(payload: &[u8]) -> Vec<Span> {
    of_batch(request(payload).batch.unwrap())
}

/// The parent is the first reference, where that is a child-of in the same trace.
fn of_batch(batch: Batch) -> Vec<Span> {
    let process = batch.process.unwrap();
    let tags = tags(&process.tags);
    let spans = batch.spans.iter().map(|read| {
        let references: Vec<Reference> = read.references.iter().map(reference).collect();
        let trace_id = id(&read.trace_id);
        let is_parent = |first: &&Reference| !first.follows_from && first.trace_id == trace_id;
        let parent = references
            .first()
            .filter(is_parent)
            .map(|first| first.span_id);
        Span {
            service: process.service_name.clone(),
            process: tags.clone(),
            trace_id,
            id: u64::from_be_bytes(id(&read.span_id)),
            parent: parent.unwrap_or(0),
            name: read.operation_name.clone(),
            references: references
                .into_iter()
                .skip(usize::from(parent.is_some()))
                .collect(),
            flags: read.flags.into(),
            start: nanos(read.start_time.as_ref()),
            duration: nanos(read.duration.as_ref()),
            tags: self::tags(&read.tags),
            logs: read.logs.iter().map(log).collect(),
        }
    });
    normal(spans.collect())
}

fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn nanos(time: Option<&Time>) -> u64 {
    let time = time.unwrap();
    assert!((0..1_000_000_000).contains(&time.nanos));
    u64::try_from(time.seconds).unwrap() * 1_000_000_000 + u64::try_from(time.nanos).unwrap()
}

fn reference(reference: &SpanRef) -> Reference {
    Reference {
        follows_from: reference.ref_type == 1,
        trace_id: id(&reference.trace_id),
        span_id: u64::from_be_bytes(id(&reference.span_id)),
    }
}

fn log(log: &Log) -> (u64, Tags) {
    (nanos(log.timestamp.as_ref()), tags(&log.fields))
}

/// A value of another type than the one that is named must be absent.
fn tags(tags: &[KeyValue]) -> Tags {
    let read = tags.iter().map(|tag| {
        let mut rest = tag.clone();
        rest.key.clear();
        rest.v_type = 0;
        let value = match tag.v_type {
            0 => Value::text(&std::mem::take(&mut rest.v_str)),
            1 => Value::Bool(std::mem::take(&mut rest.v_bool)),
            2 => Value::Int(std::mem::take(&mut rest.v_int64)),
            3 => Value::F64(std::mem::take(&mut rest.v_float64).to_bits()),
            4 => Value::Bytes(std::mem::take(&mut rest.v_binary)),
            other => panic!("type {other}"),
        };
        assert_eq!(rest, KeyValue::default());
        (tag.key.clone(), value)
    });
    read.collect()
}
