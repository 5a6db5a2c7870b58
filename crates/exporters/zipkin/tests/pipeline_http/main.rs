//! A whole pipeline, from offered trees over a real socket to a scripted server: what arrives, what is said, and what the
//! ledger names. The server is the one that the transport itself is tested with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod delivery;
mod run;
#[path = "../../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod server;
#[path = "../support/mod.rs"]
mod support;
