//! Propagators, the parent of the process, and the list of exporters.

use super::reader::Reader;
use crate::context::{Context, Propagator};

pub(super) fn propagators(reader: &mut Reader<'_>) -> Vec<Propagator> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(words) = reader.words(NAME) else {
        return Propagator::DEFAULT.to_vec();
    };
    if words.iter().any(|word| word == "none") {
        return Vec::new();
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for word in &words {
        match Propagator::from_name(word) {
            Some(propagator) if !known.contains(&propagator) => known.push(propagator),
            Some(_) => {}
            None => unknown.push(format!("`{word}`")),
        }
    }
    if !unknown.is_empty() {
        let names: Vec<&str> = Propagator::ALL.iter().map(|known| known.name()).collect();
        let message = format!(
            "{} is not known here and is left out; known: {}, none",
            unknown.join(", "),
            names.join(", ")
        );
        reader.warn(NAME, message);
    }
    if known.is_empty() {
        return Propagator::DEFAULT.to_vec();
    }
    known
}

pub(super) fn parent(reader: &mut Reader<'_>, propagators: &[Propagator]) -> Option<Context> {
    const NAME: &str = "TRACEPARENT";
    let traceparent = reader.text(NAME);
    let (trace_state, baggage) = (reader.text("TRACESTATE"), reader.text("BAGGAGE"));
    let reads = |propagator| propagators.contains(&propagator);
    let context = Context::extract(|header| match header {
        "traceparent" if reads(Propagator::TraceContext) => traceparent,
        "tracestate" if reads(Propagator::TraceContext) => trace_state,
        "baggage" if reads(Propagator::Baggage) => baggage,
        _ => None,
    });
    let is_valid = context.as_ref().is_some_and(Context::is_valid);
    if let Some(text) = traceparent
        && reads(Propagator::TraceContext)
        && !is_valid
    {
        let shown: String = text.chars().take(64).collect();
        reader.warn(
            NAME,
            format!("`{shown}` is not a W3C traceparent; a new trace begins"),
        );
    }
    context
}

pub(super) fn exporters(reader: &mut Reader<'_>, name: &str) -> Option<Vec<String>> {
    let words = reader.words(name)?;
    if words.iter().any(|word| word == "none") {
        return Some(Vec::new());
    }
    Some(words)
}
