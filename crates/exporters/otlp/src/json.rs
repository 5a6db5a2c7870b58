//! Numbers as OTLP/JSON reads them: 64-bit integers as texts, and as numbers too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A signed 64-bit integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Int64(pub(crate) i64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Int64Visitor)
    }
}

struct Int64Visitor;

impl Visitor<'_> for Int64Visitor {
    type Value = Int64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit integer as text or number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Int64, E> {
        Ok(Int64(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Int64, E> {
        match i64::try_from(number) {
            Ok(number) => Ok(Int64(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Int64, E> {
        match text.parse() {
            Ok(number) => Ok(Int64(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// An unsigned 64-bit integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uint64(pub(crate) u64);

impl<'de> Deserialize<'de> for Uint64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Uint64Visitor)
    }
}

struct Uint64Visitor;

impl Visitor<'_> for Uint64Visitor {
    type Value = Uint64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unsigned 64-bit integer as text or number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Uint64, E> {
        Ok(Uint64(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Uint64, E> {
        match text.parse() {
            Ok(number) => Ok(Uint64(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// A double, also as `"NaN"`, `"Infinity"`, `"-Infinity"` or a number in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Double(pub(crate) f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = Double;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or NaN, Infinity, -Infinity")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Double, E> {
        Ok(Double(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest double is meant")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Double, E> {
        Ok(Double(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest double is meant")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Double, E> {
        Ok(Double(number as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Double, E> {
        match text {
            "NaN" => Ok(Double(f64::NAN)),
            "Infinity" => Ok(Double(f64::INFINITY)),
            "-Infinity" => Ok(Double(f64::NEG_INFINITY)),
            _ => match text.parse() {
                Ok(number) => Ok(Double(number)),
                Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
        }
    }
}
