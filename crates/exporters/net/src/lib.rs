//! What hiq's transports share, each with a protocol of its own on top: TLS from PEM files, a deadline as a future, names
//! and their addresses, headers that hide what they hold, and sentences about what went wrong.
//!
//! For `hiq-http` and `hiq-grpc` only: its signatures hold types of rustls and http, and may change with any version.

pub mod attempt;
pub mod end;
pub mod explain;
pub mod headers;
pub mod line;
pub mod outgoing;
pub mod peer;
pub mod progress;
pub mod resolve;
pub mod secrets;
pub mod tls;
