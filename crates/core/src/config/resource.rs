//! Who produces the spans, as far as the environment says it.

use super::reader::Reader;
use crate::context::percent_decode;
use crate::detect::Detectors;

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`: stronger than what is detected, weaker than code. And what is detected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceSettings {
    /// `OTEL_SERVICE_NAME`; wins over a `service.name` among the attributes.
    pub service_name: Option<String>,
    /// Decoded keys and values, in the order written; the last value of a key counts.
    pub attributes: Vec<(String, String)>,
    /// `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`.
    pub detectors: Detectors,
}

impl ResourceSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let service_name = reader.text("OTEL_SERVICE_NAME").map(str::to_owned);
        let attributes = match reader.text(NAME).map(parse_attributes) {
            None => Vec::new(),
            Some(Ok(attributes)) => attributes,
            Some(Err(member)) => {
                let shown: String = member.chars().take(64).collect();
                let message = format!(
                    "`{shown}` is not key=value with valid percent-encoding; the whole value is ignored"
                );
                reader.warn(NAME, message);
                Vec::new()
            }
        };
        Self {
            service_name,
            attributes,
            detectors: detectors(reader),
        }
    }
}

/// Names of detectors that others bring along are no mistake: they are told of, and the others count.
fn detectors(reader: &mut Reader<'_>) -> Detectors {
    const NAME: &str = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS";
    let Some(words) = reader.words(NAME) else {
        return Detectors::default();
    };
    let (detectors, unknown) = Detectors::named(words.iter().map(String::as_str));
    if !unknown.is_empty() {
        let message = format!(
            "`{}` is not known here and is left out; known: {}",
            unknown.join("`, `").escape_debug(),
            Detectors::names()
        );
        reader.warn(NAME, message);
    }
    detectors
}

/// Keys and values, or the first member that breaks the rules, which voids the whole.
fn parse_attributes(text: &str) -> Result<Vec<(String, String)>, &str> {
    let members = text
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty());
    members
        .map(|member| parse_member(member).ok_or(member))
        .collect()
}

fn parse_member(member: &str) -> Option<(String, String)> {
    let (key, value) = member.split_once('=')?;
    let key = percent_decode(key.trim())?;
    (!key.is_empty()).then_some(())?;
    Some((key, percent_decode(value.trim())?))
}
