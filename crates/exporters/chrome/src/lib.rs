//! Trace files for viewers: Chrome's Trace Event JSON and Perfetto's protobuf; and both, `VizTracer`'s reports first of all, read back.
//!
//! ```
//! use hiq_chrome::{ChromeExporter, ChromeSettings};
//! use hiq_core::config::Env;
//! use hiq_core::pipeline::Pipeline;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("shop.pftrace.gz");
//! let env = Env::from_pairs([("HIQ_CHROME_FILE", &file)]);
//! let chrome = ChromeExporter::with_settings(ChromeSettings::new(None, None, &env)?)?;
//! let pipeline = Pipeline::builder().exporter("chrome", move || chrome.build()).build();
//! # drop(pipeline);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! TreeBatch ─► ChromeEncoder | PerfettoEncoder ─► TraceFile
//! bytes ─► ChromeDecoder | PerfettoDecoder ─► SpanTree
//! ```
//!
//! | ours | Chrome JSON | Perfetto | rule |
//! |---|---|---|---|
//! | resource | `M` `process_name`, and all attributes in `M` `hiq.resource` | process track, labels | pid is `process.pid` unless another process has it |
//! | thread | `M` `thread_name` | thread track | trees of one thread that overlap (tasks) get further tracks |
//! | task with a name | `M` `thread_name`, with `hiq.is_task` | a track of the process | of the first 256 names |
//! | span | `X`, kind in `cat` | slice begin and end, kind in the category | a child stands on its parent's track where it fits into the parent |
//! | start, duration | `ts`, `dur`: microseconds, three decimals | nanoseconds of the wall clock | JSON counts from `baseTimeNanoseconds`, 45 days before |
//! | attributes, of the site and the span | `args` | debug annotations | texts, numbers, lists, objects; bytes in base64; `NaN` and infinities as texts in JSON |
//! | ids, links, trace state, flags | `hiq.*` in `args` | annotations | trace id and scope only where no parent around the span says them |
//! | status, scope, dropped counts | `otel.*` in `args` | annotations | the names of OpenTelemetry for formats that lack the field |
//! | parent and child apart | flow `s` to `f` of the category `hiq.child` | `flow_ids` of both | both in this process, and the parent written after the child or with it |
//! | event | `i` with the span's id | instant | outside its span it is drawn at the nearer end, `hiq.time_unix_nanos` says when it was |
//! | event that was a counter's sample (`hiq.counter`) | `C`, a series for each number | counter tracks, and the instant | |
//! | extra metrics | `C` at start and end; `hiq.<name>` in `args` | counter track; annotation | |
//!
//! Lost: the sources in a report of `VizTracer` (`file_info`; where a function stands its name says too), the order of events of one moment, schema URLs, and the dropped counts of resources and scopes. An attribute with one of the names above is left out.
//!
//! The formats' own words: *Trace Event Format* (Google, 2016), and Perfetto's `trace_packet.proto` and `track_event.proto`.

mod arrows;
mod config;
mod counter;
mod decode;
mod encode_json;
mod encode_proto;
mod exporter;
mod file;
mod frame;
mod gzip;
mod json;
mod judge;
mod keys;
mod layout;
mod row;
mod stage;

pub use config::{ChromeSettings, TraceFormat};
pub use decode::{ChromeDecoder, PerfettoDecoder};
pub use encode_json::ChromeEncoder;
pub use encode_proto::PerfettoEncoder;
pub use exporter::ChromeExporter;
pub use file::TraceFile;
