//! What the general variables of OpenTelemetry's specification do, and what is said of those that are wrong.

use std::time::Duration;

use hiq_core::config::{Env, LogLevel, PipelineSettings, Settings, Warning};
use hiq_core::context::Propagator;
use hiq_core::detect::{Detector, Detectors};
use hiq_core::sample::{RootSampler, Sampler};
use hiq_core::tree::SpanLimits;

fn read(pairs: &[(&str, &str)]) -> Settings {
    Settings::from_env(&Env::from_pairs(pairs.iter().copied()))
}

fn warned_places(settings: &Settings) -> Vec<&str> {
    settings
        .warnings
        .iter()
        .map(|warning| warning.place.as_str())
        .collect()
}

#[test]
fn an_empty_environment_means_the_documented_defaults() {
    let settings = read(&[]);
    let pipeline = &settings.pipeline;
    assert_eq!(pipeline.schedule_delay, Duration::from_secs(5));
    assert_eq!(pipeline.export_timeout, Some(Duration::from_secs(30)));
    assert_eq!(pipeline.max_queue_spans, 65_536);
    assert_eq!(pipeline.max_queue_bytes, 67_108_864);
    assert_eq!(pipeline.max_batch_spans, 512);
    assert_eq!(pipeline.max_age, Duration::from_secs(300));
    assert_eq!(pipeline.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(pipeline.spool, None);
    assert_eq!(settings.sampler, Sampler::new(RootSampler::AlwaysOn, true));
    assert_eq!(settings.limits, SpanLimits::default());
    assert_eq!(
        settings.propagators,
        [Propagator::TraceContext, Propagator::Baggage]
    );
    assert_eq!(settings.exporters, None);
    assert_eq!(settings.parent, None);
    assert_eq!(settings.log_level, LogLevel::Info);
    assert!(!settings.disabled && settings.resource.service_name.is_none());
    assert!(settings.warnings.is_empty());
}

#[test]
fn empty_and_blank_values_count_as_unset() {
    let names: Vec<_> = hiq_core::config::VARIABLES
        .iter()
        .map(|variable| variable.name)
        .collect();
    for blank in ["", "  \t"] {
        let settings =
            Settings::from_env(&Env::from_pairs(names.iter().map(|name| (*name, blank))));
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        assert_eq!(settings.pipeline, PipelineSettings::default());
        assert_eq!(settings.exporters, None);
    }
}

#[test]
fn the_pipeline_is_set_by_its_variables() {
    let settings = read(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "250"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100"),
        ("HIQ_QUEUE_BYTES", "1000000"),
        ("HIQ_QUEUE_MAX_AGE", "60000"),
        ("HIQ_SHUTDOWN_TIMEOUT", "1500"),
        ("HIQ_SPOOL_DIR", "/var/spool/hiq"),
        ("HIQ_SPOOL_MAX_BYTES", "4096"),
        ("HIQ_SPOOL_MAX_AGE", "3600000"),
    ]);
    let pipeline = settings.pipeline;
    assert_eq!(pipeline.schedule_delay, Duration::from_millis(250));
    assert_eq!(pipeline.export_timeout, None, "0 means no limit");
    assert_eq!(pipeline.max_queue_spans, 2_048);
    assert_eq!(pipeline.max_batch_spans, 100);
    assert_eq!(pipeline.max_queue_bytes, 1_000_000);
    assert_eq!(pipeline.max_age, Duration::from_secs(60));
    assert_eq!(pipeline.shutdown_timeout, Duration::from_millis(1_500));
    let spool = pipeline.spool.unwrap();
    assert_eq!(spool.dir, std::path::Path::new("/var/spool/hiq"));
    assert_eq!(spool.max_bytes, 4_096);
    assert_eq!(spool.max_age, Duration::from_secs(3_600));
    assert!(settings.warnings.is_empty());
}

