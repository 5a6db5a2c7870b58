//! Requests in protobuf.

use hiq_core::decode::{
    DecodeError, LooseAttributes, LooseEvent, LooseLink, LooseSpan, LooseValue,
};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::{Kind, Status};
use hiq_core::value::Value;

use super::model::{Origin, ResourceSpans, ScopeSpans};
use crate::flags::set_flags;
use hiq_core::decode::proto::{Field, Fields, ReadError};
use hiq_core::value::MAX_VALUE_DEPTH;

const FORMAT: &str = "OTLP protobuf";

type Read<T> = Result<T, ReadError>;

/// Hands the spans of each resource to `take`.
pub(super) fn each_resource_spans(
    payload: &[u8],
    mut take: impl FnMut(ResourceSpans<'_>),
) -> Result<(), DecodeError> {
    let mut read_all = || {
        for field in Fields::new(payload, 0) {
            let field = field?;
            if field.number == 1 {
                take(read_resource_spans(field.message()?)?);
            }
        }
        Ok(())
    };
    read_all().map_err(|error: ReadError| DecodeError::not_proto(FORMAT, error))
}

fn read_resource_spans(fields: Fields<'_>) -> Read<ResourceSpans<'_>> {
    let mut scopes = Vec::new();
    let (mut resource, mut schema_url) = (Origin::default(), "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_resource(&mut resource, field.message()?)?,
            2 => scopes.push(read_scope_spans(field.message()?)?),
            3 => schema_url = field.text()?,
            _ => {}
        }
    }
    Ok(ResourceSpans {
        resource: resource.into_resource(schema_url),
        scopes,
    })
}

fn read_resource<'p>(resource: &mut Origin<'p>, fields: Fields<'p>) -> Read<()> {
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_key_value(&mut resource.attributes, field)?,
            2 => resource.dropped = count(field)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_scope_spans(fields: Fields<'_>) -> Read<ScopeSpans<'_>> {
    let mut spans = Vec::new();
    let (mut scope, mut schema_url) = (Origin::default(), "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_scope(&mut scope, field.message()?)?,
            2 => spans.push(read_span(field.message()?)?),
            3 => schema_url = field.text()?,
            _ => {}
        }
    }
    Ok(ScopeSpans {
        scope: scope.into_scope(schema_url),
        spans,
    })
}

fn read_scope<'p>(scope: &mut Origin<'p>, fields: Fields<'p>) -> Read<()> {
    for field in fields {
        let field = field?;
        match field.number {
            1 => scope.name = field.text()?.into(),
            2 => scope.version = field.text()?.into(),
            3 => read_key_value(&mut scope.attributes, field)?,
            4 => scope.dropped = count(field)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_span(fields: Fields<'_>) -> Read<LooseSpan<'_>> {
    let mut span = LooseSpan::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => span.trace_id = trace_id(field)?,
            2 => span.id = span_id(field)?,
            3 => span.trace_state = field.text()?.into(),
            4 => span.parent = span_id(field)?,
            5 => span.name = field.text()?.into(),
            6 => span.kind = Kind::from_otlp(small(field)?),
            7 => span.start = field.fixed64()?,
            8 => span.end = field.fixed64()?,
            9 => read_key_value(&mut span.attributes, field)?,
            10 => span.dropped.attributes = count(field)?,
            11 => span.events.push(read_event(field.message()?)?),
            12 => span.dropped.events = count(field)?,
            13 => span.links.push(read_link(field.message()?)?),
            14 => span.dropped.links = count(field)?,
            15 => read_status(&mut span, field.message()?)?,
            16 => set_flags(&mut span, field.fixed32()?),
            _ => {}
        }
    }
    Ok(span)
}

fn read_status<'p>(span: &mut LooseSpan<'p>, fields: Fields<'p>) -> Read<()> {
    for field in fields {
        let field = field?;
        match field.number {
            2 => span.message = field.text()?.into(),
            3 => span.status = Status::from_otlp(small(field)?),
            _ => {}
        }
    }
    Ok(())
}

fn read_event(fields: Fields<'_>) -> Read<LooseEvent<'_>> {
    let mut event = LooseEvent::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => event.time = field.fixed64()?,
            2 => event.name = field.text()?.into(),
            3 => read_key_value(&mut event.attributes, field)?,
            4 => event.dropped_attributes = count(field)?,
            _ => {}
        }
    }
    Ok(event)
}

fn read_link(fields: Fields<'_>) -> Read<LooseLink<'_>> {
    let mut link = LooseLink::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => link.trace_id = trace_id(field)?,
            2 => link.span_id = span_id(field)?,
            3 => link.trace_state = field.text()?.into(),
            4 => read_key_value(&mut link.attributes, field)?,
            5 => link.dropped_attributes = count(field)?,
            6 => link.flags = field.fixed32()?,
            _ => {}
        }
    }
    Ok(link)
}

