//! One scrape: what a registry holds, in the form that the scraper wants.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hiq_core::metric::MetricBatch;
use hiq_core::metric::record::{CollectOptions, Registry};

use crate::exposition::{ClashReport, expose_beside};
use crate::form::{Form, Format};
use crate::names::Alphabet;

/// Answers scrapes of one registry: for the endpoint, and for a program's own `/metrics`.
///
/// ```
/// use hiq_core::metric::record::Registry;
/// use hiq_prometheus::Scrape;
///
/// let registry = Registry::new();
/// registry.gauge("shop.open")?.plain().set(1.0);
/// let page = Scrape::new(registry).answer("text/plain", "");
/// assert_eq!(page.body, b"# TYPE shop_open gauge\nshop_open 1.0\n");
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Scrape {
    registry: Registry,
    alphabet: Alphabet,
    native_summaries: bool,
    report: ClashReport,
}

/// The answer to a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its `Content-Encoding`, if any: `gzip`.
    pub content_encoding: Option<&'static str>,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Scrape {
    /// Of `registry`, with names of the classic alphabet and summaries with quantiles.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            alphabet: Alphabet::Classic,
            native_summaries: false,
            report: ClashReport::default(),
        }
    }

    /// The same with names of `alphabet`, for scrapers that read them.
    #[must_use]
    pub fn with_alphabet(mut self, alphabet: Alphabet) -> Self {
        self.alphabet = alphabet;
        self
    }

    /// The same with summaries as native histograms in the protobuf form.
    #[must_use]
    pub fn with_native_summaries(mut self, native: bool) -> Self {
        self.native_summaries = native;
        self
    }

    /// The same with other words than those on standard error for metrics that are left out because another has their name.
    #[must_use]
    pub fn with_clash_report(mut self, report: ClashReport) -> Self {
        self.report = report;
        self
    }

    /// What the registry holds now, for the request headers `Accept` and `Accept-Encoding`; empty where one is missing.
    pub fn answer(&self, accept: &str, accept_encoding: &str) -> Page {
        let form = Form::negotiate(accept, self.alphabet);
        page(&self.collect(form), form, accept_encoding, &self.report)
    }

    fn collect(&self, form: Form) -> MetricBatch {
        let options = if form.format == Format::Proto && self.native_summaries {
            CollectOptions::with_sketches()
        } else {
            CollectOptions::default()
        };
        self.registry.collect(&options)
    }
}

/// `batch` as the answer to a scrape.
pub(crate) fn page(
    batch: &MetricBatch,
    form: Form,
    accept_encoding: &str,
    report: &ClashReport,
) -> Page {
    let mut body = Vec::new();
    report.say(&expose_beside(&[], batch, form, &mut body).clashes);
    let packed = takes_gzip(accept_encoding)
        .then(|| gzipped(&body))
        .flatten();
    Page {
        content_type: form.content_type(),
        content_encoding: packed.is_some().then_some("gzip"),
        body: packed.unwrap_or(body),
    }
}

fn takes_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        is_gzip && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|q| q > 0.0))
    })
}

fn gzipped(body: &[u8]) -> Option<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    gzip.write_all(body).ok()?;
    gzip.finish().ok()
}
