#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
//! B3 and Jaeger's headers. The values are those of the formats' own pages, or by hand from them.

use hiq_core::context::{Context, Propagator};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::sample::{RootSampler, Sampler};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";

fn read(propagator: Propagator, headers: &[(&str, &str)]) -> Option<Context> {
    Context::from_headers(&[propagator], headers.iter().copied())
}

fn ids(context: &Context) -> (String, String) {
    (context.trace_id.to_string(), context.span_id.to_string())
}

fn written(context: &Context, propagators: &[Propagator]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    context.to_headers(propagators, |name, value| {
        out.push((name.to_owned(), value));
    });
    out
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    expected.iter().map(own).collect()
}

#[test]
fn the_single_header_of_b3_is_read_and_written() {
    let header = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";
    let context = read(Propagator::B3, &[("b3", header)]).unwrap();
    assert_eq!(ids(&context), (TRACE.to_owned(), SPAN.to_owned()));
    assert!(context.is_sampled() && context.is_remote && !context.is_deferred);
    let expected = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";
    assert_eq!(
        written(&context, &[Propagator::B3]),
        pairs(&[("b3", expected)])
    );
}

#[test]
fn the_many_headers_of_b3_are_read_and_written() {
    let headers = [
        ("X-B3-TraceId", TRACE),
        ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
        ("X-B3-SpanId", SPAN),
        ("X-B3-Sampled", "0"),
    ];
    for propagator in [Propagator::B3, Propagator::B3Multi] {
        let context = read(propagator, &headers).unwrap();
        assert_eq!(ids(&context), (TRACE.to_owned(), SPAN.to_owned()));
        assert!(!context.is_sampled());
        let expected = [
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-sampled", "0"),
        ];
        assert_eq!(written(&context, &[Propagator::B3Multi]), pairs(&expected));
    }
}

#[test]
fn debug_and_the_words_of_old_senders_are_decisions() {
    for (decision, sampled) in [
        ("1", true),
        ("d", true),
        ("0", false),
        ("true", true),
        ("False", false),
    ] {
        let header = format!("{TRACE}-{SPAN}-{decision}");
        let context = read(Propagator::B3, &[("b3", &header)]).unwrap();
        assert_eq!(
            (context.is_sampled(), context.is_deferred),
            (sampled, false),
            "{decision}"
        );
    }
    let debug = [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
        ("x-b3-flags", "1"),
    ];
    let context = read(Propagator::B3Multi, &debug).unwrap();
    assert!(context.is_sampled() && !context.is_deferred);
}

/// "Debug implies an accept decision, so don't also send the X-B3-Sampled header."
#[test]
fn debug_goes_on_as_debug_in_each_form_that_has_a_word_for_it() {
    let single = format!("{TRACE}-{SPAN}-d");
    let many = [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
        ("x-b3-flags", "1"),
    ];
    let with_both = [&many[..], &[("x-b3-sampled", "0")]].concat();
    let jaeger = format!("{TRACE}:{SPAN}:0:3");
    for context in [
        read(Propagator::B3, &[("b3", &single)]),
        read(Propagator::B3Multi, &many),
        read(Propagator::B3Multi, &with_both),
        read(Propagator::Jaeger, &[("uber-trace-id", &jaeger)]),
    ] {
        let context = context.unwrap();
        assert!(context.is_debug && context.is_sampled());
        assert_eq!(
            written(&context, &[Propagator::B3]),
            pairs(&[("b3", &single)])
        );
        assert_eq!(written(&context, &[Propagator::B3Multi]), pairs(&many));
        assert_eq!(
            written(&context, &[Propagator::Jaeger]),
            pairs(&[("uber-trace-id", &jaeger)])
        );
        // W3C has no word for it.
        let traceparent = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(
            written(&context, &[Propagator::TraceContext]),
            pairs(&[("traceparent", &traceparent)])
        );
    }
    let plain = read(Propagator::B3, &[("b3", &format!("{TRACE}-{SPAN}-1"))]).unwrap();
    assert!(!plain.is_debug);
}

