//! The transport against servers that follow a script: HTTP/2 by the h2 crate, everything else over plain sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
#[path = "../../../http/tests/wire/authority.rs"]
#[allow(dead_code, reason = "HTTP's tests use the rest")]
mod authority;
mod calls;
mod client;
mod deadlines;
mod grpc_server;
mod life;
mod options;
mod proxies;
mod secrets;
#[path = "../../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "HTTP's tests use the rest")]
mod server;
mod strangers;
mod tls;
