//! A whole pipeline, from offered trees over a real socket: what arrives, what is said, and what the ledger names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod grpc;
#[path = "../../../grpc/tests/wire/grpc_server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod grpc_server;
mod http;
mod run;
#[path = "../../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod udp;
