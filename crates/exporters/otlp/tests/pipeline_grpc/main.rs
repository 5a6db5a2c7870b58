//! A whole pipeline, from offered trees over a real socket to tonic's own server with the services that OpenTelemetry
//! generates: what arrives, what is said, and what the ledger names.
#![cfg(feature = "grpc")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
#[path = "../../../http/tests/wire/authority.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod authority;
mod collector;
mod delivery;
#[path = "../../../../../examples/otlp_grpc.rs"]
#[allow(dead_code, reason = "a program's main")]
mod example;
mod faults;
#[path = "../pipeline_http/run.rs"]
#[allow(dead_code, reason = "HTTP's tests use the rest")]
mod run;
#[path = "../../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod server;
