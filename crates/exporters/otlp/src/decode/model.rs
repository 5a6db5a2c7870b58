//! What a request says, whatever its form.

use std::borrow::Cow;

use hiq_core::decode::{LooseAttributes, LooseSpan};
use hiq_core::metric::Family;
use hiq_core::resource::{Resource, Scope};

/// The spans of one resource.
#[derive(Debug, Default)]
pub(super) struct ResourceSpans<'p> {
    pub(super) resource: Resource,
    pub(super) scopes: Vec<ScopeSpans<'p>>,
}

/// The spans of one scope.
#[derive(Debug, Default)]
pub(super) struct ScopeSpans<'p> {
    pub(super) scope: Scope,
    pub(super) spans: Vec<LooseSpan<'p>>,
}

/// What a resource or scope says of itself.
#[derive(Debug, Default)]
pub(super) struct Origin<'p> {
    pub(super) name: Cow<'p, str>,
    pub(super) version: Cow<'p, str>,
    pub(super) attributes: LooseAttributes<'p>,
    pub(super) dropped: u32,
}

impl Origin<'_> {
    pub(super) fn into_resource(self, schema_url: &str) -> Resource {
        let attributes = self.attributes.into_iter();
        let resource =
            Resource::new(attributes.map(|(key, value)| (key.into_owned(), value.into_value())))
                .with_dropped_attributes(self.dropped);
        if schema_url.is_empty() {
            return resource;
        }
        resource.with_schema_url(schema_url)
    }

    pub(super) fn into_scope(self, schema_url: &str) -> Scope {
        let attributes = self.attributes.into_iter();
        let scope = Scope::new(&self.name, &self.version)
            .with_attributes(attributes.map(|(key, value)| (key.into_owned(), value.into_value())))
            .with_dropped_attributes(self.dropped);
        if schema_url.is_empty() {
            return scope;
        }
        scope.with_schema_url(schema_url)
    }
}

/// The metrics of one resource.
#[derive(Debug, Default)]
pub(super) struct ResourceMetrics {
    pub(super) resource: Resource,
    pub(super) scopes: Vec<ScopeMetrics>,
}

/// The metrics of one scope.
#[derive(Debug, Default)]
pub(super) struct ScopeMetrics {
    pub(super) scope: Scope,
    pub(super) families: Vec<Family>,
}