#[test]
fn a_decision_without_ids_is_about_new_traces_and_goes_on_as_that() {
    let none = Sampler::new(RootSampler::AlwaysOff, true);
    let all = Sampler::new(RootSampler::AlwaysOn, true);
    let deaf = Sampler::new(RootSampler::AlwaysOn, false);
    for (word, sampled, many) in [
        ("0", false, ("x-b3-sampled", "0")),
        ("1", true, ("x-b3-sampled", "1")),
        ("d", true, ("x-b3-flags", "1")),
    ] {
        for headers in [("b3", word), many] {
            let context = read(Propagator::B3, &[headers]).unwrap();
            assert!(context.is_decision && !context.is_valid() && context.counts());
            assert_eq!(
                (context.is_sampled(), context.is_debug),
                (sampled, word == "d")
            );
            let id = TraceId::random();
            for sampler in [&none, &all] {
                assert_eq!(sampler.samples(id, Some(&context)), sampled, "{word}");
            }
            assert!(deaf.samples(id, Some(&context)));
            assert_eq!(written(&context, &[Propagator::B3]), pairs(&[("b3", word)]));
            assert_eq!(written(&context, &[Propagator::B3Multi]), pairs(&[many]));
            for silent in [Propagator::TraceContext, Propagator::Jaeger] {
                assert_eq!(written(&context, &[silent]), pairs(&[]));
            }
        }
    }
}

#[test]
fn a_decision_without_ids_is_nothing_beside_a_place_and_leaves_baggage_alone() {
    let place = format!("{TRACE}:{SPAN}:0:1");
    let headers = [
        ("uber-trace-id", place.as_str()),
        ("b3", "0"),
        ("uberctx-user", "me"),
    ];
    let both = [Propagator::Jaeger, Propagator::B3];
    for propagators in [both, [Propagator::B3, Propagator::Jaeger]] {
        let context = Context::from_headers(&propagators, headers).unwrap();
        assert_eq!(ids(&context), (TRACE.to_owned(), SPAN.to_owned()));
        assert!(context.is_sampled() && !context.is_decision);
        assert_eq!(context.baggage, pairs(&[("user", "me")]));
    }
    let context = Context::from_headers(&both, headers[1..].iter().copied()).unwrap();
    assert!(context.is_decision);
    assert_eq!(context.baggage, pairs(&[("user", "me")]));
}

#[test]
fn a_decision_that_the_caller_left_open_is_ours_and_stays_open_where_it_is_passed_on() {
    let never = Sampler::new(RootSampler::AlwaysOff, true);
    let always = Sampler::new(RootSampler::AlwaysOn, true);
    let many = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    let one = format!("{TRACE}-{SPAN}");
    for headers in [&many[..], &[("b3", &one)]] {
        let context = read(Propagator::B3, headers).unwrap();
        assert!(context.is_deferred);
        assert!(always.samples(context.trace_id, Some(&context)));
        assert!(!never.samples(context.trace_id, Some(&context)));
        assert_eq!(written(&context, &[Propagator::B3]), pairs(&[("b3", &one)]));
        assert_eq!(written(&context, &[Propagator::B3Multi]), pairs(&many));
    }
}

#[test]
fn the_single_header_wins_over_the_many() {
    let single = format!("{TRACE}-{SPAN}-0");
    let headers = [
        ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
        ("x-b3-spanid", "0020000000000001"),
        ("x-b3-sampled", "1"),
        ("b3", &single),
    ];
    let context = read(Propagator::B3Multi, &headers).unwrap();
    assert_eq!(ids(&context), (TRACE.to_owned(), SPAN.to_owned()));
    assert!(!context.is_sampled());
}

