//! Metrics in OpenTelemetry's terms: a [`MetricBatch`] is a snapshot of families, each with its points.
//!
//! ```text
//! MetricBatch ─ resource, scope
//!   └ Family ─ name, description, unit, kind
//!       └ Point ─ labels, start, time, value, exemplars
//! ```
//!
//! All points are cumulative: a newer one of the same family and labels makes an older one needless.
//!
//! ```
//! use std::sync::Arc;
//! use hiq_core::batch::Batch;
//! use hiq_core::metric::{Descriptor, Family, Kind, LabelSet, MetricBatch, Number, Point};
//! use hiq_core::resource::{Resource, Scope};
//! use hiq_core::time::UnixNanos;
//!
//! let orders = Descriptor::new("shop.orders", Kind::COUNTER).with_unit("{order}");
//! let labels = LabelSet::new([("city", "Hà Nội")]);
//! let (start, time) = (UnixNanos(1_000), UnixNanos(2_000));
//! let point = Point::new(labels, start, time, Number::Int(7));
//! let family = Family::new(Arc::new(orders), vec![point]);
//! let batch = MetricBatch::new(Arc::default(), Arc::new(Scope::new("shop", "1")), vec![family]);
//! assert_eq!(batch.items(), 1);
//! let mut cursor = batch.cursor();
//! assert!(cursor.next_point().is_some() && cursor.is_done());
//! assert_eq!(cursor.batch().scope().name().unwrap().as_str(), "shop");
//! ```

use std::ops::Range;
use std::sync::Arc;

use crate::batch::Batch;
use crate::encode::Encodable;
use crate::resource::{Resource, Scope};

mod cursor;
mod family;
mod fill;
mod labels;
pub mod ledgers;
pub mod merge;
pub mod pack;
pub mod reader;
pub mod record;
pub mod trees;
mod value;

pub use cursor::{FamilyRun, MetricCursor, MetricPosition};
pub use family::{Descriptor, Family, Kind, Point};
pub use fill::{PointPage, fill_points};
pub use labels::{LabelForm, LabelQuestion, LabelSet, exported};
pub use value::{
    Buckets, Exemplar, ExponentialHistogram, Histogram, Number, PointValue, QuantileValue, Summary,
};

/// A snapshot of the metrics of one resource.
#[derive(Clone, Debug, Default)]
pub struct MetricBatch {
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    families: Vec<Family>,
    points: usize,
    heap_bytes: usize,
}

impl MetricBatch {
    /// What `resource` has counted, by the library `scope`. Families without points are left out.
    pub fn new(resource: Arc<Resource>, scope: Arc<Scope>, mut families: Vec<Family>) -> Self {
        families.retain(|family| !family.points().is_empty());
        let points = families.iter().map(|family| family.points().len()).sum();
        let heap_bytes = families.iter().map(Family::heap_bytes).sum();
        Self {
            resource,
            scope,
            families,
            points,
            heap_bytes,
        }
    }

    /// Who counted.
    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// The library that counted.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// The families, in the order of the cursor.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// A cursor over all points.
    pub fn cursor(&self) -> MetricCursor<'_> {
        self.cursor_over(self.whole())
    }
}

impl Batch for MetricBatch {
    fn items(&self) -> usize {
        self.points
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}

impl Encodable for MetricBatch {
    type Cursor<'a> = MetricCursor<'a>;
    type Position = MetricPosition;

    fn whole(&self) -> Range<MetricPosition> {
        MetricPosition::START..MetricPosition::before_family(self.families.len())
    }

    fn cursor_over(&self, range: Range<MetricPosition>) -> MetricCursor<'_> {
        MetricCursor::new(self, range)
    }

    fn position(cursor: &MetricCursor<'_>) -> MetricPosition {
        cursor.position()
    }

    fn remaining(cursor: &MetricCursor<'_>) -> usize {
        cursor.remaining()
    }

    fn middle(cursor: &MetricCursor<'_>) -> Option<MetricPosition> {
        cursor.middle()
    }
}
