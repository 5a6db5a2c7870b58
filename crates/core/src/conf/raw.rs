//! Values as they stand in JSON and YAML, before anything is made of them.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::check::kind;
use crate::value::Value;

/// A list of rows, or what stands in its place.
pub(super) struct Top(pub(super) Result<Vec<Spanned<Raw>>, &'static str>);

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopVisitor;

        impl<'de> Visitor<'de> for TopVisitor {
            type Value = Top;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of rows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Top, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = items.next_element()? {
                    rows.push(row);
                }
                Ok(Top(Ok(rows)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Top, A::Error> {
                RawVisitor.visit_map(map).map(|_| Top(Err("an object")))
            }

            fn visit_str<E>(self, _: &str) -> Result<Top, E> {
                Ok(Top(Err("a text")))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Top, E> {
                Ok(Top(Err("a number")))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Top, E> {
                Ok(Top(Err("a number")))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Top, E> {
                Ok(Top(Err("a number")))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Top, E> {
                Ok(Top(Err("a truth value")))
            }

            fn visit_unit<E>(self) -> Result<Top, E> {
                Ok(Top(Err("empty")))
            }
        }

        deserializer.deserialize_any(TopVisitor)
    }
}

/// Any value, repeated keys and the order of keys kept.
pub(super) struct Raw(pub(super) Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Self)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number)
            .map(Value::Int)
            .map_err(|_| E::custom("number is out of range"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::F64(number))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Empty)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Raw(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Raw(key), Raw(value))) = map.next_entry()? {
            match key {
                Value::Str(key) => pairs.push((key, value)),
                other => {
                    return Err(A::Error::custom(format!(
                        "a key is {}, not a text",
                        kind(&other)
                    )));
                }
            }
        }
        Ok(Value::Map(pairs))
    }
}
