//! Against a service of our own that looks at what Oracle's would: signature, digest, date, base64, limits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod apm;
mod example;
mod monitoring;
mod principals;
mod server;
mod signing;
mod streaming;
mod who;