#[test]
fn a_number_that_is_none_warns_with_its_text_and_the_default_is_used() {
    for bad in ["soon", "-1", "5s", "1.5", "99999999999999999999999"] {
        let settings = read(&[("OTEL_BSP_SCHEDULE_DELAY", bad)]);
        assert_eq!(settings.pipeline.schedule_delay, Duration::from_secs(5));
        let warning = settings.warnings[0].to_string();
        assert!(
            warning.starts_with("OTEL_BSP_SCHEDULE_DELAY: ") && warning.contains(bad),
            "{warning}"
        );
    }
    let settings = read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "0")]);
    assert_eq!(settings.pipeline.max_queue_spans, 65_536);
    assert!(settings.warnings[0].message.contains("at least 1"));
}

#[test]
fn a_batch_is_never_larger_than_the_queue() {
    let settings = read(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200"),
    ]);
    assert_eq!(settings.pipeline.max_batch_spans, 100);
    assert_eq!(warned_places(&settings), ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]);

    let silent = read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]);
    assert_eq!(silent.pipeline.max_batch_spans, 100);
    assert!(
        silent.warnings.is_empty(),
        "nobody wrote the default of 512"
    );

    let mut by_code = PipelineSettings::default();
    by_code.max_batch_spans = 70_000;
    let error = by_code.validate().unwrap_err().to_string();
    assert!(
        error.contains("70000") && error.contains("65536"),
        "{error}"
    );
    by_code.max_batch_spans = 0;
    assert_eq!(by_code.validate().unwrap_err().place, "max_batch_spans");
    assert!(PipelineSettings::default().validate().is_ok());
}

#[test]
fn only_true_is_true_in_any_case() {
    for (text, expected, warned) in [
        ("true", true, false),
        ("TRUE", true, false),
        (" True ", true, false),
        ("false", false, false),
        ("FALSE", false, false),
        ("1", false, true),
        ("yes", false, true),
        ("on", false, true),
    ] {
        let settings = read(&[("OTEL_SDK_DISABLED", text)]);
        assert_eq!(settings.disabled, expected, "{text}");
        assert_eq!(!settings.warnings.is_empty(), warned, "{text}");
    }
}

#[test]
fn limits_of_spans_are_stronger_than_general_ones() {
    let settings = read(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "20"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "40"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "60"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "70"),
    ]);
    let limits = settings.limits;
    assert_eq!(limits.attributes, 20);
    assert_eq!(limits.events, 0);
    assert_eq!(limits.links, 40);
    assert_eq!(limits.attributes_per_event, 10, "the general limit");
    assert_eq!(limits.attributes_per_link, 60);
    assert_eq!(limits.value_chars, Some(70));

    let settings = read(&[
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "70"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "80"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "11"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "50"),
    ]);
    assert_eq!(settings.limits.value_chars, Some(80));
    assert_eq!(
        settings.limits.attributes, 11,
        "what is wrong counts as unset"
    );
    assert_eq!(settings.limits.attributes_per_event, 50);
    assert_eq!(
        warned_places(&settings),
        ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"]
    );
}

