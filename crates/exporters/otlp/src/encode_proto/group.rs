//! What stands around the spans of a resource and a scope, and what all spans of a site share.

use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Prefixed, Text, Varint, Writer};

use super::attribute::attribute;
use hiq_core::encode::cache::{Form, Group};

/// Protobuf, for the cache.
#[derive(Debug)]
pub(crate) struct Proto;

impl Form for Proto {
    fn resource(resource: &Resource, group: &mut Group) {
        let mut writer = Writer::new(&mut group.head);
        let length = writer.open(0x0a, 0);
        let mut writer = attributes(writer, 0x0a, resource.attributes());
        writer.put(number_field(0x10, resource.dropped_attributes()));
        writer.close(length);
        schema_url(resource.schema_url(), &mut group.tail);
    }

    fn scope(scope: &Scope, group: &mut Group) {
        let mut writer = Writer::new(&mut group.head);
        let length = writer.open(0x0a, 0);
        writer.put(text_field(0x0a, scope.name()));
        writer.put(text_field(0x12, scope.version()));
        let mut writer = attributes(writer, 0x1a, scope.attributes());
        writer.put(number_field(0x20, scope.dropped_attributes()));
        writer.close(length);
        schema_url(scope.schema_url(), &mut group.tail);
    }

    fn site(site: SiteId, out: &mut Vec<u8>) {
        attributes(Writer::new(out), SPAN_ATTRIBUTE, site.attributes());
    }
}

/// Field 9 of a span.
pub(super) const SPAN_ATTRIBUTE: u8 = 0x4a;

fn attributes<'w, 'a>(
    mut writer: Writer<'w>,
    tag: u8,
    attributes: impl Iterator<Item = (Text<'a>, ValueRef<'a>)>,
) -> Writer<'w> {
    for (key, value) in attributes {
        writer = attribute(writer, tag, key, value);
    }
    writer
}

fn schema_url(url: Option<&str>, out: &mut Vec<u8>) {
    if let Some(url) = url.filter(|url| !url.is_empty()) {
        Writer::new(out).put((0x1a, Varint(url.len() as u64), url.as_bytes()));
    }
}

/// A string field, absent when empty.
fn text_field(tag: u8, text: Option<Text<'_>>) -> Option<(u8, Prefixed<'_>)> {
    let text = text.filter(|text| !text.is_empty())?;
    Some((tag, Prefixed(text)))
}

/// A number field, absent when zero.
fn number_field(tag: u8, number: u32) -> Option<(u8, Varint)> {
    (number != 0).then(|| (tag, Varint(number.into())))
}
