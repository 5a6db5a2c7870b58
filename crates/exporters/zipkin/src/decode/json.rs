//! Lists of spans in JSON, span by span.

use std::fmt;
use std::marker::PhantomData;

use hiq_core::decode::DecodeError;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Hands each span of `payload` to `take`: lists, and lists of lists, one after the other.
pub(super) fn each_span<'p, S: Deserialize<'p>>(
    payload: &'p [u8],
    format: &'static str,
    mut take: impl FnMut(S) -> Result<(), String>,
) -> Result<(), DecodeError> {
    let mut rest = payload;
    while !rest.trim_ascii_start().is_empty() {
        let mut reader = serde_json::Deserializer::from_slice(rest);
        let list = Spans {
            take: &mut take,
            depth: 0,
            span: PhantomData,
        };
        let read = list.deserialize(&mut reader);
        let offset = payload.len() - rest.len();
        read.map_err(|error| located(rest, offset, format, &error))?;
        rest = &rest[reader.into_iter::<serde::de::IgnoredAny>().byte_offset()..];
    }
    Ok(())
}

/// Lists inside each other: those of a query's answer are two.
const MAX_DEPTH: u32 = 2;

/// A span, or a list of these.
struct Spans<'t, S, F> {
    take: &'t mut F,
    depth: u32,
    span: PhantomData<S>,
}

impl<'p, S: Deserialize<'p>, F: FnMut(S) -> Result<(), String>> DeserializeSeed<'p>
    for Spans<'_, S, F>
{
    type Value = ();

    fn deserialize<D: Deserializer<'p>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'p, S: Deserialize<'p>, F: FnMut(S) -> Result<(), String>> Visitor<'p> for Spans<'_, S, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span or a list of spans")
    }

    fn visit_map<A: MapAccess<'p>>(self, map: A) -> Result<(), A::Error> {
        let span = S::deserialize(MapAccessDeserializer::new(map))?;
        (self.take)(span).map_err(A::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'p>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth == MAX_DEPTH {
            return Err(A::Error::custom(
                "lists are nested deeper than those of an answer",
            ));
        }
        loop {
            let inner = Spans {
                take: &mut *self.take,
                depth: self.depth + 1,
                span: PhantomData,
            };
            if list.next_element_seed(inner)?.is_none() {
                return Ok(());
            }
        }
    }
}

/// The parser's error at its byte instead of line and column.
fn located(
    text: &[u8],
    before: usize,
    format: &'static str,
    error: &serde_json::Error,
) -> DecodeError {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let line_start: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let offset = line_start + error.column().saturating_sub(1);
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    DecodeError::new(format, before + offset.min(text.len()), message)
}
