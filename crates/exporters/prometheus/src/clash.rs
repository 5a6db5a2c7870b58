//! Metrics that Prometheus would call the same: which of them are written, and what is said of the others.
//!
//! | two metrics | what is written |
//! |---|---|
//! | of one name and kind, as `a.b` and `a_b` | one family; of a series that both have, the first one's |
//! | of one name and two kinds, or one with a name that the other adds (`x_total`, `x_sum`, ...) | the first, whole |
//! | a counter `x` beside what is called `x` itself | both; the counter is `x_total` of unknown type in `OpenMetrics` |
//!
//! Two series of one metric whose labels become the same are one as well: the first is written.
//!
//! Source: OpenTelemetry specification, `compatibility/prometheus_and_openmetrics.md`: whole metrics are dropped where types
//! conflict, and it is said.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ptr;

use hiq_core::metric::{Family, MetricBatch, Point};

use crate::series::{FamilyKind, FamilyNames, Label};
use crate::target::{Naming, point_labels};

/// Families of one name and kind.
pub(crate) struct Group<'b> {
    pub(crate) names: FamilyNames,
    /// A counter whose name without `_total` is another metric's: in `OpenMetrics` it cannot be of its type.
    pub(crate) is_untyped: bool,
    families: Vec<&'b Family>,
    lost: HashSet<*const Point>,
}

impl<'b> Group<'b> {
    pub(crate) fn points(&self) -> impl Iterator<Item = &'b Point> {
        let points = self.families.iter().flat_map(|family| family.points());
        points.filter(|point| self.lost.is_empty() || !self.lost.contains(&ptr::from_ref(*point)))
    }
}

/// A snapshot by Prometheus' names.
#[derive(Default)]
pub(crate) struct Groups<'b> {
    pub(crate) list: Vec<Group<'b>>,
    /// What is left out because something else has its name.
    pub(crate) clashes: Vec<Clash>,
    /// Points that are left out, for whatever reason.
    pub(crate) left_out: usize,
    /// A metric is called as the family that `OpenMetrics` has for the target's metadata.
    pub(crate) target_is_taken: bool,
    lost: HashSet<*const Family>,
    lost_points: HashSet<*const Point>,
}

/// The series and family of the target's metadata.
pub(crate) const TARGET_INFO: &str = "target_info";
const TARGET: &str = "target";

impl<'b> Groups<'b> {
    /// Of `batch`, with `naming`. `natives`: summaries may become native histograms.
    pub(crate) fn of(batch: &'b MetricBatch, naming: Naming<'_>, natives: bool) -> Self {
        let families = batch.families();
        let names = |family| FamilyNames::of(family, naming.alphabet, natives);
        let names: Vec<Option<FamilyNames>> = families.iter().map(names).collect();
        let fates = Fates::of(&names);
        let mut groups = Self {
            target_is_taken: fates.by_name.contains_key(TARGET),
            ..Self::default()
        };
        let mut places: HashMap<(&str, FamilyKind), usize> = HashMap::new();
        for (index, family) in families.iter().enumerate() {
            let fate = fates.list[index];
            let (Some(names), Fate::Kept { is_untyped }) = (&names[index], fate) else {
                groups.leave_out(family, names[index].as_ref(), fate, families);
                continue;
            };
            let place = *places
                .entry((&names.name, names.kind))
                .or_insert(groups.list.len());
            match groups.list.get_mut(place) {
                Some(group) => group.families.push(family),
                None => groups.list.push(Group {
                    names: names.clone(),
                    is_untyped,
                    families: vec![family],
                    lost: HashSet::new(),
                }),
            }
        }
        for place in 0..groups.list.len() {
            groups.leave_out_same_series(place, naming);
        }
        groups
    }

    /// False for what is left out because something else has its name.
    pub(crate) fn have(&self, family: &Family, point: &Point) -> bool {
        self.clashes.is_empty()
            || !(self.lost.contains(&ptr::from_ref(family))
                || self.lost_points.contains(&ptr::from_ref(point)))
    }

