//! Every variable that is read, as data for documentation and `doctor`.

/// A variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What counts when it is unset; empty when that is nothing.
    pub default: &'static str,
    /// What it means, with the unit.
    pub meaning: &'static str,
    /// True when its value must not be printed.
    pub is_secret: bool,
}

impl Variable {
    /// A variable whose value may be printed. Exporters list theirs with it.
    pub const fn new(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            default,
            meaning,
            is_secret: false,
        }
    }

    /// A variable whose value must not be printed.
    pub const fn secret(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self {
            is_secret: true,
            ..Self::new(name, default, meaning)
        }
    }
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable::new(name, default, meaning)
}

const fn secret(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable::secret(name, default, meaning)
}

/// All variables that [`crate::config`] reads.
pub const VARIABLES: &[Variable] = &[
    variable(
        "OTEL_SDK_DISABLED",
        "false",
        "true: record and export nothing; headers are still propagated",
    ),
    variable(
        "OTEL_LOG_LEVEL",
        "info",
        "what is said on stderr: none, error, warn, info, debug",
    ),
    variable(
        "OTEL_CONFIG_FILE",
        "",
        "not supported: a warning, and the other variables are used",
    ),
    variable(
        "OTEL_SERVICE_NAME",
        "",
        "service.name; wins over OTEL_RESOURCE_ATTRIBUTES",
    ),
    variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "",
        "key=value,key=value, percent-encoded",
    ),
    variable(
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
        "*",
        "what is found out for the resource: process, host, os, container, * for all; otel for none of them",
    ),
    variable(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "always_on, always_off, traceidratio, or parentbased_ and one of these",
    ),
    variable(
        "OTEL_TRACES_SAMPLER_ARG",
        "1.0",
        "the share of traces for traceidratio, 0 to 1",
    ),
    variable(
        "OTEL_TRACES_EXPORTER",
        "",
        "names of exporters between commas, or none",
    ),
    variable(
        "OTEL_PROPAGATORS",
        "tracecontext,baggage",
        "headers that are read and written, or none",
    ),
    variable(
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "128",
        "attributes of a span, event or link",
    ),
    variable(
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "128",
        "attributes of a span",
    ),
    variable("OTEL_SPAN_EVENT_COUNT_LIMIT", "128", "events of a span"),
    variable("OTEL_SPAN_LINK_COUNT_LIMIT", "128", "links of a span"),
    variable(
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "128",
        "attributes of an event",
    ),
    variable(
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "128",
        "attributes of a link",
    ),
    variable(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "",
        "characters of a text value",
    ),
    variable(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "",
        "characters of a text value; wins over the general one",
    ),
    variable(
        "OTEL_METRICS_EXPORTER",
        "none",
        "names of exporters of metrics between commas, or none",
    ),
    variable(
        "OTEL_METRIC_EXPORT_INTERVAL",
        "60000",
        "ms from one snapshot of metrics that is pushed to the next",
    ),
    variable(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "30000",
        "ms that the export of one snapshot may take; 0: no limit",
    ),
    variable(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "trace_based",
        "measurements that may be shown as examples: trace_based, always_on, always_off",
    ),
    variable(
        "HIQ_EXPORTER_METRICS",
        "",
        "whether what became of spans and points is shown as metrics; unset: where they are scraped",
    ),
    variable(
        "HIQ_METRIC_MAX_SERIES",
        "10000",
        "series of one metric, beyond which they share one",
    ),
    variable(
        "HIQ_METRIC_MAX_AGE",
        "600000",
        "ms that a measurement counts for a summary's quantiles",
    ),
    variable(
        "OTEL_BSP_SCHEDULE_DELAY",
        "5000",
        "milliseconds that a batch which is not full waits",
    ),
    variable(
        "OTEL_BSP_EXPORT_TIMEOUT",
        "30000",
        "milliseconds of one series of attempts; 0: no limit",
    ),
    variable(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "65536",
        "spans that wait at most",
    ),
    variable(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "512",
        "spans that leave together; at most the queue",
    ),
    variable(
        "HIQ_QUEUE_BYTES",
        "67108864",
        "bytes that waiting spans take at most",
    ),
    variable(
        "HIQ_QUEUE_MAX_AGE",
        "300000",
        "milliseconds that spans and points wait for a backend without a spool",
    ),
    variable(
        "HIQ_SHUTDOWN_TIMEOUT",
        "5000",
        "milliseconds that flush and shutdown take together at exit",
    ),
    variable(
        "HIQ_SPOOL_DIR",
        "",
        "directory where unsent spans are kept on disk; unset: in memory only",
    ),
    variable(
        "HIQ_SPOOL_MAX_BYTES",
        "536870912",
        "bytes of the spool, for each exporter",
    ),
    variable(
        "HIQ_SPOOL_MAX_AGE",
        "604800000",
        "milliseconds that a record stays in the spool",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://localhost:4318",
        "base address (gRPC: http://localhost:4317); v1/traces is added",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "",
        "address for traces, used as it is",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "",
        "address for metrics, used as it is",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "grpc, http/protobuf or http/json",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "",
        "the same for metrics",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_INSECURE",
        "false",
        "true: no TLS for a gRPC address without a scheme",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
        "",
        "the same for metrics",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
        "",
        "obsolete name of OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
        "",
        "obsolete name of OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "cumulative",
        "metrics are sent cumulative only: delta and lowmemory are warned of",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "",
        "key=value,key=value; values percent-encoded",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "",
        "the same for traces, instead of the general ones",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "",
        "the same for metrics, instead of the general ones",
    ),
    variable("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "gzip or none"),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        "",
        "the same for metrics",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "10000",
        "milliseconds of an export with all its attempts; 0: no limit",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "",
        "the same for metrics",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "",
        "PEM file of the authorities to trust",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "",
        "the same for metrics",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "",
        "PEM file of the client's key",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
        "",
        "the same for metrics",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "",
        "PEM file of the client's certificate",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "",
        "the same for traces",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "",
        "the same for metrics",
    ),
    secret(
        "HTTPS_PROXY",
        "",
        "proxy for https targets; https_proxy is stronger",
    ),
    secret("https_proxy", "", "proxy for https targets"),
    secret(
        "HTTP_PROXY",
        "",
        "proxy for http targets; ignored in CGI programs; http_proxy is stronger",
    ),
    secret("http_proxy", "", "proxy for http targets"),
    secret(
        "ALL_PROXY",
        "",
        "proxy for targets that have none of their own; all_proxy is stronger",
    ),
    secret(
        "all_proxy",
        "",
        "proxy for targets that have none of their own",
    ),
    variable(
        "NO_PROXY",
        "",
        "hosts, addresses and networks that are reached directly, or *",
    ),
    variable("no_proxy", "", "the same, stronger"),
    variable(
        "REQUEST_METHOD",
        "",
        "set in CGI programs, where HTTP_PROXY comes from the client and is ignored",
    ),
    variable(
        "TRACEPARENT",
        "",
        "the span that started this process (W3C)",
    ),
    variable("TRACESTATE", "", "its trace state (W3C)"),
    variable("BAGGAGE", "", "baggage of that request (W3C)"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{
        Env, MetricSettings, OtlpOptions, OtlpSettings, Protocol, ProxySettings, Settings,
    };

    /// All names that the parsers ask for, over the branches that ask for different ones.
    fn asked() -> BTreeSet<String> {
        let env = Env::from_pairs([
            ("HIQ_SPOOL_DIR", "d"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ]);
        let mut warnings = Vec::new();
        Settings::from_env(&env);
        ProxySettings::from_env(&env, &mut warnings);
        MetricSettings::from_env(&env);
        for protocol in [None, Some(Protocol::Grpc)] {
            let options = OtlpOptions {
                protocol,
                ..OtlpOptions::default()
            };
            OtlpSettings::for_traces(&options, &env, &mut warnings).unwrap();
            OtlpSettings::for_metrics(&options, &env, &mut warnings).unwrap();
        }
        let asked = env.asked.lock().unwrap();
        asked.clone()
    }

    #[test]
    fn the_table_has_each_variable_that_is_read_once_and_no_other() {
        let listed: BTreeSet<String> = VARIABLES.iter().map(|v| v.name.to_owned()).collect();
        assert_eq!(listed.len(), VARIABLES.len(), "a name is listed twice");
        assert_eq!(asked(), listed);
    }

    #[test]
    fn the_defaults_in_the_table_are_those_in_force() {
        let numbers_and_words = VARIABLES.iter().filter(|v| !v.default.is_empty());
        let env = Env::from_pairs(numbers_and_words.map(|v| (v.name, v.default)));
        let mut warnings = Vec::new();
        let metrics = |env: &Env| MetricSettings::from_env(env);
        assert_eq!(metrics(&env), metrics(&Env::default()));
        let (unset, set) = (
            Settings::from_env(&Env::default()),
            Settings::from_env(&env),
        );
        assert!(set.warnings.is_empty(), "{:?}", set.warnings);
        assert_eq!(set.pipeline, unset.pipeline);
        assert_eq!(set.limits, unset.limits);
        assert_eq!(set.sampler, unset.sampler);
        assert_eq!(
            (set.log_level, set.disabled),
            (unset.log_level, unset.disabled)
        );
        assert_eq!(set.propagators, unset.propagators);
        let mut otlp = |env| OtlpSettings::for_traces(&OtlpOptions::default(), env, &mut warnings);
        assert_eq!(otlp(&env), otlp(&Env::default()));
        let spool = |dir: &'static str| [("HIQ_SPOOL_DIR", dir)].into_iter();
        let listed = VARIABLES
            .iter()
            .filter(|v| v.name.starts_with("HIQ_SPOOL_MAX"));
        let with_limits = Env::from_pairs(spool("d").chain(listed.map(|v| (v.name, v.default))));
        let without = Settings::from_env(&Env::from_pairs(spool("d")));
        assert_eq!(Settings::from_env(&with_limits).pipeline, without.pipeline);
    }
}
