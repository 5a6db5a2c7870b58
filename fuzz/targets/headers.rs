//! Headers of any caller: what is taken in goes out, and comes in again as the same, in whatever form.
#![no_main]

use hiq_core::context::{Context, Propagator};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 11] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "uberctx-user",
    "jaeger-baggage",
];

fuzz_target!(|input: [&str; 11]| {
    let given = NAMES.into_iter().zip(input);
    let every = &Propagator::ALL[..];
    for propagators in [&Propagator::DEFAULT[..], &Propagator::ALL[2..], every] {
        let Some(context) = Context::from_headers(propagators, given.clone()) else {
            continue;
        };
        let mut headers = Vec::new();
        context.to_headers(propagators, |name, value| {
            headers.push((name.to_owned(), value));
        });
        let headers = headers.iter().map(|(name, value)| (&name[..], &value[..]));
        let again = Context::from_headers(propagators, headers).unwrap_or_default();
        assert_eq!(
            (again.trace_id, again.span_id),
            (context.trace_id, context.span_id)
        );
        assert_eq!(again.is_sampled(), context.is_sampled());
        // Jaeger's baggage alone loses the case of its keys, which are names of headers.
        if propagators.contains(&Propagator::Baggage) {
            assert_eq!(again.baggage, context.baggage);
        }
    }
});
