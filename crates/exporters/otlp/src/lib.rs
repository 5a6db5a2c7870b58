//! OTLP encoders, decoder and exporters.
