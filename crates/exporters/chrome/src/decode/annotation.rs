//! Debug annotations of Perfetto as JSON, which is how arguments are kept.

use hiq_core::decode::proto::{Field, ReadError};
use hiq_core::wire::{Decimal, JsonStr, SignedDecimal, Writer};

use super::packets::Sequence;
use crate::json::{MAX_VALUE_DEPTH, TOO_DEEP, number};

type Read<T> = Result<T, ReadError>;

/// Writes an annotation as JSON, with its name where it stands in an object.
pub(super) fn annotation(
    writer: &mut Writer<'_>,
    said: &Sequence,
    field: Field<'_>,
    depth: usize,
    is_named: bool,
) -> Read<()> {
    let mut name = String::new();
    let mut value = None;
    let (mut entries, mut items) = (Vec::new(), Vec::new());
    for part in field.message()? {
        let part = part?;
        match part.number {
            1 => {
                let known = said.annotations.get(&part.varint()?);
                name = known.cloned().unwrap_or_default();
            }
            10 => name = lossy(part.bytes()?),
            11 => entries.push(part),
            12 => items.push(part),
            2..=8 | 17 => value = Some(part),
            _ => {}
        }
    }
    if is_named {
        writer.put((b'"', JsonStr(&name), b"\":"));
    }
    if depth > MAX_VALUE_DEPTH {
        writer.put((b'"', JsonStr(TOO_DEEP), b'"'));
        return Ok(());
    }
    if let Some(value) = value {
        return scalar(writer, said, value);
    }
    let (brackets, parts, is_named) = match (entries.is_empty(), items.is_empty()) {
        (true, true) => {
            writer.put(b"null");
            return Ok(());
        }
        (false, _) => ([b'{', b'}'], entries, true),
        (true, false) => ([b'[', b']'], items, false),
    };
    writer.put(brackets[0]);
    for (index, part) in parts.into_iter().enumerate() {
        writer.put((index > 0).then_some(b','));
        annotation(writer, said, part, depth + 1, is_named)?;
    }
    writer.put(brackets[1]);
    Ok(())
}

fn scalar(writer: &mut Writer<'_>, said: &Sequence, field: Field<'_>) -> Read<()> {
    match field.number {
        2 if field.varint()? != 0 => writer.put(b"true"),
        2 => writer.put(b"false"),
        3 | 7 => writer.put(Decimal(field.varint()?)),
        4 => writer.put(SignedDecimal(field.varint()?.cast_signed())),
        5 => {
            let double = f64::from_bits(field.fixed64()?);
            if double.is_finite() {
                number(writer, double);
            } else if double.is_nan() {
                writer.put(b"NaN");
            } else if double > 0.0 {
                writer.put(b"Infinity");
            } else {
                writer.put(b"-Infinity");
            }
        }
        17 => {
            let text = said.texts.get(&field.varint()?);
            writer.put((b'"', JsonStr(text.map_or("", String::as_str)), b'"'));
        }
        _ => writer.put((b'"', JsonStr(&lossy(field.bytes()?)), b'"')),
    }
    Ok(())
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
