//! What spans and metrics share: resources, scopes, attributes, ids.

use hiq_core::decode::proto::{Field, Fields, ReadError};
use hiq_core::decode::{LooseAttributes, LooseValue};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::{MAX_VALUE_DEPTH, Value};

use crate::decode::model::Origin;

pub(super) const FORMAT: &str = "OTLP protobuf";

pub(super) type Read<T> = Result<T, ReadError>;

pub(super) fn read_resource<'p>(resource: &mut Origin<'p>, fields: Fields<'p>) -> Read<()> {
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

pub(super) fn read_scope<'p>(scope: &mut Origin<'p>, fields: Fields<'p>) -> Read<()> {
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

pub(super) fn read_key_value<'p>(
    attributes: &mut LooseAttributes<'p>,
    field: Field<'p>,
) -> Read<()> {
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

pub(super) fn trace_id(field: Field<'_>) -> Read<TraceId> {
    match field.bytes()? {
        [] => Ok(TraceId::INVALID),
        bytes => match bytes.try_into() {
            Ok(id) => Ok(TraceId(id)),
            Err(_) => Err(field.error("a trace id is not 16 bytes long")),
        },
    }
}

pub(super) fn span_id(field: Field<'_>) -> Read<SpanId> {
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
pub(super) fn count(field: Field<'_>) -> Read<u32> {
    Ok(field.varint()? as u32)
}

/// The number of an enumeration; those beyond a byte are unknown all alike.
pub(super) fn small(field: Field<'_>) -> Read<u8> {
    Ok(u8::try_from(field.varint()?).unwrap_or(u8::MAX))
}
