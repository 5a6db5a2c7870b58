//! The transport against scripted servers on this machine: what is sent, what comes back, and what goes wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod authority;
mod client;
mod deadlines;
mod faults;
mod options;
mod proxies;
mod requests;
mod secrets;
mod server;
mod tls;
