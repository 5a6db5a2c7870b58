//! hiq and the [OpenTelemetry Rust SDK](https://docs.rs/opentelemetry_sdk): spans of either, exporters of either.
//!
//! - [`HiqSpanExporter`] takes the SDK's spans into a hiq pipeline, with all that they carry.
//! - [`SdkExporter`] makes any of the SDK's span exporters (`opentelemetry-otlp`, `opentelemetry-zipkin`, one's own) an
//!   exporter of a hiq pipeline.
//!
//! ```
//! use hiq_core::pipeline::Pipeline;
//! use hiq_opentelemetry::HiqSpanExporter;
//! use opentelemetry::trace::{Tracer, TracerProvider};
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//!
//! let pipeline = Pipeline::builder().build(); // with exporters of hiq's
//! let provider = SdkTracerProvider::builder()
//!     .with_batch_exporter(HiqSpanExporter::new(pipeline.clone()))
//!     .build();
//! provider.tracer("checkout").in_span("order", |_| ());
//! provider.shutdown()?;
//! # Ok::<(), opentelemetry_sdk::error::OTelSdkError>(())
//! ```
//!
//! # What the SDK cannot say
//!
//! Its attributes know no bytes, maps, mixed lists or missing values. On the way out
//!
//! | hiq | SDK |
//! |---|---|
//! | bytes | their base64, as a text |
//! | a list of texts, of integers, of doubles, of truth values | the same list |
//! | any other list, a map | JSON, as a text |
//! | no value | the empty text |
//! | kind *unspecified* | internal |
//! | a time before 1970 or after 2554 | not possible in hiq either |
//! | dropped counts of resources and scopes | lost |
//! | readings of extra metrics | attributes `hiq.<metric>...`, as in OTLP |
//!
//! On the way in nothing is lost.

mod inward;
mod outward;
mod span_data;
mod value;

pub use inward::HiqSpanExporter;
pub use outward::SdkExporter;
