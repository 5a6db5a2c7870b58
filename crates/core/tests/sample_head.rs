//! The head sampler decides as OpenTelemetry's own SDK does for the same ids and parents.

use hiq_core::context::Context;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::sample::{RootSampler, Sampler, TraceIdRatio};
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt as _, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample as _};
use proptest::prelude::*;

/// What the SDK decides, for a parent given by its flags.
fn sdk_samples(sampler: &SdkSampler, trace_id: TraceId, parent_flags: Option<u8>) -> bool {
    let trace_id = opentelemetry::trace::TraceId::from_bytes(trace_id.0);
    let parent = parent_flags.map(|flags| {
        let (span_id, flags) = (
            opentelemetry::SpanId::from_bytes([7; 8]),
            TraceFlags::new(flags),
        );
        let context = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
        opentelemetry::Context::new().with_remote_span_context(context)
    });
    let kind = SpanKind::Internal;
    let result = sampler.should_sample(parent.as_ref(), trace_id, "span", &kind, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

fn ours(sampler: Sampler, trace_id: TraceId, parent_flags: Option<u8>) -> bool {
    let parent = parent_flags.map(|flags| Context::local(trace_id, SpanId(7), flags));
    sampler.samples(trace_id, parent.as_ref())
}

fn id_with_low(low: u64) -> TraceId {
    let mut bytes = [0x5a; 16];
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    TraceId(bytes)
}

proptest! {
    #[test]
    fn a_ratio_chooses_the_ids_that_the_sdk_chooses(
        ratio in prop_oneof![0.0..=1.0, Just(0.0), Just(1.0), Just(0.5), Just(1e-18)],
        id in any::<[u8; 16]>(),
        parent_flags in proptest::option::of(0_u8..4),
    ) {
        let id = TraceId(id);
        prop_assume!(id.is_valid());
        let sdk = SdkSampler::TraceIdRatioBased(ratio);
        let root = RootSampler::trace_id_ratio(ratio);
        prop_assert_eq!(ours(Sampler::new(root, false), id, parent_flags), sdk_samples(&sdk, id, parent_flags));
        let sdk = SdkSampler::ParentBased(Box::new(sdk));
        prop_assert_eq!(ours(Sampler::new(root, true), id, parent_flags), sdk_samples(&sdk, id, parent_flags));
    }

    #[test]
    fn the_two_agree_on_both_sides_of_the_border(ratio in 0.0..1.0, distance in -5_i64..=5) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^64")]
        let border = (ratio * 2_f64.powi(64)) as u64;
        let id = id_with_low(border.wrapping_add_signed(distance));
        let expected = sdk_samples(&SdkSampler::TraceIdRatioBased(ratio), id, None);
        prop_assert_eq!(TraceIdRatio::new(ratio).contains(id), expected);
    }
}

#[test]
fn constant_samplers_and_their_parent_based_forms_decide_as_the_sdk() {
    for (root, sdk) in [
        (RootSampler::AlwaysOn, SdkSampler::AlwaysOn),
        (RootSampler::AlwaysOff, SdkSampler::AlwaysOff),
    ] {
        let based = SdkSampler::ParentBased(Box::new(sdk.clone()));
        for flags in [None, Some(0), Some(1), Some(2), Some(3), Some(0xff)] {
            let id = TraceId::random();
            let decided = ours(Sampler::new(root, false), id, flags);
            assert_eq!(decided, sdk_samples(&sdk, id, flags), "{root:?} {flags:?}");
            let decided = ours(Sampler::new(root, true), id, flags);
            assert_eq!(
                decided,
                sdk_samples(&based, id, flags),
                "parent based {root:?} {flags:?}"
            );
        }
    }
}

#[test]
fn a_context_that_is_only_baggage_is_no_parent() {
    let baggage_only = Context::extract(|name| (name == "baggage").then_some("a=1")).unwrap();
    let sampler = Sampler::new(RootSampler::AlwaysOn, true);
    assert!(sampler.samples(TraceId::random(), Some(&baggage_only)));
}

#[test]
fn a_tenth_of_random_ids_is_about_a_tenth() {
    let tenth = TraceIdRatio::new(0.1);
    let sampled = (0..100_000)
        .filter(|_| tenth.contains(TraceId::random()))
        .count();
    // 10,000 expected, standard deviation 95: seven of them fail once in 10^11 runs.
    assert!((9_335..10_665).contains(&sampled), "{sampled} of 100000");
}

#[test]
fn a_ratio_is_brought_into_range() {
    for (given, kept) in [
        (-1.0, 0.0),
        (f64::NAN, 0.0),
        (2.0, 1.0),
        (f64::INFINITY, 1.0),
        (0.25, 0.25),
    ] {
        assert!(
            (TraceIdRatio::new(given).ratio() - kept).abs() < f64::EPSILON,
            "{given}"
        );
    }
    assert!(TraceIdRatio::new(2.0).contains(id_with_low(u64::MAX)));
    assert!(!TraceIdRatio::new(f64::NAN).contains(id_with_low(0)));
}

#[test]
fn only_the_sampler_that_asks_nobody_is_always_on() {
    assert!(Sampler::new(RootSampler::AlwaysOn, false).is_always_on());
    assert!(!Sampler::default().is_always_on(), "a parent may say no");
    assert!(!Sampler::new(RootSampler::AlwaysOff, false).is_always_on());
}
