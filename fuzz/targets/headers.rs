//! Headers of any caller: what is taken in goes out, and comes in again as the same.
#![no_main]

use hiq_core::context::Context;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (traceparent, tracestate, baggage) = input;
    let given = |name: &str| match name {
        "traceparent" => Some(traceparent),
        "tracestate" => Some(tracestate),
        "baggage" => Some(baggage),
        _ => None,
    };
    let Some(context) = Context::extract(given) else {
        return;
    };
    let mut headers = Vec::new();
    context.inject(|name, value| headers.push((name, value)));
    let again = Context::extract(|name| {
        headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    });
    assert_eq!(again.unwrap_or_default(), context);
});
