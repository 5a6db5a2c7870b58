//! Metrics as a page for Prometheus, for what answers scrapes in Python.

use std::sync::{Arc, OnceLock};

use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::metric::{Descriptor, Family, Kind, LabelSet, Number, Point};
use hiq_core::time::{Clock, UnixNanos};
use hiq_prometheus::names::Alphabet;
use hiq_prometheus::{ClashReport, Page, Scrape};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{hiq_summaries, registry};
use crate::exporting;

/// `Content-Type`, `Content-Encoding` and bytes of a page.
type Answer<'py> = (&'static str, Option<&'static str>, Bound<'py, PyBytes>);

/// A family that Python has counted itself: name, description, whether it never falls, and labels with values.
type Counted = (String, String, bool, Vec<(Vec<(String, String)>, f64)>);

/// What has been measured up to now, and `more`, for a request with these headers. `since`: when this process began.
/// `utf8_names`: names stay as they are for scrapers that read them.
#[pyfunction]
#[pyo3(signature = (accept="", accept_encoding="", more=Vec::new(), since=0.0, utf8_names=false))]
pub(super) fn prometheus_page<'py>(
    py: Python<'py>,
    accept: &str,
    accept_encoding: &str,
    more: Vec<Counted>,
    since: f64,
    utf8_names: bool,
) -> Answer<'py> {
    exporting::show_ledgers_on_pages();
    let page = py.detach(|| {
        let measured = registry().collect(&CollectOptions::default());
        let mut families = measured.families().to_vec();
        families.extend(more.into_iter().map(|family| counted(family, since)));
        let all = Registry::of(Arc::clone(measured.resource()));
        all.add_source(move |_| families.clone());
        let alphabet = if utf8_names {
            Alphabet::Utf8
        } else {
            Alphabet::Classic
        };
        Scrape::new(all)
            .with_alphabet(alphabet)
            .with_clash_report(clash_report())
            .answer(accept, accept_encoding)
    });
    answer(py, page)
}

/// The same of HiQ's summaries alone.
#[pyfunction]
#[pyo3(signature = (accept="", accept_encoding=""))]
pub(super) fn hiq_summaries_page<'py>(
    py: Python<'py>,
    accept: &str,
    accept_encoding: &str,
) -> Answer<'py> {
    let summaries = hiq_summaries::registry().clone();
    let scrape = Scrape::new(summaries).with_clash_report(clash_report());
    let page = py.detach(|| scrape.answer(accept, accept_encoding));
    answer(py, page)
}

/// One for all pages, so that each line is said once.
fn clash_report() -> ClashReport {
    static REPORT: OnceLock<ClashReport> = OnceLock::new();
    REPORT.get_or_init(ClashReport::default).clone()
}

fn answer(py: Python<'_>, page: Page) -> Answer<'_> {
    let body = PyBytes::new(py, &page.body);
    (page.content_type, page.content_encoding, body)
}

fn counted((name, description, never_falls, series): Counted, since: f64) -> Family {
    let kind = if never_falls {
        Kind::COUNTER
    } else {
        Kind::Gauge
    };
    let descriptor = Descriptor::new(name, kind).with_description(description);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a moment after 1970; a cast that saturates"
    )]
    let start = UnixNanos((since * 1e9) as u64);
    let time = Clock::unix_nanos();
    let point =
        |(labels, value)| Point::new(LabelSet::new(labels), start, time, Number::F64(value));
    let points = series
        .into_iter()
        .map(|(labels, value): (Vec<(String, String)>, f64)| point((labels, value)))
        .collect();
    Family::new(Arc::new(descriptor), points)
}
