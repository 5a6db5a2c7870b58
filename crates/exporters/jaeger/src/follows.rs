//! Links become references.

use hiq_core::span::Link;

/// Links *follow from* what they point at, unless an attribute of theirs says that they are children of it.
pub(crate) fn is_child_of(link: &Link<'_>) -> bool {
    link.attributes().any(|(key, value)| {
        let says = hiq_core::value::ValueRef::to_value;
        key.as_str() == "opentracing.ref_type" && says(&value) == "child_of".into()
    })
}
