//! Zipkin's formats in one pass: the bytes that hiq writes.

use super::{Arena, Attribute, FlatSpan, Tag};
use crate::spans::{RESOURCE, SCOPE};

mod json;
mod proto;

/// Of a span's kind in Zipkin's words, by the number of the kind: neither of an internal one, which has a tag in their place.
const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;

/// Tags that all spans have, and whether those of the resource are among them.
fn constant_tags(has_resource: bool) -> Vec<(&'static str, &'static str)> {
    let (_service, others) = RESOURCE.split_first().expect("a service");
    let scope = [
        ("otel.scope.name", SCOPE.0),
        ("otel.scope.version", SCOPE.1),
    ];
    let of_resource = if has_resource { others } else { &[] };
    of_resource.iter().copied().chain(scope).collect()
}

impl Arena {
    /// The text that says who a client talks to.
    #[inline(always)]
    fn far_side(&self, span: &FlatSpan) -> Option<u32> {
        if span.kind != CLIENT {
            return None;
        }
        // SAFETY: ranges of an arena lie in it.
        let attributes = unsafe { self.range(span.attributes) };
        let is_address = |attribute: &&Attribute| attribute.key == self.address_key;
        let found = attributes.iter().find(is_address)?;
        matches!(found.tag, Tag::Text).then_some(found.value as u32)
    }
}
