//! A `Batch` of `jaeger.thrift`, or the call of `emitBatch` that carries it. Never panics, copies no more than values.

use std::borrow::Cow;

use hiq_core::decode::{DecodeError, LooseAttributes, LooseValue};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::Value;

use super::batch::{Batch, Log, Process, Reference, Span, nanos_of_micros};

mod wire;

pub(super) use wire::Protocol;
use wire::{Field, Kind, Read, Reader};

/// Reads all of `payload`.
pub(super) fn read(payload: &[u8], protocol: Protocol) -> Result<Batch<'_>, DecodeError> {
    let mut reader = Reader::new(payload, protocol);
    let batch = if reader.begins_with_call() {
        read_call(&mut reader)
    } else {
        read_batch(&mut reader)
    };
    batch.map_err(|problem| DecodeError::new("Jaeger thrift", reader.offset(), problem))
}

fn read_call<'p>(reader: &mut Reader<'p>) -> Read<Batch<'p>> {
    reader.call()?;
    let mut batch = Batch::default();
    each_field(reader, |reader, field| match (field.number, field.kind) {
        (1, Kind::Struct) => read_batch(reader).map(|read| batch = read),
        _ => reader.skip(field.kind, 0),
    })?;
    Ok(batch)
}

/// Reads a struct; `each` reads or skips the value of each field.
fn each_field<'p>(
    reader: &mut Reader<'p>,
    mut each: impl FnMut(&mut Reader<'p>, Field) -> Read<()>,
) -> Read<()> {
    let mut last = 0;
    while let Some(field) = reader.field(&mut last)? {
        each(reader, field)?;
    }
    Ok(())
}

/// Reads a list of structs.
fn each_item<'p>(
    reader: &mut Reader<'p>,
    mut each: impl FnMut(&mut Reader<'p>) -> Read<()>,
) -> Read<()> {
    let (kind, items) = reader.list()?;
    if kind != Kind::Struct && items > 0 {
        return Err("a list holds something else than structs");
    }
    for _ in 0..items {
        each(reader)?;
    }
    Ok(())
}

fn read_batch<'p>(reader: &mut Reader<'p>) -> Read<Batch<'p>> {
    let mut batch = Batch::default();
    let (process, spans) = (&mut batch.process, &mut batch.spans);
    each_field(reader, |reader, field| match (field.number, field.kind) {
        (1, Kind::Struct) => read_process(reader).map(|read| *process = read),
        (2, Kind::List) => each_item(reader, |reader| {
            spans.push(read_span(reader)?);
            Ok(())
        }),
        _ => reader.skip(field.kind, 0),
    })?;
    Ok(batch)
}

fn read_process<'p>(reader: &mut Reader<'p>) -> Read<Process<'p>> {
    let mut process = Process::default();
    each_field(reader, |reader, field| {
        match (field.number, field.kind) {
            (1, Kind::Bytes) => process.name = reader.text()?,
            (2, Kind::List) => read_tags(reader, &mut process.tags)?,
            _ => reader.skip(field.kind, 0)?,
        }
        Ok(())
    })?;
    Ok(process)
}

fn read_span<'p>(reader: &mut Reader<'p>) -> Read<Span<'p>> {
    let (mut span, mut low, mut high) = (Span::default(), 0, 0);
    each_field(reader, |reader, field| {
        match (field.number, field.kind) {
            (1, Kind::I64) => low = reader.i64()?,
            (2, Kind::I64) => high = reader.i64()?,
            (3, Kind::I64) => span.id = span_id(reader.i64()?),
            (4, Kind::I64) => span.parent = span_id(reader.i64()?),
            (5, Kind::Bytes) => span.name = reader.text()?,
            (6, Kind::List) => read_references(reader, &mut span.references)?,
            (7, Kind::I32) => span.flags = u64::from(reader.i32()?.cast_unsigned()),
            (8, Kind::I64) => span.start_nanos = nanos_of_micros(reader.i64()?),
            (9, Kind::I64) => span.duration_nanos = nanos_of_micros(reader.i64()?),
            (10, Kind::List) => read_tags(reader, &mut span.tags)?,
            (11, Kind::List) => read_logs(reader, &mut span.logs)?,
            _ => reader.skip(field.kind, 0)?,
        }
        Ok(())
    })?;
    span.trace_id = trace_id(high, low);
    Ok(span)
}

fn span_id(number: i64) -> SpanId {
    SpanId(number.cast_unsigned())
}

fn trace_id(high: i64, low: i64) -> TraceId {
    let [high, low] = [high, low].map(|half| u128::from(half.cast_unsigned()));
    TraceId((high << 64 | low).to_be_bytes())
}

fn read_references(reader: &mut Reader<'_>, references: &mut Vec<Reference>) -> Read<()> {
    each_item(reader, |reader| {
        let (mut reference, mut low, mut high) = (Reference::default(), 0, 0);
        each_field(reader, |reader, field| {
            match (field.number, field.kind) {
                (1, Kind::I32) => reference.follows_from = reader.i32()? == 1,
                (2, Kind::I64) => low = reader.i64()?,
                (3, Kind::I64) => high = reader.i64()?,
                (4, Kind::I64) => reference.span_id = span_id(reader.i64()?),
                _ => reader.skip(field.kind, 0)?,
            }
            Ok(())
        })?;
        reference.trace_id = trace_id(high, low);
        references.push(reference);
        Ok(())
    })
}

fn read_logs<'p>(reader: &mut Reader<'p>, logs: &mut Vec<Log<'p>>) -> Read<()> {
    each_item(reader, |reader| {
        let mut log = Log::default();
        each_field(reader, |reader, field| {
            match (field.number, field.kind) {
                (1, Kind::I64) => log.nanos = nanos_of_micros(reader.i64()?),
                (2, Kind::List) => read_tags(reader, &mut log.fields)?,
                _ => reader.skip(field.kind, 0)?,
            }
            Ok(())
        })?;
        logs.push(log);
        Ok(())
    })
}

fn read_tags<'p>(reader: &mut Reader<'p>, tags: &mut LooseAttributes<'p>) -> Read<()> {
    each_item(reader, |reader| {
        tags.push(read_tag(reader)?);
        Ok(())
    })
}

/// The value is the one that is there, whatever type is named.
fn read_tag<'p>(reader: &mut Reader<'p>) -> Read<(Cow<'p, str>, LooseValue<'p>)> {
    let (mut key, mut value) = (Cow::default(), LooseValue::Text(""));
    each_field(reader, |reader, field| {
        match (field.number, field.kind) {
            (1, Kind::Bytes) => key = reader.text()?,
            (3, Kind::Bytes) => value = reader.text()?.into(),
            (4, Kind::Double) => value = Value::F64(reader.double()?).into(),
            (5, Kind::Bool(_)) => value = Value::Bool(reader.bool(field.kind)?).into(),
            (6, Kind::I64) => value = Value::Int(reader.i64()?).into(),
            (7, Kind::Bytes) => value = Value::Bytes(reader.bytes()?.to_vec()).into(),
            _ => reader.skip(field.kind, 0)?,
        }
        Ok(())
    })?;
    Ok((key, value))
}