    fn leave_out(
        &mut self,
        family: &Family,
        names: Option<&FamilyNames>,
        fate: Fate,
        families: &[Family],
    ) {
        let points = family.points().len();
        self.left_out += points;
        self.lost.insert(ptr::from_ref(family));
        let kept = match fate {
            Fate::Lost { to } => families[to].descriptor().name(),
            Fate::LostToTarget => TARGET_INFO,
            // Of a kind that Prometheus has no type for.
            Fate::Kept { .. } => return,
        };
        self.clashes.push(Clash {
            lost: family.descriptor().name().to_owned(),
            kept: kept.to_owned(),
            name: names.map(|names| names.name.clone()).unwrap_or_default(),
            what: Clashing::Family,
            points,
        });
    }

    /// Of points with the same labels the first is written.
    fn leave_out_same_series(&mut self, place: usize, naming: Naming<'_>) {
        let group = &mut self.list[place];
        let kind = group.names.kind;
        if !may_have_same_series(&group.families, kind, naming) {
            return;
        }
        let mut known: HashMap<Vec<Label<'_>>, &Family> = HashMap::new();
        for &family in &group.families {
            let mut clashes: Vec<Clash> = Vec::new();
            for point in family.points() {
                let labels = point_labels(point.labels(), kind, naming);
                let Some(owner) = known.get(&labels) else {
                    known.insert(labels, family);
                    continue;
                };
                group.lost.insert(ptr::from_ref(point));
                let kept = owner.descriptor().name();
                match clashes.iter_mut().find(|clash| clash.kept == kept) {
                    Some(clash) => clash.points += 1,
                    None => clashes.push(Clash {
                        lost: family.descriptor().name().to_owned(),
                        kept: kept.to_owned(),
                        name: shown(&group.names.name, &labels),
                        what: Clashing::Series,
                        points: 1,
                    }),
                }
            }
            self.lost_points.extend(&group.lost);
            self.left_out += clashes.iter().map(|clash| clash.points).sum::<usize>();
            self.clashes.append(&mut clashes);
        }
    }
}

/// False, at little cost, for what is certainly told apart: one family whose labels stay as they are, or all have the same
/// names.
fn may_have_same_series(families: &[&Family], kind: FamilyKind, naming: Naming<'_>) -> bool {
    let [family] = families else {
        return true;
    };
    let mut points = family.points().iter();
    if points.all(|point| naming.keeps_in_any_kind(point.labels())) {
        return false;
    }
    let Some(first) = family.points().first() else {
        return false;
    };
    let (mut all_stay, mut all_same) = (true, naming.keeps_apart(first.labels(), kind));
    for point in family.points() {
        let mut names = point.labels().iter().zip(first.labels().iter());
        let is_same_name = |((one, _), (other, _)): ((&str, _), (&str, _))| one == other;
        let has_empty = point.labels().iter().any(|(_, value)| value.is_empty());
        all_same =
            all_same && point.labels().len() == first.labels().len() && names.all(is_same_name);
        all_stay = all_stay && !has_empty && naming.keeps(point.labels(), kind);
        if !all_stay && !all_same {
            return true;
        }
    }
    false
}

/// A series for people.
fn shown(name: &str, labels: &[Label<'_>]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if labels.is_empty() {
        return name.to_owned();
    }
    format!("{name}{{{}}}", labels.join(","))
}

/// What becomes of a family.
#[derive(Clone, Copy)]
enum Fate {
    Kept { is_untyped: bool },
    Lost { to: usize },
    LostToTarget,
}

struct Fates<'n> {
    /// The last family of each name.
    by_name: HashMap<&'n str, usize>,
    /// The family of the same name before each.
    before: Vec<Option<usize>>,
    list: Vec<Fate>,
}

impl<'n> Fates<'n> {
    fn of(names: &'n [Option<FamilyNames>]) -> Self {
        let mut fates = Self {
            by_name: HashMap::with_capacity(names.len()),
            before: Vec::with_capacity(names.len()),
            list: vec![Fate::Kept { is_untyped: false }; names.len()],
        };
        for (index, names) in names.iter().enumerate() {
            let names = names.as_ref();
            let before = names.and_then(|names| fates.by_name.insert(&names.name, index));
            fates.before.push(before);
        }
        for (later, earlier) in fates.rivals(names) {
            let is_kept = |index: usize| matches!(fates.list[index], Fate::Kept { .. });
            if is_kept(later) && earlier.is_none_or(is_kept) {
                fates.list[later] = match earlier {
                    Some(to) => Fate::Lost { to },
                    None => Fate::LostToTarget,
                };
            }
        }
        fates.untype(names);
        fates
    }

