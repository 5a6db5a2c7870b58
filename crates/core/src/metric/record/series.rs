//! An instrument: its series, one for each set of labels, up to a limit.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::fetch::fetch;
use super::list::List;
use super::{Cell, Reading, Spec};
use crate::fork::Lock;
use crate::metric::{Descriptor, Family, LabelSet, Point};

/// A metric of a [`Registry`](super::Registry). A cheap handle: clones are the same metric.
#[derive(Debug)]
pub struct Instrument<T> {
    series: Arc<Series<T>>,
}

impl<T> Clone for Instrument<T> {
    fn clone(&self) -> Self {
        Self {
            series: Arc::clone(&self.series),
        }
    }
}

impl<T: Cell> Instrument<T> {
    pub(super) fn new(series: Arc<Series<T>>) -> Self {
        Self { series }
    }

    /// The series of `labels`: a lookup. Keep what it returns, where many measurements are made.
    ///
    /// Beyond the limit of series it is one that all further sets of labels share: `otel.metric.overflow="true"`.
    pub fn with<N: Into<Box<str>>, V: Into<Box<str>>>(
        &self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Arc<T> {
        self.with_labels(&LabelSet::new(labels))
    }

    /// As [`Instrument::with`], for labels that are a set already.
    pub fn with_labels(&self, labels: &Arc<LabelSet>) -> Arc<T> {
        self.series.get(labels)
    }

    /// The series without labels.
    pub fn plain(&self) -> Arc<T> {
        self.with_labels(&LabelSet::empty())
    }

    /// What is measured.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.series.descriptor
    }
}

/// The series of one metric.
pub(super) struct Series<T> {
    descriptor: Arc<Descriptor>,
    spec: Spec,
    list: List<Labelled<T>>,
    /// By labels; `None` where it is to be made from the list.
    index: Lock<Option<Index<T>>>,
}

type Index<T> = HashMap<Arc<LabelSet>, Arc<T>>;

struct Labelled<T> {
    labels: Arc<LabelSet>,
    cell: Arc<T>,
}

impl<T: Cell> Series<T> {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            descriptor: Arc::new(spec.clone().into_descriptor(T::KIND)),
            spec,
            list: List::default(),
            index: Lock::new(None),
        }
    }

    /// What it was made by.
    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    fn get(&self, labels: &Arc<LabelSet>) -> Arc<T> {
        let mut index = self.index.lock();
        let index = index.get_or_insert_with(|| self.indexed());
        if let Some(known) = index.get(labels) {
            return Arc::clone(known);
        }
        if index.len() < self.spec.max_series {
            return self.add(index, labels);
        }
        let overflow = LabelSet::overflow();
        match index.get(&overflow) {
            Some(known) => Arc::clone(known),
            None => self.add(index, &overflow),
        }
    }

    fn add(&self, index: &mut Index<T>, labels: &Arc<LabelSet>) -> Arc<T> {
        let cell = Arc::new(T::new(&self.spec));
        index.insert(Arc::clone(labels), Arc::clone(&cell));
        let labels = Arc::clone(labels);
        Arc::clone(&self.list.push(Labelled { labels, cell }).cell)
    }

    fn indexed(&self) -> Index<T> {
        let pair = |one: &Labelled<T>| (Arc::clone(&one.labels), Arc::clone(&one.cell));
        self.list.iter().map(pair).collect()
    }
}

impl<T: Cell> Labelled<T> {
    #[inline]
    fn read(&self, reading: &mut Reading) -> Option<Point> {
        let measured = self.cell.read(reading)?;
        let labels = Arc::clone(&self.labels);
        let point = Point::new(labels, measured.start, reading.time, measured.value);
        Some(point.with_exemplars(measured.exemplars))
    }
}

/// Has what will be read of the last of `series` on its way from memory. What one points to is asked for when it has had
/// time to arrive itself: a reader of many series would wait for memory most of the time.
fn fetch_last<T: Cell>(series: &[&Labelled<T>]) {
    if let [.., third, _, _] = series {
        fetch(&*third.labels);
        fetch(&*third.cell);
    }
    if let [.., second, _] = series {
        second.cell.fetch(1);
    }
    if let [.., first] = series {
        first.cell.fetch(2);
    }
}

impl<T> fmt::Debug for Series<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series({})", self.descriptor.name())
    }
}

/// A metric of whatever kind.
pub(super) trait Metric: fmt::Debug + Send + Sync {
    fn descriptor(&self) -> &Descriptor;
    fn collect(&self, reading: &mut Reading) -> Family;
    fn has_series(&self) -> bool;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<T: Cell> Metric for Series<T> {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn collect(&self, reading: &mut Reading) -> Family {
        let newest_first: Vec<_> = self.list.iter().collect();
        let mut points = Vec::with_capacity(newest_first.len());
        for (place, one) in newest_first.iter().enumerate().rev() {
            fetch_last(&newest_first[..place]);
            if let Some(point) = one.read(reading) {
                points.push(point);
            }
        }
        Family::new(Arc::clone(&self.descriptor), points)
    }

    fn has_series(&self) -> bool {
        self.list.iter().next().is_some()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
