//! What stands around the spans of a resource and a scope, and what all spans of a site share.

use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Decimal, JsonStr, JsonText, Piece, Text, Writer};

use super::attribute::attribute;
use hiq_core::encode::cache::{Form, Group};

/// JSON, for the cache.
#[derive(Debug)]
pub(super) struct Json;

/// The same around metrics.
#[derive(Debug)]
pub(crate) struct JsonMetrics;

impl Form for JsonMetrics {
    fn resource(resource: &Resource, group: &mut Group) {
        write_resource(resource, b",\"scopeMetrics\":[", group);
    }

    fn scope(scope: &Scope, group: &mut Group) {
        write_scope(scope, b",\"metrics\":[", group);
    }

    fn site(_: SiteId, _: &mut Vec<u8>) {}
}

impl Form for Json {
    fn resource(resource: &Resource, group: &mut Group) {
        write_resource(resource, b",\"scopeSpans\":[", group);
    }

    fn scope(scope: &Scope, group: &mut Group) {
        write_scope(scope, b",\"spans\":[", group);
    }

    fn site(site: SiteId, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        let mut separator = b'[';
        for (key, value) in site.attributes() {
            writer = attribute(writer, separator, key, value);
            separator = b',';
        }
    }
}

/// `list` begins what the resource groups.
fn write_resource(resource: &Resource, list: &[u8], group: &mut Group) {
    let mut writer = Writer::new(&mut group.head);
    writer.put(b"{\"resource\":");
    let fields = Fields::new(writer)
        .attributes(resource.attributes())
        .dropped(resource.dropped_attributes());
    fields.end().put(list);
    end(resource.schema_url(), &mut group.tail);
}

/// `list` begins what the scope groups.
fn write_scope(scope: &Scope, list: &[u8], group: &mut Group) {
    let mut writer = Writer::new(&mut group.head);
    writer.put(b"{\"scope\":");
    let fields = Fields::new(writer)
        .text(b"\"name\":\"", scope.name())
        .text(b"\"version\":\"", scope.version())
        .attributes(scope.attributes())
        .dropped(scope.dropped_attributes());
    fields.end().put(list);
    end(scope.schema_url(), &mut group.tail);
}

fn end(schema_url: Option<&str>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.put(b']');
    if let Some(url) = schema_url.filter(|url| !url.is_empty()) {
        writer.put((b",\"schemaUrl\":\"", JsonStr(url), b'"'));
    }
    writer.put(b'}');
}

/// The fields of an object, those at their default left out.
struct Fields<'w> {
    writer: Writer<'w>,
    separator: u8,
}

impl<'w> Fields<'w> {
    fn new(writer: Writer<'w>) -> Self {
        Self {
            writer,
            separator: b'{',
        }
    }

    fn put(&mut self, field: impl Piece) {
        self.writer.put((self.separator, field));
        self.separator = b',';
    }

    fn text<const N: usize>(mut self, key: &[u8; N], text: Option<Text<'_>>) -> Self {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.put((key, JsonText(text), b'"'));
        }
        self
    }

    fn attributes<'a>(
        mut self,
        attributes: impl ExactSizeIterator<Item = (Text<'a>, ValueRef<'a>)>,
    ) -> Self {
        if attributes.len() == 0 {
            return self;
        }
        self.put(b"\"attributes\":");
        let mut separator = b'[';
        for (key, value) in attributes {
            self.writer = attribute(self.writer, separator, key, value);
            separator = b',';
        }
        self.writer.put(b']');
        self
    }

    fn dropped(mut self, count: u32) -> Self {
        if count > 0 {
            self.put((b"\"droppedAttributesCount\":", Decimal(count.into())));
        }
        self
    }

    fn end(mut self) -> Writer<'w> {
        if self.separator == b'{' {
            self.writer.put(b'{');
        }
        self.writer.put(b'}');
        self.writer
    }
}