#[test]
fn ids_of_64_bits_have_zeros_before_them() {
    let context = read(
        Propagator::B3,
        &[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")],
    )
    .unwrap();
    assert_eq!(
        context.trace_id.to_string(),
        "0000000000000000a3ce929d0e0e4736"
    );
    let context = read(
        Propagator::Jaeger,
        &[("uber-trace-id", "3ce929d0e0e4736:f067aa0ba902b7:0:1")],
    )
    .unwrap();
    let expected = ("000000000000000003ce929d0e0e4736", "00f067aa0ba902b7");
    assert_eq!(
        ids(&context),
        (expected.0.to_owned(), expected.1.to_owned())
    );
}

#[test]
fn jaegers_header_is_read_and_written() {
    let encoded = format!("{TRACE}%3A{SPAN}%3A05e3ac9a4f6e3b90%3A1");
    let plain = format!("{TRACE}:{SPAN}:0:1");
    for header in [&encoded, &plain] {
        let context = read(Propagator::Jaeger, &[("Uber-Trace-Id", header)]).unwrap();
        assert_eq!(ids(&context), (TRACE.to_owned(), SPAN.to_owned()));
        assert!(context.is_sampled() && context.is_remote);
        assert_eq!(
            written(&context, &[Propagator::Jaeger]),
            pairs(&[("uber-trace-id", &plain)])
        );
    }
    for (flags, sampled) in [
        ("0", false),
        ("1", true),
        ("2", true),
        ("03", true),
        ("4", false),
    ] {
        let header = format!("{TRACE}:{SPAN}:0:{flags}");
        let context = read(Propagator::Jaeger, &[("uber-trace-id", &header)]).unwrap();
        assert_eq!(context.is_sampled(), sampled, "{flags}");
    }
}

#[test]
fn jaegers_baggage_is_read_and_written() {
    let headers = [
        ("uberctx-user", "Am%C3%A9lie"),
        ("UberCtx-Shop", "a b"),
        ("jaeger-baggage", "k1=v1, k2=v2,broken"),
        ("uberctx-bad key", "x"),
        ("uberctx-broken", "%zz"),
    ];
    let context = read(Propagator::Jaeger, &headers).unwrap();
    let expected = [
        ("user", "Am\u{e9}lie"),
        ("shop", "a b"),
        ("k1", "v1"),
        ("k2", "v2"),
    ];
    assert_eq!(context.baggage, pairs(&expected));
    let out = [
        ("uberctx-user", "Am%C3%A9lie"),
        ("uberctx-shop", "a%20b"),
        ("uberctx-k1", "v1"),
        ("uberctx-k2", "v2"),
    ];
    assert_eq!(written(&context, &[Propagator::Jaeger]), pairs(&out));
}

#[test]
fn headers_that_break_the_rules_begin_a_new_trace() {
    let b3 = [
        "",
        "2",
        "D",
        "-",
        "80f198ee56343ba864fe8b2a57d3eff7",
        "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd",
        "80f198ee56343ba864fe8b2a57d3eff-e457b5a2e4d86bd1-1",
        "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-",
        "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-2",
        "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3",
        "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90-x",
        "00000000000000000000000000000000-e457b5a2e4d86bd1-1",
        "80f198ee56343ba864fe8b2a57d3eff7-0000000000000000-1",
        "+0f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
        "\u{e9}0f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    ];
    for bad in b3 {
        assert_eq!(read(Propagator::B3, &[("b3", bad)]), None, "{bad}");
    }
    let jaeger = [
        "",
        "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0",
        "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:1:1",
        "080f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:1",
        "80f198ee56343ba864fe8b2a57d3eff7:0e457b5a2e4d86bd1:0:1",
        "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:",
        "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:x",
        "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:+1",
        "0:e457b5a2e4d86bd1:0:1",
        "80f198ee56343ba864fe8b2a57d3eff7:0:0:1",
        "%zz",
        "\u{e9}:1:0:1",
    ];
    for bad in jaeger {
        assert_eq!(
            read(Propagator::Jaeger, &[("uber-trace-id", bad)]),
            None,
            "{bad}"
        );
    }
    for missing in 0..2 {
        let mut headers = vec![("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        headers.remove(missing);
        assert_eq!(read(Propagator::B3Multi, &headers), None, "{headers:?}");
    }
}

#[test]
fn of_several_forms_the_last_that_names_a_span_counts_and_all_baggage() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let b3 = format!("{TRACE}-{SPAN}-1");
    let headers = [
        ("traceparent", traceparent),
        ("tracestate", "a=1"),
        ("baggage", "user=1,k=w3c"),
        ("b3", &b3),
        ("uberctx-k", "jaeger"),
    ];
    let all = Context::from_headers(&Propagator::ALL, headers).unwrap();
    assert_eq!(ids(&all), (TRACE.to_owned(), SPAN.to_owned()));
    assert_eq!(all.trace_state, "");
    assert_eq!(all.baggage, pairs(&[("user", "1"), ("k", "jaeger")]));
    let other_way = [Propagator::B3, Propagator::TraceContext];
    let w3c = Context::from_headers(&other_way, headers).unwrap();
    assert_eq!(
        (w3c.traceparent(), w3c.trace_state.as_str()),
        (traceparent.to_owned(), "a=1")
    );
    assert!(w3c.baggage.is_empty());
    assert_eq!(Context::from_headers(&[], headers), None);
}

#[test]
fn a_form_that_breaks_the_rules_takes_nothing_from_one_that_does_not() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let no_span = format!("{TRACE}-0000000000000000-1");
    let no_trace = format!("0:{SPAN}:0:1");
    let headers = [
        ("traceparent", traceparent),
        ("b3", &no_span),
        ("uber-trace-id", &no_trace),
    ];
    let context = Context::from_headers(&Propagator::ALL, headers).unwrap();
    assert_eq!(context.traceparent(), traceparent);
}

#[test]
fn lines_of_one_list_are_joined_and_names_may_be_in_any_case() {
    let headers = [
        (
            "TraceParent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("TRACESTATE", "a=1"),
        ("tracestate", "b=2"),
        ("Baggage", "x=1"),
        ("baggage", "y=2"),
    ];
    let context = Context::from_headers(&Propagator::DEFAULT, headers).unwrap();
    assert_eq!(context.trace_state, "a=1,b=2");
    assert_eq!(context.baggage, pairs(&[("x", "1"), ("y", "2")]));
}

#[test]
fn baggage_goes_out_without_a_span() {
    let mut context = Context::default();
    context.baggage = pairs(&[("user", "1"), ("not a key", "2")]);
    let expected = pairs(&[("baggage", "user=1"), ("uberctx-user", "1")]);
    assert_eq!(written(&context, &Propagator::ALL), expected);
}

/// Names of headers have no case: `uberctx-User` arrives as `uberctx-user`.
#[test]
fn baggage_that_comes_by_both_ways_is_the_same_whatever_its_case() {
    let every = &Propagator::ALL[..];
    for members in [
        &[("User", "1")][..],
        &[("User", "1"), ("user", "2")],
        &[("user", "2"), ("User", "1"), ("b", "3")],
    ] {
        let mut context = Context::local(TraceId::random(), SpanId::next(), 1);
        context.baggage = pairs(members);
        let mut headers = Vec::new();
        context.to_headers(every, |name, value| {
            headers.push((name.to_ascii_lowercase(), value));
        });
        let headers = headers.iter().map(|(name, value)| (&name[..], &value[..]));
        let again = Context::from_headers(every, headers).unwrap();
        assert_eq!(again.baggage, pairs(members));
    }
    let other = [
        ("baggage", "User=1"),
        ("uberctx-user", "2"),
        ("jaeger-baggage", "K=1,k=2"),
    ];
    let context = Context::from_headers(every, other).unwrap();
    assert_eq!(
        context.baggage,
        pairs(&[("User", "2"), ("K", "1"), ("k", "2")])
    );
}

#[test]
fn what_is_too_much_for_jaegers_baggage_stays_behind() {
    let mut context = Context::local(TraceId::random(), hiq_core::id::SpanId::next(), 1);
    let member = |n: usize| (format!("k{n}"), "v".repeat(200));
    context.baggage = (0..100).map(member).collect();
    let out = written(&context, &[Propagator::Jaeger]);
    let bytes: usize = out[1..]
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!((7_000..=8_192).contains(&bytes), "{bytes}");
    assert!(out.len() <= 65, "{}", out.len());
}