fn read_key_value<'p>(attributes: &mut LooseAttributes<'p>, field: Field<'p>) -> Read<()> {
    if attributes.capacity() == 0 {
        // As many as most spans have.
        attributes.reserve(8);
    }
    let (key, value) = key_value(field, 0)?;
    attributes.push((key.into(), value));
    Ok(())
}

fn key_value(field: Field<'_>, depth: usize) -> Read<(&str, LooseValue<'_>)> {
    if let Some(pair) = usual_key_value(field.bytes()?) {
        return Ok(pair);
    }
    let (mut key, mut value) = ("", Value::Empty.into());
    for field in field.message()? {
        let field = field?;
        match field.number {
            1 => key = field.text()?,
            2 => value = loose_value(field, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Reads an `AnyValue`: one that is text and nothing else stays where it is.
fn loose_value(field: Field<'_>, depth: usize) -> Read<LooseValue<'_>> {
    let mut fields = field.message()?;
    if let (Some(only), None) = (fields.next().transpose()?, fields.next())
        && only.number == 1
    {
        return Ok(LooseValue::Text(only.text()?));
    }
    any_value(field, depth).map(LooseValue::Owned)
}

/// A key and a simple value in the form that all encoders give them: each once, in the order of their numbers, shorter than 128
/// bytes. `None` for everything else, wrong bytes as well.
#[inline]
fn usual_key_value(bytes: &[u8]) -> Option<(&str, LooseValue<'_>)> {
    let (key, bytes) = short_field(0x0a, bytes)?;
    let (value, rest) = short_field(0x12, bytes)?;
    if !rest.is_empty() {
        return None;
    }
    let value = match value {
        [0x0a, ..] => {
            let (text, rest) = short_field(0x0a, value)?;
            if !rest.is_empty() {
                return None;
            }
            LooseValue::Text(std::str::from_utf8(text).ok()?)
        }
        &[0x10, flag @ (0 | 1)] => Value::Bool(flag == 1).into(),
        &[0x18, number] if number < 0x80 => Value::Int(i64::from(number)).into(),
        [0x21, bits @ ..] => Value::F64(f64::from_le_bytes(bits.try_into().ok()?)).into(),
        _ => return None,
    };
    Some((std::str::from_utf8(key).ok()?, value))
}

/// The bytes of a field with this tag and a length of one byte, and what is behind it.
#[inline]
fn short_field(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        &[found, length, ref rest @ ..] if found == tag && length < 0x80 => {
            rest.split_at_checked(usize::from(length))
        }
        _ => None,
    }
}

/// Reads an `AnyValue`, `depth` lists and maps deep. Of several values the last counts, as everywhere in protobuf.
fn any_value(field: Field<'_>, depth: usize) -> Read<Value> {
    let mut value = Value::Empty;
    for field in field.message()? {
        let field = field?;
        value = match field.number {
            1 => Value::Str(field.text()?.to_owned()),
            2 => Value::Bool(field.varint()? != 0),
            3 => Value::Int(field.varint()?.cast_signed()),
            4 => Value::F64(f64::from_bits(field.fixed64()?)),
            5 | 6 if depth == MAX_VALUE_DEPTH => {
                return Err(field.error("a value is nested deeper than 64 levels"));
            }
            5 => Value::Array(items(field, |item| any_value(item, depth + 1))?),
            6 => Value::Map(items(field, |item| {
                let (key, value) = key_value(item, depth + 1)?;
                Ok((key.to_owned(), value.into_value()))
            })?),
            7 => Value::Bytes(field.bytes()?.to_vec()),
            _ => continue,
        };
    }
    Ok(value)
}

/// The items of an `ArrayValue` or `KeyValueList`.
fn items<'p, T>(field: Field<'p>, read: impl Fn(Field<'p>) -> Read<T>) -> Read<Vec<T>> {
    let mut items = Vec::new();
    for field in field.message()? {
        let field = field?;
        if field.number == 1 {
            items.push(read(field)?);
        }
    }
    Ok(items)
}

fn trace_id(field: Field<'_>) -> Read<TraceId> {
    match field.bytes()? {
        [] => Ok(TraceId::INVALID),
        bytes => match bytes.try_into() {
            Ok(id) => Ok(TraceId(id)),
            Err(_) => Err(field.error("a trace id is not 16 bytes long")),
        },
    }
}

fn span_id(field: Field<'_>) -> Read<SpanId> {
    match field.bytes()? {
        [] => Ok(SpanId::INVALID),
        bytes => match bytes.try_into() {
            Ok(id) => Ok(SpanId(u64::from_be_bytes(id))),
            Err(_) => Err(field.error("a span id is not 8 bytes long")),
        },
    }
}

/// A `uint32`: the low half, as decoders do.
#[expect(clippy::cast_possible_truncation, reason = "protobuf's own rule")]
fn count(field: Field<'_>) -> Read<u32> {
    Ok(field.varint()? as u32)
}

/// The number of an enumeration; those beyond a byte are unknown all alike.
fn small(field: Field<'_>) -> Read<u8> {
    Ok(u8::try_from(field.varint()?).unwrap_or(u8::MAX))
}
