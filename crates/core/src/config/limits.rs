//! Span limits and the sampler.

use super::reader::Reader;
use crate::sample::{RootSampler, Sampler};
use crate::tree::SpanLimits;

const COUNT: &str = "OTEL_ATTRIBUTE_COUNT_LIMIT";

pub(super) fn span_limits(reader: &mut Reader<'_>) -> SpanLimits {
    let mut limits = SpanLimits::default();
    let mut set = |field: &mut u32, names: &[&str]| {
        *field = reader.number(names, 0).unwrap_or(*field);
    };
    set(
        &mut limits.attributes,
        &["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", COUNT],
    );
    set(&mut limits.events, &["OTEL_SPAN_EVENT_COUNT_LIMIT"]);
    set(&mut limits.links, &["OTEL_SPAN_LINK_COUNT_LIMIT"]);
    set(
        &mut limits.attributes_per_event,
        &["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", COUNT],
    );
    set(
        &mut limits.attributes_per_link,
        &["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", COUNT],
    );
    limits.value_chars = reader.number(
        &[
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        ],
        0,
    );
    limits
}

#[derive(Clone, Copy)]
enum Named {
    On,
    Off,
    Ratio,
    Elsewhere,
}

pub(super) fn sampler(reader: &mut Reader<'_>) -> Sampler {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let names = [
        ("always_on", (Named::On, false)),
        ("always_off", (Named::Off, false)),
        ("traceidratio", (Named::Ratio, false)),
        ("parentbased_always_on", (Named::On, true)),
        ("parentbased_always_off", (Named::Off, true)),
        ("parentbased_traceidratio", (Named::Ratio, true)),
        ("jaeger_remote", (Named::Elsewhere, false)),
        ("parentbased_jaeger_remote", (Named::Elsewhere, true)),
        ("xray", (Named::Elsewhere, false)),
    ];
    let Some((named, follows_parent)) = reader.choice(&[NAME], &names) else {
        return Sampler::default();
    };
    let root = match named {
        Named::On => RootSampler::AlwaysOn,
        Named::Off => RootSampler::AlwaysOff,
        Named::Ratio => {
            let ratio = reader.decimal(&["OTEL_TRACES_SAMPLER_ARG"], 0.0, 1.0);
            RootSampler::trace_id_ratio(ratio.unwrap_or(1.0))
        }
        Named::Elsewhere => {
            let message =
                "this sampler asks a server and is not supported; parentbased_always_on is used";
            reader.warn(NAME, message);
            return Sampler::default();
        }
    };
    Sampler::new(root, follows_parent)
}
