//! Who produced the spans ([`Resource`]) and which library recorded them ([`Scope`]).

use crate::value::{Value, ValueRef};
use crate::wire::{Text, TextAt, TextBuf};

/// The entity that produces telemetry: attributes shared by all spans of a tree.
///
/// Set before the first span and never changed, so encoders may cache what they wrote for it.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    attributes: Attributes,
    schema_url: Option<String>,
    dropped_attributes: u32,
}

impl Resource {
    /// A resource with these attributes; of a repeated key the last value counts.
    pub fn new<K: Into<String>>(attributes: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self {
            attributes: Attributes::new(attributes),
            ..Self::default()
        }
    }

    /// Sets the schema that the attribute names follow.
    #[must_use]
    pub fn with_schema_url(mut self, url: impl Into<String>) -> Self {
        self.schema_url = Some(url.into());
        self
    }

    /// Sets how many attributes were dropped before they came here (known from a decoder).
    #[must_use]
    pub fn with_dropped_attributes(mut self, count: u32) -> Self {
        self.dropped_attributes = count;
        self
    }

    /// Keys and values, in the order given.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (Text<'_>, ValueRef<'_>)> {
        self.attributes.iter()
    }

    /// The value of `key`.
    pub fn attribute(&self, key: &str) -> Option<ValueRef<'_>> {
        self.attributes()
            .find(|(k, _)| k.as_str() == key)
            .map(|(_, value)| value)
    }

    /// `service.name`, or OpenTelemetry's `unknown_service`.
    pub fn service_name(&self) -> &str {
        match self.attribute("service.name") {
            Some(ValueRef::Text(name)) if !name.is_empty() => name.as_str(),
            _ => "unknown_service",
        }
    }

    /// The schema that the attribute names follow.
    pub fn schema_url(&self) -> Option<&str> {
        self.schema_url.as_deref()
    }

    /// Attributes dropped before they came here.
    pub fn dropped_attributes(&self) -> u32 {
        self.dropped_attributes
    }
}

/// The library that recorded a span.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    name: Attributes,
    attributes: Attributes,
    schema_url: Option<String>,
    dropped_attributes: u32,
}

impl Scope {
    /// A scope named `name`, of `version`, which may be empty.
    pub fn new(name: &str, version: &str) -> Self {
        let parts = [(name.to_owned(), Value::from(version))];
        Self {
            name: Attributes::new(parts),
            ..Self::default()
        }
    }

    /// Sets attributes of the scope.
    #[must_use]
    pub fn with_attributes(
        mut self,
        attributes: impl IntoIterator<Item = (String, Value)>,
    ) -> Self {
        self.attributes = Attributes::new(attributes);
        self
    }

    /// Sets the schema that the attribute names follow.
    #[must_use]
    pub fn with_schema_url(mut self, url: impl Into<String>) -> Self {
        self.schema_url = Some(url.into());
        self
    }

    /// Sets how many attributes were dropped before they came here (known from a decoder).
    #[must_use]
    pub fn with_dropped_attributes(mut self, count: u32) -> Self {
        self.dropped_attributes = count;
        self
    }

    /// The library's name.
    pub fn name(&self) -> Option<Text<'_>> {
        self.name.iter().next().map(|(name, _)| name)
    }

    /// The library's version.
    pub fn version(&self) -> Option<Text<'_>> {
        match self.name.iter().next() {
            Some((_, ValueRef::Text(version))) => Some(version),
            _ => None,
        }
    }

    /// Keys and values, in the order given.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (Text<'_>, ValueRef<'_>)> {
        self.attributes.iter()
    }

    /// The schema that the attribute names follow.
    pub fn schema_url(&self) -> Option<&str> {
        self.schema_url.as_deref()
    }

    /// Attributes dropped before they came here.
    pub fn dropped_attributes(&self) -> u32 {
        self.dropped_attributes
    }
}

/// A short fixed list of attributes whose texts are ready to be copied.
#[derive(Clone, Debug, Default)]
struct Attributes {
    texts: TextBuf,
    pairs: Vec<(TextAt, Stored)>,
}

#[derive(Clone, Debug)]
enum Stored {
    Text(TextAt),
    Other(Value),
}

impl Attributes {
    fn new<K: Into<String>>(attributes: impl IntoIterator<Item = (K, Value)>) -> Self {
        let mut last: Vec<(String, Value)> = Vec::new();
        for (key, value) in attributes {
            let key = key.into();
            match last.iter_mut().find(|(k, _)| *k == key) {
                Some((_, earlier)) => *earlier = value,
                None => last.push((key, value)),
            }
        }
        let mut texts = TextBuf::new();
        let pairs = last
            .into_iter()
            .filter_map(|(key, value)| {
                let key = texts.push(&key)?;
                let value = match value {
                    Value::Str(text) => Stored::Text(texts.push(&text)?),
                    other => Stored::Other(other),
                };
                Some((key, value))
            })
            .collect();
        Self { texts, pairs }
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (Text<'_>, ValueRef<'_>)> {
        self.pairs.iter().map(|(key, value)| {
            let value = match value {
                Stored::Text(place) => ValueRef::Text(self.texts.text(*place)),
                Stored::Other(value) => value.as_ref(),
            };
            (self.texts.text(*key), value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts_and_order_is_kept() {
        let resource = Resource::new([
            ("service.name", Value::from("a")),
            ("host.name", Value::from("h")),
            ("service.name", Value::from("b")),
        ]);
        let read: Vec<_> = resource
            .attributes()
            .map(|(k, v)| (k.as_str(), v.to_value()))
            .collect();
        assert_eq!(
            read,
            [
                ("service.name", Value::from("b")),
                ("host.name", Value::from("h"))
            ]
        );
        assert_eq!(resource.service_name(), "b");
        assert_eq!(Resource::default().service_name(), "unknown_service");
    }

    #[test]
    fn a_scope_knows_its_name_and_version() {
        let scope = Scope::new("lib", "1.2");
        assert_eq!(scope.name().unwrap().as_str(), "lib");
        assert_eq!(scope.version().unwrap().as_str(), "1.2");
        assert!(Scope::default().name().is_none());
    }
}
