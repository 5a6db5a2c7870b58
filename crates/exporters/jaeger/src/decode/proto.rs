//! `PostSpansRequest` of `jaeger.api_v2`, and its `Span` by itself.

use std::borrow::Cow;

use hiq_core::decode::proto::{Field, Fields, ReadError};
use hiq_core::decode::{DecodeError, LooseAttributes};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::Value;

use super::batch::{Batch, Log, Process, Reference, Span};

type Read<T> = Result<T, ReadError>;

/// The spans of the batch, and those apart that have a process of their own.
pub(super) fn read(payload: &[u8]) -> Result<Vec<Batch<'_>>, DecodeError> {
    read_request(payload).map_err(|error| DecodeError::not_proto("Jaeger protobuf", error))
}

/// A span by itself.
pub(super) fn read_message(payload: &[u8]) -> Result<Batch<'_>, DecodeError> {
    let (span, process) = read_span(Fields::new(payload, 0))
        .map_err(|error| DecodeError::not_proto("Jaeger protobuf", error))?;
    Ok(Batch {
        process: process.unwrap_or_default(),
        spans: vec![span],
    })
}

fn read_request(payload: &[u8]) -> Read<Vec<Batch<'_>>> {
    let mut batches = Vec::new();
    for field in Fields::new(payload, 0) {
        let field = field?;
        if field.number == 1 {
            read_batch(field.message()?, &mut batches)?;
        }
    }
    Ok(batches)
}

fn read_batch<'p>(fields: Fields<'p>, batches: &mut Vec<Batch<'p>>) -> Read<()> {
    let mut batch = Batch::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => match read_span(field.message()?)? {
                (span, None) => batch.spans.push(span),
                (span, Some(process)) => batches.push(Batch {
                    process,
                    spans: vec![span],
                }),
            },
            2 => batch.process = read_process(field.message()?)?,
            _ => {}
        }
    }
    batches.push(batch);
    Ok(())
}

fn read_process(fields: Fields<'_>) -> Read<Process<'_>> {
    let mut process = Process::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => process.name = text(field)?,
            2 => read_tag(&mut process.tags, field)?,
            _ => {}
        }
    }
    Ok(process)
}

fn read_span(fields: Fields<'_>) -> Read<(Span<'_>, Option<Process<'_>>)> {
    let (mut span, mut process) = (Span::default(), None);
    for field in fields {
        let field = field?;
        match field.number {
            1 => span.trace_id = TraceId(id(field)?),
            2 => span.id = SpanId(u64::from_be_bytes(id(field)?)),
            3 => span.name = text(field)?,
            4 => span.references.push(read_reference(field.message()?)?),
            5 => span.flags = field.varint()?,
            6 => span.start_nanos = read_nanos(field.message()?)?,
            7 => span.duration_nanos = read_nanos(field.message()?)?,
            8 => read_tag(&mut span.tags, field)?,
            9 => span.logs.push(read_log(field.message()?)?),
            10 => process = Some(read_process(field.message()?)?),
            _ => {}
        }
    }
    Ok((span, process))
}

fn read_reference(fields: Fields<'_>) -> Read<Reference> {
    let mut reference = Reference::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => reference.trace_id = TraceId(id(field)?),
            2 => reference.span_id = SpanId(u64::from_be_bytes(id(field)?)),
            3 => reference.follows_from = field.varint()? == 1,
            _ => {}
        }
    }
    Ok(reference)
}

fn read_log(fields: Fields<'_>) -> Read<Log<'_>> {
    let mut log = Log::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => log.nanos = read_nanos(field.message()?)?,
            2 => read_tag(&mut log.fields, field)?,
            _ => {}
        }
    }
    Ok(log)
}

/// Of a `Timestamp` or `Duration`; before 1970 and below zero are zero.
fn read_nanos(fields: Fields<'_>) -> Read<u64> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields {
        let field = field?;
        match field.number {
            1 => seconds = field.varint()?.cast_signed(),
            2 => nanos = field.varint()?.cast_signed(),
            _ => {}
        }
    }
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(u64::try_from(all.max(0)).unwrap_or(u64::MAX))
}

/// The value is that of the type that is named.
fn read_tag<'p>(tags: &mut LooseAttributes<'p>, field: Field<'p>) -> Read<()> {
    let (mut key, mut kind) = (Cow::default(), 0);
    let (mut string, mut bool, mut int, mut double) = (Cow::default(), false, 0, 0.0);
    let mut bytes = &[][..];
    for field in field.message()? {
        let field = field?;
        match field.number {
            1 => key = text(field)?,
            2 => kind = field.varint()?,
            3 => string = text(field)?,
            4 => bool = field.varint()? != 0,
            5 => int = field.varint()?.cast_signed(),
            6 => double = f64::from_bits(field.fixed64()?),
            7 => bytes = field.bytes()?,
            _ => {}
        }
    }
    let value = match kind {
        0 => string.into(),
        1 => Value::Bool(bool).into(),
        2 => Value::Int(int).into(),
        3 => Value::F64(double).into(),
        4 => Value::Bytes(bytes.to_vec()).into(),
        _ => return Err(field.error("a tag has a type that Jaeger does not know")),
    };
    tags.push((key, value));
    Ok(())
}

fn id<const N: usize>(field: Field<'_>) -> Read<[u8; N]> {
    let bytes = field.bytes()?;
    bytes
        .try_into()
        .map_err(|_| field.error("an id has a wrong length"))
}

fn text(field: Field<'_>) -> Read<Cow<'_, str>> {
    Ok(String::from_utf8_lossy(field.bytes()?))
}
