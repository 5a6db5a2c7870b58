//! What OTLP calls its signals.

/// Where a signal goes, and how messages name it.
#[derive(Debug)]
pub(crate) struct Signal {
    /// Its items in messages: `spans`.
    pub(crate) items: &'static str,
    /// Where servers usually take it over HTTP: `/v1/traces`.
    pub(crate) path: &'static str,
    /// The variable with its whole address.
    pub(crate) endpoint_variable: &'static str,
    /// The one method of its gRPC service.
    #[cfg(feature = "grpc")]
    pub(crate) method: &'static str,
}

/// Spans.
pub(crate) const TRACES: Signal = Signal {
    items: "spans",
    path: "/v1/traces",
    endpoint_variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    #[cfg(feature = "grpc")]
    method: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
};

/// Metrics.
pub(crate) const METRICS: Signal = Signal {
    items: "points",
    path: "/v1/metrics",
    endpoint_variable: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    #[cfg(feature = "grpc")]
    method: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
};