#[test]
fn every_sampler_of_the_specification_is_understood_or_named() {
    let ratio = RootSampler::trace_id_ratio(0.25);
    for (name, root, follows_parent) in [
        ("always_on", RootSampler::AlwaysOn, false),
        ("always_off", RootSampler::AlwaysOff, false),
        ("traceidratio", ratio, false),
        ("parentbased_always_on", RootSampler::AlwaysOn, true),
        ("parentbased_always_off", RootSampler::AlwaysOff, true),
        ("ParentBased_TraceIdRatio", ratio, true),
    ] {
        let settings = read(&[
            ("OTEL_TRACES_SAMPLER", name),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert_eq!(
            settings.sampler,
            Sampler::new(root, follows_parent),
            "{name}"
        );
        assert!(settings.warnings.is_empty(), "{name}");
    }
    for name in [
        "jaeger_remote",
        "parentbased_jaeger_remote",
        "xray",
        "sometimes",
    ] {
        let settings = read(&[("OTEL_TRACES_SAMPLER", name)]);
        assert_eq!(
            settings.sampler,
            Sampler::new(RootSampler::AlwaysOn, true),
            "{name}"
        );
        assert_eq!(warned_places(&settings), ["OTEL_TRACES_SAMPLER"], "{name}");
    }
}

#[test]
fn a_ratio_outside_0_to_1_is_warned_of_and_counts_as_unset() {
    for bad in ["1.5", "-0.1", "half", "NaN", "inf"] {
        let settings = read(&[
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", bad),
        ]);
        assert_eq!(
            settings.sampler.root(),
            RootSampler::trace_id_ratio(1.0),
            "{bad}"
        );
        assert_eq!(
            warned_places(&settings),
            ["OTEL_TRACES_SAMPLER_ARG"],
            "{bad}"
        );
    }
}

#[test]
fn exporters_are_a_list_and_none_is_empty() {
    assert_eq!(
        read(&[("OTEL_TRACES_EXPORTER", "none")]).exporters,
        Some(vec![])
    );
    let mut settings = read(&[("OTEL_TRACES_EXPORTER", "OTLP, console,otlp,,kafka")]);
    assert_eq!(
        settings.exporters.as_deref().unwrap(),
        ["otlp", "console", "kafka"]
    );
    assert_eq!(
        settings.choose_exporters(&["otlp", "console"]).unwrap(),
        ["otlp", "console"]
    );
    assert!(settings.warnings[0].to_string().contains("`kafka`"));

    let mut unknown = read(&[("OTEL_TRACES_EXPORTER", "kafka")]);
    assert_eq!(
        unknown.choose_exporters(&["otlp"]),
        None,
        "then the default applies"
    );
    assert_eq!(unknown.warnings.len(), 1);
    let mut none = read(&[("OTEL_TRACES_EXPORTER", "none")]);
    assert_eq!(none.choose_exporters(&["otlp"]), Some(vec![]));
    assert!(none.warnings.is_empty());
}

#[test]
fn propagators_are_those_named_and_known() {
    use Propagator::{B3, B3Multi, Baggage, Jaeger, TraceContext};
    for (text, expected, warnings) in [
        ("tracecontext", vec![TraceContext], 0),
        ("baggage,tracecontext", vec![Baggage, TraceContext], 0),
        ("none", vec![], 0),
        ("b3, B3multi,jaeger,b3", vec![B3, B3Multi, Jaeger], 0),
        ("tracecontext,ottrace,b3,xray", vec![TraceContext, B3], 1),
        ("xray", vec![TraceContext, Baggage], 1),
    ] {
        let settings = read(&[("OTEL_PROPAGATORS", text)]);
        assert_eq!(settings.propagators, expected, "{text}");
        assert_eq!(settings.warnings.len(), warnings, "{text}");
    }
}

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn the_parent_of_the_process_is_read() {
    let pairs = [
        ("TRACEPARENT", TRACEPARENT),
        ("TRACESTATE", "a=1"),
        ("BAGGAGE", "user=Am%C3%A9lie"),
    ];
    let parent = read(&pairs).parent.unwrap();
    assert_eq!(
        parent.trace_id.to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(parent.span_id.to_string(), "b7ad6b7169203331");
    assert!(parent.is_sampled() && parent.is_remote);
    assert_eq!(parent.trace_state, "a=1");
    assert_eq!(parent.baggage, [("user".to_owned(), "Amélie".to_owned())]);

    let with = |propagators| {
        let mut pairs = pairs.to_vec();
        pairs.push(("OTEL_PROPAGATORS", propagators));
        read(&pairs)
    };
    assert_eq!(with("none").parent, None);
    assert!(with("tracecontext").parent.unwrap().baggage.is_empty());
    assert!(!with("baggage").parent.unwrap().is_valid());
    assert!(
        with("baggage").warnings.is_empty(),
        "nobody asked for trace context"
    );
}

#[test]
fn a_broken_parent_is_named() {
    let settings = read(&[("TRACEPARENT", "00-abc-def-01")]);
    assert_eq!(settings.parent, None);
    assert!(settings.warnings[0].to_string().contains("`00-abc-def-01`"));
}

#[test]
fn resource_attributes_are_decoded() {
    let settings = read(&[
        ("OTEL_SERVICE_NAME", "shop"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            " deployment.environment = prod%20eu , a%2Cb=c%3Dd,empty=,x=1=2, ",
        ),
    ]);
    assert_eq!(settings.resource.service_name.as_deref(), Some("shop"));
    let expected = [
        ("deployment.environment", "prod eu"),
        ("a,b", "c=d"),
        ("empty", ""),
        ("x", "1=2"),
    ];
    assert_eq!(
        settings.resource.attributes,
        expected.map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
    assert!(settings.warnings.is_empty());
}

#[test]
fn one_broken_resource_attribute_voids_all() {
    for bad in ["a=1,b", "a=1,=x", "a=1,b=%zz", "a=1,b=%e9", "a=1,b=%4"] {
        let settings = read(&[("OTEL_RESOURCE_ATTRIBUTES", bad)]);
        assert!(settings.resource.attributes.is_empty(), "{bad}");
        assert_eq!(
            warned_places(&settings),
            ["OTEL_RESOURCE_ATTRIBUTES"],
            "{bad}"
        );
    }
}

#[test]
fn detectors_that_nobody_here_has_are_named_and_the_others_count() {
    let settings = read(&[("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "gcp, os,azure_vm")]);
    let detectors = settings.resource.detectors;
    let included = Detector::ALL.map(|detector| detectors.include(detector));
    assert_eq!(
        included,
        Detector::ALL.map(|detector| detector == Detector::Os)
    );
    let warnings: Vec<String> = settings.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(warnings.len(), 1, "one line: {warnings:?}");
    for word in [
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
        "`gcp`, `azure_vm`",
        "process, host, os, container",
    ] {
        assert!(warnings[0].contains(word), "{word} in {}", warnings[0]);
    }
    let all = read(&[("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "")]).resource;
    assert_eq!(all.detectors, Detectors::default());
    let none = read(&[("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "otel")]);
    assert_eq!(none.resource.detectors, Detectors::NONE);
    assert!(none.warnings.is_empty());
}

#[test]
fn log_levels_are_words() {
    for (text, level) in [
        ("none", LogLevel::None),
        ("ERROR", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ] {
        assert_eq!(read(&[("OTEL_LOG_LEVEL", text)]).log_level, level);
    }
    let odd = read(&[("OTEL_LOG_LEVEL", "loud")]);
    assert_eq!((odd.log_level, odd.warnings.len()), (LogLevel::Info, 1));
}

#[test]
fn a_configuration_file_is_said_to_be_unsupported_and_the_rest_counts() {
    let settings = read(&[
        ("OTEL_CONFIG_FILE", "/etc/otel.yaml"),
        ("OTEL_SERVICE_NAME", "shop"),
    ]);
    assert_eq!(settings.resource.service_name.as_deref(), Some("shop"));
    assert_eq!(warned_places(&settings), ["OTEL_CONFIG_FILE"]);
    assert!(settings.warnings[0].message.contains("not supported"));
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf8_is_named_and_ignored() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let env = Env::from_pairs([("OTEL_SERVICE_NAME", OsString::from_vec(vec![b'a', 0xff]))]);
    let settings = Settings::from_env(&env);
    assert_eq!(settings.resource.service_name, None);
    assert_eq!(warned_places(&settings), ["OTEL_SERVICE_NAME"]);
}

#[test]
fn the_environment_of_the_process_is_read_and_its_values_are_not_shown() {
    let env = Env::process();
    let path = env.text("PATH").expect("cargo sets PATH for tests");
    assert!(path.contains('/'));
    assert!(format!("{env:?}").contains("PATH") && !format!("{env:?}").contains(path));
}
