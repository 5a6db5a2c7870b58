//! One span tree in, every tracing backend out: the model, the contracts and the delivery pipeline.
//!
//! ```text
//! record::span ─► SpanTree ─► TreeBatch ─► Encoder ─► Transport
//!                    │            │           └ judge ◄─ reply
//!                 sample        queue ─────── deliver ─► ledger
//! ```
//!
//! Nothing here opens a socket, starts an async runtime or knows Python.

pub mod batch;
pub mod conf;
pub mod config;
pub mod context;
pub mod decode;
pub mod deliver;
pub mod detect;
pub mod encode;
pub mod export;
pub mod fork;
pub mod id;
pub mod intern;
pub mod judge;
pub mod ledger;
pub mod metric;
mod os;
pub mod pipeline;
pub mod pool;
pub mod queue;
pub mod record;
pub mod render;
pub mod resource;
pub mod sample;
pub mod span;
pub mod spool;
pub mod status;
pub mod thread;
pub mod time;
pub mod transport;
pub mod tree;
pub mod value;
pub mod wire;
