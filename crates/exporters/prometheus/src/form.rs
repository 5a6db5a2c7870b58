//! The forms that metrics are scraped in, and which of them a scraper wants.
//!
//! Source: prometheus/docs, `content_negotiation.md` and `escaping_schemes.md`.

use crate::names::Alphabet;

/// What a scrape is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Form {
    /// The format.
    pub format: Format,
    /// Which characters names may have.
    pub alphabet: Alphabet,
}

/// The formats of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Text 0.0.4; with UTF-8 names 1.0.0.
    #[default]
    Text,
    /// OpenMetrics 1.0 text, with exemplars, units and times of creation.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily` messages, each after its length: with native histograms.
    Proto,
}

impl Form {
    /// `format` with names of the classic alphabet.
    pub const fn new(format: Format) -> Self {
        Self {
            format,
            alphabet: Alphabet::Classic,
        }
    }

    /// What an `Accept` header asks for first of what there is: text 0.0.4 unless said otherwise. UTF-8 names only where
    /// `ours` has them and the scraper says that it reads them.
    ///
    /// ```
    /// use hiq_prometheus::form::{Form, Format};
    /// use hiq_prometheus::names::Alphabet;
    ///
    /// let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4,*/*;q=0.1";
    /// let form = Form::negotiate(prometheus, Alphabet::Classic);
    /// assert_eq!(form.format, Format::OpenMetrics);
    /// assert_eq!(Form::negotiate("", Alphabet::Classic).format, Format::Text);
    /// ```
    pub fn negotiate(accept: &str, ours: Alphabet) -> Self {
        let mut best: Option<(f32, Self)> = None;
        for (weight, form) in accept.split(',').filter_map(|range| wished(range, ours)) {
            if best.is_none_or(|(known, _)| weight > known) {
                best = Some((weight, form));
            }
        }
        best.map_or(Self::new(Format::Text), |(_, form)| form)
    }

    /// The `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match (self.format, self.alphabet) {
            (Format::Text, Alphabet::Classic) => {
                "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
            }
            (Format::Text, Alphabet::Utf8) => {
                "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            (Format::OpenMetrics, Alphabet::Classic) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            (Format::OpenMetrics, Alphabet::Utf8) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            (Format::Proto, Alphabet::Classic) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited; escaping=underscores"
            }
            (Format::Proto, Alphabet::Utf8) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited; escaping=allow-utf-8"
            }
        }
    }
}

/// One wish of an `Accept` header with its weight, if it can be fulfilled.
fn wished(range: &str, ours: Alphabet) -> Option<(f32, Form)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let parameters: Vec<(&str, &str)> = parts
        .filter_map(|parameter| parameter.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .collect();
    let get = |wanted: &str| {
        let named = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(wanted);
        parameters.iter().find(named).map(|(_, value)| *value)
    };
    let weight: f32 = get("q").map_or(Some(1.0), |q| q.parse().ok())?;
    let format = match (media.as_str(), get("version")) {
        ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Format::OpenMetrics,
        ("text/plain", None | Some("0.0.4" | "1.0.0")) | ("text/*" | "*/*", _) => Format::Text,
        ("application/vnd.google.protobuf", _) if is_families(&get) => Format::Proto,
        _ => return None,
    };
    let reads_utf8 = get("escaping").is_some_and(|scheme| scheme == "allow-utf-8");
    let alphabet = if reads_utf8 { ours } else { Alphabet::Classic };
    (weight > 0.0).then_some((weight, Form { format, alphabet }))
}

fn is_families<'p>(get: &impl Fn(&str) -> Option<&'p str>) -> bool {
    get("proto").is_none_or(|proto| proto == "io.prometheus.client.MetricFamily")
        && get("encoding").is_none_or(|encoding| encoding == "delimited")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What real servers send, see the table of content negotiation in the reference of formats.
    #[test]
    fn real_scrapers_get_what_they_want_most() {
        let of_2_42 = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let of_3_5 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;escaping=allow-utf-8;q=0.7,application/openmetrics-text;q=0.6";
        for (accept, ours, format, alphabet) in [
            (
                of_2_42,
                Alphabet::Utf8,
                Format::OpenMetrics,
                Alphabet::Classic,
            ),
            (of_3_5, Alphabet::Utf8, Format::OpenMetrics, Alphabet::Utf8),
            (
                of_3_5,
                Alphabet::Classic,
                Format::OpenMetrics,
                Alphabet::Classic,
            ),
            (native, Alphabet::Utf8, Format::Proto, Alphabet::Utf8),
            (
                "text/html,*/*;q=0.8",
                Alphabet::Utf8,
                Format::Text,
                Alphabet::Classic,
            ),
            (
                "application/json",
                Alphabet::Utf8,
                Format::Text,
                Alphabet::Classic,
            ),
        ] {
            let form = Form::negotiate(accept, ours);
            assert_eq!((form.format, form.alphabet), (format, alphabet), "{accept}");
        }
    }

    #[test]
    fn of_equal_wishes_the_first_counts() {
        let accept = "text/plain, application/openmetrics-text";
        assert_eq!(
            Form::negotiate(accept, Alphabet::Classic).format,
            Format::Text
        );
        let accept = "application/openmetrics-text, text/plain";
        let form = Form::negotiate(accept, Alphabet::Classic);
        assert_eq!(form.format, Format::OpenMetrics);
    }

    #[test]
    fn what_is_weighed_with_nothing_or_nonsense_is_not_wished() {
        let accept =
            "application/openmetrics-text;q=0, text/plain;q=0.1, application/openmetrics-text;q=x";
        assert_eq!(
            Form::negotiate(accept, Alphabet::Classic).format,
            Format::Text
        );
        let other =
            "application/vnd.google.protobuf;proto=Other, application/openmetrics-text;version=9";
        assert_eq!(
            Form::negotiate(other, Alphabet::Classic).format,
            Format::Text
        );
    }
}
