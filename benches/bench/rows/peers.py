"""Names of peers that several rows have."""

OTEL = "OpenTelemetry"
HIQ = "HiQ 1.1.14"
