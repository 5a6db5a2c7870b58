//! Labels of a scrape: of points, and of the target, whose `job` and `instance` the server knows better.

use std::borrow::Cow;

use hiq_core::metric::{LabelQuestion, LabelSet, exported};
use hiq_core::resource::Resource;

use crate::names::{Alphabet, label_name};
use crate::series::FamilyKind;

/// How labels are named in a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming<'r> {
    pub(crate) alphabet: Alphabet,
    /// Labels that somebody else sets for every series.
    pub(crate) taken: &'r [&'r str],
}

impl Naming<'_> {
    /// The name of a point's label in a family of `kind`: not one that the format sets itself, or somebody else.
    pub(crate) fn name<'n>(&self, name: &'n str, kind: FamilyKind) -> Cow<'n, str> {
        let reserved = kind.reserved_labels().iter().chain(self.taken);
        reserved.fold(label_name(name, self.alphabet), |name, reserved| {
            let moved = match exported(&name, reserved) {
                Cow::Owned(moved) => Some(moved),
                Cow::Borrowed(_) => None,
            };
            moved.map_or(name, Cow::Owned)
        })
    }

    /// True when all of the labels are written, as they are, in a family of whatever kind. Costs a look: it is kept with the
    /// labels.
    pub(crate) fn keeps_in_any_kind(&self, labels: &LabelSet) -> bool {
        let question = match self.alphabet {
            Alphabet::Classic => LabelQuestion::ArePrometheus,
            Alphabet::Utf8 => LabelQuestion::ArePrometheusUtf8,
        };
        // Histograms have whatever label others have of their own.
        let judge = |labels: &LabelSet| {
            self.keeps(labels, FamilyKind::Histogram)
                && labels.iter().all(|(_, value)| !value.is_empty())
        };
        self.taken.is_empty() && labels.answer(question, judge)
    }

    /// True when the labels are written as they are.
    pub(crate) fn keeps(&self, labels: &LabelSet, kind: FamilyKind) -> bool {
        let mut names = labels.iter();
        names.all(|(name, _)| matches!(self.name(name, kind), Cow::Borrowed(_)))
    }

    /// True when no two of the labels are called the same.
    pub(crate) fn keeps_apart(&self, labels: &LabelSet, kind: FamilyKind) -> bool {
        let mut names: Vec<_> = (labels.iter())
            .map(|(name, _)| self.name(name, kind))
            .collect();
        names.sort_unstable();
        names.is_sorted_by(|one, next| one < next)
    }

    /// True when the labels are called the same in a family of any kind.
    pub(crate) fn is_of_any_kind(&self, labels: &LabelSet, kind: FamilyKind) -> bool {
        let reserved = kind.reserved_labels().iter().chain(self.taken);
        let is_reserved = |name: &str| {
            let mut reserved = reserved.clone();
            reserved.any(|reserved| {
                name.ends_with(reserved)
                    && matches!(
                        exported(&label_name(name, self.alphabet), reserved),
                        Cow::Owned(_)
                    )
            })
        };
        self.keeps_in_any_kind(labels) || !labels.iter().any(|(name, _)| is_reserved(name))
    }
}

/// The labels of a point, sorted, without those that are empty: to Prometheus they are absent. Where two names become one,
/// their values stand between semicolons.
pub(crate) fn point_labels<'l>(
    labels: &'l LabelSet,
    kind: FamilyKind,
    naming: Naming<'_>,
) -> Vec<(Cow<'l, str>, Cow<'l, str>)> {
    let named = labels.iter().filter(|(_, value)| !value.is_empty());
    merged(named.map(|(name, value)| (naming.name(name, kind), Cow::Borrowed(value))))
}

/// Every attribute of the resource as a label of `target_info`.
pub(crate) fn resource_labels<'l>(
    resource: &Resource,
    naming: Naming<'_>,
) -> Vec<(Cow<'l, str>, Cow<'l, str>)> {
    let mut scratch = Vec::new();
    let labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = resource
        .attributes()
        .map(|(name, value)| {
            let value = value.text(&mut scratch).to_owned();
            let name = naming.name(name.as_str(), FamilyKind::Gauge).into_owned();
            (Cow::Owned(name), Cow::Owned(value))
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