    /// Pairs that cannot both be written, by the later one; nothing for the earlier where that is the target's metadata.
    fn rivals(&self, names: &[Option<FamilyNames>]) -> Vec<(usize, Option<usize>)> {
        let mut rivals = Vec::new();
        let known = names.iter().enumerate();
        for (index, own) in known.filter_map(|(index, own)| Some((index, own.as_ref()?))) {
            let of_kind = |other: usize| names[other].as_ref().map(|other| other.kind);
            for other in self.chain(self.before[index]) {
                let is_rival = of_kind(other).is_some_and(|other| {
                    let is_either = |kind| own.kind == kind || other == kind;
                    own.kind != other
                        && !(is_either(FamilyKind::Counter) && is_either(FamilyKind::Gauge))
                });
                if is_rival {
                    rivals.push((index, Some(other)));
                }
            }
            if own.kind == FamilyKind::Counter {
                continue;
            }
            if own.name == TARGET_INFO {
                rivals.push((index, None));
            }
            for other in self.adding(&own.name, of_kind) {
                rivals.push((index.max(other), Some(index.min(other))));
            }
        }
        // Those of the first families first: whoever is lost takes no name from others.
        rivals.sort_unstable();
        rivals
    }

    /// Families of which one series is called `name`, by a suffix.
    fn adding(
        &self,
        name: &str,
        of_kind: impl Fn(usize) -> Option<FamilyKind>,
    ) -> impl Iterator<Item = usize> {
        let base = name.rfind('_').map(|at| name.split_at(at));
        let known = base.and_then(|(base, suffix)| Some((*self.by_name.get(base)?, suffix)));
        let (last, suffix) = known.map_or((None, ""), |(last, suffix)| (Some(last), suffix));
        self.chain(last).filter(move |other| {
            of_kind(*other).is_some_and(|kind| kind.suffixes().contains(&suffix))
        })
    }

    /// Families of one name, from `last` to the first.
    fn chain(&self, last: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(last, |index| self.before[*index])
    }

    /// Counters beside others that are called as they are without `_total`.
    fn untype(&mut self, names: &[Option<FamilyNames>]) {
        for (index, own) in names.iter().enumerate() {
            let Some(own) = own.as_ref().filter(|own| own.kind == FamilyKind::Counter) else {
                continue;
            };
            let of_kind = |other: usize| names[other].as_ref().map(|other| other.kind);
            let same = self.chain(self.by_name.get(own.name.as_str()).copied());
            let mut others = same
                .filter(|other| of_kind(*other) != Some(FamilyKind::Counter))
                .chain(self.adding(&own.name, of_kind));
            let is_untyped = own.name == TARGET_INFO
                || others.any(|other| matches!(self.list[other], Fate::Kept { .. }));
            drop(others);
            if let Fate::Kept {
                is_untyped: untyped,
            } = &mut self.list[index]
            {
                *untyped = is_untyped;
            }
        }
    }
}

/// The first of `clashes` for a status line, and how many there are.
pub(crate) fn told(clashes: &[Clash]) -> Option<String> {
    let (first, others) = clashes.split_first()?;
    Some(match others.len() {
        0 => first.to_string(),
        others => format!("{first} (and {others} more)"),
    })
}

/// What was left out because something else has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    lost: String,
    kept: String,
    name: String,
    what: Clashing,
    pub(crate) points: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clashing {
    Family,
    Series,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost, kept, name, ..
        } = self;
        match self.what {
            Clashing::Family => write!(
                f,
                "the metric `{lost}` is left out: to Prometheus its name is `{name}`, which the metric `{kept}` has; rename \
                 one of them"
            ),
            Clashing::Series if lost == kept => write!(
                f,
                "the metric `{lost}` has two sets of labels that are one to Prometheus, `{name}`, and the second is left \
                 out; rename a label"
            ),
            Clashing::Series => write!(
                f,
                "the metric `{lost}` is left out where the metric `{kept}` has the same series to Prometheus, `{name}`; \
                 rename one of them"
            ),
        }
    }
}
