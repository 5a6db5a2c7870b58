//! A snapshot as a whole page: every family once, whatever names become the same.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use hiq_core::metric::MetricBatch;
use hiq_core::status::StatusSink;

use crate::clash::{Clash, Groups};
use crate::encode_proto::ProtoPage;
use crate::encode_text::TextPage;
use crate::form::{Form, Format};
use crate::target::Naming;

/// Appends `batch` to `out` as the answer to a scrape. Returns the points that are left out: those of a family whose name
/// another one of another kind has already, and of a series that stands there already.
///
/// ```
/// use hiq_core::metric::record::Registry;
/// use hiq_prometheus::expose;
/// use hiq_prometheus::form::{Form, Format};
///
/// let registry = Registry::new();
/// registry.counter("shop.orders")?.with([("city", "Hà Nội")]).add(7);
/// let mut page = Vec::new();
/// expose(&registry.collect(&Default::default()), Form::new(Format::Text), &mut page);
/// let expected = "# TYPE shop_orders_total counter\nshop_orders_total{city=\"Hà Nội\"} 7\n";
/// assert!(String::from_utf8(page)?.contains(expected));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn expose(batch: &MetricBatch, form: Form, out: &mut Vec<u8>) -> usize {
    expose_beside(&[], batch, form, out).left_out
}

/// What a page lacks.
pub(crate) struct Exposed {
    /// Points that are left out.
    pub(crate) left_out: usize,
    /// Why, where something else has their name.
    pub(crate) clashes: Vec<Clash>,
}

/// The same for somebody who sets the labels `taken` of every series. Only in protobuf.
pub(crate) fn expose_beside(
    taken: &[&str],
    batch: &MetricBatch,
    form: Form,
    out: &mut Vec<u8>,
) -> Exposed {
    let alphabet = form.alphabet;
    let naming = Naming { alphabet, taken };
    let groups = Groups::of(batch, naming, true);
    let resource = batch.resource();
    match form.format {
        Format::Text | Format::OpenMetrics => {
            let mut page = TextPage::new(form, out);
            page.target_info(resource, groups.target_is_taken);
            for group in &groups.list {
                page.group(group);
            }
            page.finish();
        }
        Format::Proto => {
            let mut page = ProtoPage::new(naming, out);
            page.target_info(resource);
            for group in &groups.list {
                page.group(group);
            }
        }
    }
    Exposed {
        left_out: groups.left_out,
        clashes: groups.clashes,
    }
}

/// Says, once of each, which metrics pages leave out because another one has their name. Clones say it together.
#[derive(Clone)]
pub struct ClashReport {
    status: StatusSink,
    said: Arc<Mutex<HashSet<String>>>,
}

/// What is remembered as said; names may be made up at run time.
const MAX_SAID: usize = 1_000;

impl ClashReport {
    /// A report to `status`, as errors.
    pub fn to(status: StatusSink) -> Self {
        Self {
            status,
            said: Arc::default(),
        }
    }

    pub(crate) fn say(&self, clashes: &[Clash]) {
        // A forked child may find it locked for good.
        let Some(mut said) = self.said.try_lock().ok().filter(|_| !clashes.is_empty()) else {
            return;
        };
        for clash in clashes {
            let line = format!("hiq: prometheus: {clash}");
            if said.len() < MAX_SAID && !said.contains(&line) {
                self.status.say_loss(&line);
                said.insert(line);
            }
        }
    }
}

/// To standard error.
impl Default for ClashReport {
    fn default() -> Self {
        Self::to(StatusSink::default())
    }
}

impl fmt::Debug for ClashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClashReport({:?})", self.status)
    }
}
