//! A snapshot as a whole page: every family once, whatever names become the same.

use std::collections::HashMap;

use hiq_core::metric::{Family, MetricBatch, Point};

use crate::encode_proto::ProtoPage;
use crate::encode_text::TextPage;
use crate::form::{Form, Format};
use crate::names::Alphabet;
use crate::series::FamilyNames;
use crate::target::Naming;

/// Families of one name.
pub(crate) struct Group<'b> {
    pub(crate) names: FamilyNames,
    families: Vec<&'b Family>,
}

impl<'b> Group<'b> {
    pub(crate) fn points(&self) -> impl Iterator<Item = &'b Point> {
        self.families.iter().flat_map(|family| family.points())
    }
}

/// Appends `batch` to `out` as the answer to a scrape. Returns the points that are left out: those of a family whose name
/// another one of another kind has already.
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
    expose_beside(&[], batch, form, out)
}

/// The same for somebody who sets the labels `taken` of every series. Only in protobuf.
pub(crate) fn expose_beside(
    taken: &[&str],
    batch: &MetricBatch,
    form: Form,
    out: &mut Vec<u8>,
) -> usize {
    let (groups, left_out) = groups(batch, form.alphabet);
    let resource = batch.resource();
    match form.format {
        Format::Text | Format::OpenMetrics => {
            let mut page = TextPage::new(form, out);
            page.target_info(resource);
            for group in &groups {
                page.group(group);
            }
            page.finish();
        }
        Format::Proto => {
            let alphabet = form.alphabet;
            let mut page = ProtoPage::new(Naming { alphabet, taken }, out);
            page.target_info(resource);
            for group in &groups {
                page.group(group);
            }
        }
    }
    left_out
}

pub(crate) fn groups(batch: &MetricBatch, alphabet: Alphabet) -> (Vec<Group<'_>>, usize) {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut left_out = 0;
    for family in batch.families() {
        let Some(names) = FamilyNames::of(family, alphabet, true) else {
            left_out += family.points().len();
            continue;
        };
        match known.get(&names.name) {
            None => {
                known.insert(names.name.clone(), groups.len());
                groups.push(Group {
                    names,
                    families: vec![family],
                });
            }
            Some(&place) if groups[place].names.kind == names.kind => {
                groups[place].families.push(family);
            }
            Some(_) => left_out += family.points().len(),
        }
    }
    (groups, left_out)
}
