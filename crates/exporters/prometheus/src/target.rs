//! Labels of a scrape: of points, and of the target, whose `job` and `instance` the server knows better.

use std::borrow::Cow;

use hiq_core::metric::LabelSet;
use hiq_core::resource::Resource;

use crate::names::{Alphabet, label_name};

/// The labels of a point, sorted, without those that are empty: to Prometheus they are absent. Where two names become one,
/// their values stand between semicolons.
pub(crate) fn point_labels(
    labels: &LabelSet,
    alphabet: Alphabet,
) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let named = labels.iter().filter(|(_, value)| !value.is_empty());
    merged(named.map(|(name, value)| (label_name(name, alphabet), Cow::Borrowed(value))))
}

/// Every attribute of the resource as a label of `target_info`.
pub(crate) fn resource_labels(
    resource: &Resource,
    alphabet: Alphabet,
) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut scratch = Vec::new();
    let labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = resource
        .attributes()
        .map(|(name, value)| {
            let value = value.text(&mut scratch).to_owned();
            (
                Cow::Owned(label_name(name.as_str(), alphabet).into_owned()),
                Cow::Owned(value),
            )
        })
        .collect();
    merged(labels.into_iter().filter(|(_, value)| !value.is_empty()))
}

fn merged<'a>(
    labels: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut labels: Vec<_> = labels.collect();
    merge(&mut labels);
    labels
}

/// Sorts the labels. Where two have one name, their values stand between semicolons.
pub(crate) fn merge(labels: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) {
    labels.sort_by(|(a, _), (b, _)| a.cmp(b));
    labels.dedup_by(|(next, value), (name, values)| {
        let is_same = name == next;
        if is_same {
            *values = format!("{values};{value}").into();
        }
        is_same
    });
}
