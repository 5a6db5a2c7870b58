//! Attribute values, both ways.

use hiq_core::value::{Value, ValueRef};

use opentelemetry::{Array, StringValue};

/// Of the SDK's values nothing is lost.
pub(crate) fn from_sdk(value: opentelemetry::Value) -> Value {
    match value {
        opentelemetry::Value::Bool(value) => Value::Bool(value),
        opentelemetry::Value::I64(value) => Value::Int(value),
        opentelemetry::Value::F64(value) => Value::F64(value),
        opentelemetry::Value::String(text) => Value::Str(text.into()),
        opentelemetry::Value::Array(items) => Value::Array(list(items)),
        other => Value::Str(other.to_string()),
    }
}

fn list(items: Array) -> Vec<Value> {
    match items {
        Array::Bool(items) => items.into_iter().map(Value::Bool).collect(),
        Array::I64(items) => items.into_iter().map(Value::Int).collect(),
        Array::F64(items) => items.into_iter().map(Value::F64).collect(),
        Array::String(items) => items
            .into_iter()
            .map(|text| Value::Str(text.into()))
            .collect(),
        other => vec![Value::Str(other.to_string())],
    }
}

/// The nearest that the SDK has, see the table at the top of the crate.
pub(crate) fn to_sdk(value: ValueRef<'_>) -> opentelemetry::Value {
    match value {
        ValueRef::Bool(value) => value.into(),
        ValueRef::Int(value) => value.into(),
        ValueRef::F64(value) => value.into(),
        ValueRef::Array(items) => match homogeneous(items) {
            Some(list) => opentelemetry::Value::Array(list),
            None => text(value),
        },
        other => text(other),
    }
}

fn text(value: ValueRef<'_>) -> opentelemetry::Value {
    let mut scratch = Vec::new();
    value.text(&mut scratch).to_owned().into()
}

/// The list as one of the SDK's kinds; an empty one is a list of texts.
fn homogeneous(items: &[Value]) -> Option<Array> {
    Some(match items.first() {
        Some(Value::Bool(_)) => Array::Bool(all(items, |item| match item {
            Value::Bool(value) => Some(*value),
            _ => None,
        })?),
        Some(Value::Int(_)) => Array::I64(all(items, |item| match item {
            Value::Int(value) => Some(*value),
            _ => None,
        })?),
        Some(Value::F64(_)) => Array::F64(all(items, |item| match item {
            Value::F64(value) => Some(*value),
            _ => None,
        })?),
        Some(Value::Str(_)) | None => Array::String(all(items, |item| match item {
            Value::Str(text) => Some(StringValue::from(text.clone())),
            _ => None,
        })?),
        _ => return None,
    })
}

fn all<T>(items: &[Value], each: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    items.iter().map(each).collect()
}
