//! Attribute values: what a program hands in ([`Value`]) and what an encoder reads back ([`ValueRef`]).

use crate::wire::Text;

pub mod text;

pub use text::{MAX_VALUE_DEPTH, TOO_DEEP};

/// An owned attribute value, as OpenTelemetry defines them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// UTF-8 text.
    Str(String),
    /// A truth value.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A double.
    F64(f64),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// A list, of mixed types if need be.
    Array(Vec<Value>),
    /// Keys and values, in order.
    Map(Vec<(String, Value)>),
    /// No value: OTLP's `AnyValue` with nothing set.
    Empty,
}

/// A value as it stands in a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// UTF-8 text that carries its length prefix: what most values of a tree are.
    Text(Text<'a>),
    /// UTF-8 text inside a list or map.
    Str(&'a str),
    /// A truth value.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A double.
    F64(f64),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// A list.
    Array(&'a [Value]),
    /// Keys and values, in order.
    Map(&'a [(String, Value)]),
    /// No value.
    Empty,
}

impl Value {
    /// The value as encoders read it.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Str(text) => ValueRef::Str(text),
            Self::Bool(b) => ValueRef::Bool(*b),
            Self::Int(i) => ValueRef::Int(*i),
            Self::F64(f) => ValueRef::F64(*f),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            Self::Array(items) => ValueRef::Array(items),
            Self::Map(pairs) => ValueRef::Map(pairs),
            Self::Empty => ValueRef::Empty,
        }
    }

    /// Bytes this value takes in memory, for the queue's budget.
    pub fn heap_bytes(&self) -> usize {
        let own = size_of::<Self>();
        own + match self {
            Self::Str(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(Self::heap_bytes).sum(),
            Self::Map(pairs) => pairs.iter().map(|(k, v)| k.len() + v.heap_bytes()).sum(),
            Self::Bool(_) | Self::Int(_) | Self::F64(_) | Self::Empty => 0,
        }
    }
}

impl ValueRef<'_> {
    /// A copy that owns its parts.
    pub fn to_value(&self) -> Value {
        match *self {
            Self::Text(text) => Value::Str(text.as_str().to_owned()),
            Self::Str(text) => Value::Str(text.to_owned()),
            Self::Bool(b) => Value::Bool(b),
            Self::Int(i) => Value::Int(i),
            Self::F64(f) => Value::F64(f),
            Self::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Self::Array(items) => Value::Array(items.to_vec()),
            Self::Map(pairs) => Value::Map(pairs.to_vec()),
            Self::Empty => Value::Empty,
        }
    }
}

macro_rules! from {
    ($($from:ty => |$v:ident| $to:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from($v: $from) -> Self {
                $to
            }
        })*
    };
}

from! {
    &str => |v| Self::Str(v.to_owned()),
    String => |v| Self::Str(v),
    bool => |v| Self::Bool(v),
    i64 => |v| Self::Int(v),
    i32 => |v| Self::Int(i64::from(v)),
    u32 => |v| Self::Int(i64::from(v)),
    f64 => |v| Self::F64(v),
    Vec<u8> => |v| Self::Bytes(v),
    Vec<Value> => |v| Self::Array(v),
    Vec<String> => |v| Self::Array(v.into_iter().map(Self::Str).collect()),
}

macro_rules! borrow {
    ($($from:ty => |$v:ident| $to:expr),* $(,)?) => {
        $(impl<'a> From<$from> for ValueRef<'a> {
            #[inline]
            fn from($v: $from) -> Self {
                $to
            }
        })*
    };
}

borrow! {
    &'a str => |v| Self::Str(v),
    &'a String => |v| Self::Str(v),
    bool => |v| Self::Bool(v),
    i64 => |v| Self::Int(v),
    i32 => |v| Self::Int(i64::from(v)),
    u32 => |v| Self::Int(i64::from(v)),
    f64 => |v| Self::F64(v),
    &'a [u8] => |v| Self::Bytes(v),
    &'a [Value] => |v| Self::Array(v),
    &'a Value => |v| v.as_ref(),
}
