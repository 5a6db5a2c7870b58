//! Label sets: which part of the whole a point is.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// Names and values, sorted by name. What a format makes of them is written [once](LabelSet::rendered), and what it asks of
/// them is [answered](LabelSet::answer) once.
#[derive(Clone, Default)]
pub struct LabelSet {
    pairs: Box<[(Box<str>, Box<str>)]>,
    answers: [OnceLock<bool>; LabelQuestion::COUNT],
    rendered: [OnceLock<Box<[u8]>>; LabelForm::COUNT],
}

/// Formats that keep what they have written in the label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LabelForm {
    /// Between the braces of Prometheus's text formats, names of the classic alphabet only.
    PrometheusText,
    /// The same with UTF-8 names.
    PrometheusUtf8Text,
    /// `LabelPair`s of Prometheus's protobuf.
    PrometheusProto,
    /// `Label`s of remote write.
    RemoteWrite,
    /// Attributes of OTLP's protobuf.
    OtlpProto,
    /// Attributes of OTLP's JSON.
    OtlpJson,
}

impl LabelForm {
    const COUNT: usize = 6;
}

/// What formats ask of labels at every reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LabelQuestion {
    /// Does Prometheus, with names of the classic alphabet only, have every label as it is, in whatever metric?
    ArePrometheus,
    /// The same with UTF-8 names.
    ArePrometheusUtf8,
}

impl LabelQuestion {
    const COUNT: usize = 2;
}

impl LabelSet {
    /// A set of `labels`. Of a repeated name the last value counts.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Arc<Self> {
        let mut pairs: Vec<(Box<str>, Box<str>)> = labels
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Arc::new(Self {
            pairs: pairs.into(),
            answers: Default::default(),
            rendered: Default::default(),
        })
    }

    /// No labels.
    pub fn empty() -> Arc<Self> {
        static EMPTY: OnceLock<Arc<LabelSet>> = OnceLock::new();
        Arc::clone(EMPTY.get_or_init(Arc::default))
    }

    /// What all sets of labels beyond a metric's limit become: `otel.metric.overflow="true"`.
    pub fn overflow() -> Arc<Self> {
        static OVERFLOW: OnceLock<Arc<LabelSet>> = OnceLock::new();
        let new = || Self::new([("otel.metric.overflow", "true")]);
        Arc::clone(OVERFLOW.get_or_init(new))
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self
            .pairs
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()?;
        Some(&self.pairs[at].1)
    }

    /// How many labels it has.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// True when there is no label.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What `write` makes of the labels for `form`: written on the first call, by whichever encoder comes first, and kept.
    #[inline]
    pub fn rendered(&self, form: LabelForm, write: impl FnOnce(&Self, &mut Vec<u8>)) -> &[u8] {
        self.rendered[form as usize].get_or_init(|| {
            let mut bytes = Vec::new();
            write(self, &mut bytes);
            bytes.into()
        })
    }

    /// What `judge` says of the labels: asked on the first call, and kept.
    #[inline]
    pub fn answer(&self, question: LabelQuestion, judge: impl FnOnce(&Self) -> bool) -> bool {
        *self.answers[question as usize].get_or_init(|| judge(self))
    }
}

/// The name that a label has beside one that is set by others and called `reserved`: `exported_` is put before it, as
/// Prometheus does with what it scrapes. Names that would then be the same move on too, so that different labels stay so.
///
/// ```
/// use hiq_core::metric::exported;
///
/// assert_eq!(exported("le", "le"), "exported_le");
/// assert_eq!(exported("exported_le", "le"), "exported_exported_le");
/// assert_eq!(exported("level", "le"), "level");
/// ```
pub fn exported<'n>(name: &'n str, reserved: &str) -> Cow<'n, str> {
    let mut rest = name;
    while let Some(shorter) = rest.strip_prefix(EXPORTED) {
        rest = shorter;
    }
    if rest == reserved {
        format!("{EXPORTED}{name}").into()
    } else {
        name.into()
    }
}

const EXPORTED: &str = "exported_";

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs.hash(state);
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pairs.cmp(&other.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_the_last_value_of_a_name_counts() {
        let labels = LabelSet::new([("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")]);
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("a", "2"), ("b", "4")]);
        assert_eq!(labels.get("b"), Some("4"));
        assert_eq!(labels.get("c"), None);
        assert!(LabelSet::empty().is_empty());
    }

    #[test]
    fn a_form_is_written_once_and_forms_are_kept_apart() {
        let labels = LabelSet::new([("a", "1")]);
        let write = |text: &'static str| {
            move |_: &LabelSet, out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes())
        };
        assert_eq!(labels.rendered(LabelForm::OtlpProto, write("x")), b"x");
        assert_eq!(labels.rendered(LabelForm::OtlpProto, write("y")), b"x");
        assert_eq!(labels.rendered(LabelForm::OtlpJson, write("y")), b"y");
    }

    #[test]
    fn a_question_is_answered_once_and_questions_are_kept_apart() {
        let labels = LabelSet::new([("a", "1")]);
        let has_a = |labels: &LabelSet| labels.get("a").is_some();
        assert!(labels.answer(LabelQuestion::ArePrometheus, has_a));
        assert!(labels.answer(LabelQuestion::ArePrometheus, |_| false));
        assert!(!labels.answer(LabelQuestion::ArePrometheusUtf8, |_| false));
        assert!(!labels.answer(LabelQuestion::ArePrometheusUtf8, has_a));
    }
}
