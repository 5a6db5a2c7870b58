//! Samples of counters that a file held: events of a span, by a mark that no format takes away.

use hiq_core::span::Event;
use hiq_core::value::ValueRef;
use hiq_core::wire::Text;

/// True in the attributes of such an event; the others are its series and their values.
pub(crate) const MARK: &str = "hiq.counter";

/// Whether `event` can be drawn as a counter: it is marked, and all its series are numbers.
pub(crate) fn is_counter(event: Event<'_>) -> bool {
    let marked = |(key, value): (Text<'_>, ValueRef<'_>)| {
        key.as_bytes() == MARK.as_bytes() && matches!(value, ValueRef::Bool(true))
    };
    let others = event.attributes().len().saturating_sub(1);
    event.dropped_attributes() == 0
        && others > 0
        && event.attributes().any(marked)
        && series(event).count() == others
}

/// The series of a counter.
pub(crate) fn series(event: Event<'_>) -> impl Iterator<Item = (Text<'_>, f64)> {
    event.attributes().filter_map(|(key, value)| {
        #[expect(clippy::cast_precision_loss, reason = "viewers read doubles")]
        let number = match value {
            ValueRef::Int(int) => int as f64,
            ValueRef::F64(double) if double.is_finite() => double,
            _ => return None,
        };
        Some((key, number))
    })
}
