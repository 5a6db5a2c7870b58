//! One HTTP request per payload: proxies, TLS, deadline. Hands back the raw reply and never tries again.
//!
//! ```
//! use hiq_core::config::Endpoint;
//! use hiq_http::HttpOptions;
//!
//! let mut options = HttpOptions::new(Endpoint::parse("endpoint", "http://localhost:4318/v1/traces")?);
//! options.user_agent = "shop/1.0".to_owned();
//! let transport = options.build()?; // opens nothing, starts nothing
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! submit ─► request + authorizer's headers ─► wire (private runtime, one kept-alive connection) ─► Reply::Http
//!                                              └─ deadline over, or pulled forward: the connection is closed at once
//! ```
//!
//! | far side | outcome |
//! |---|---|
//! | any status, redirects too | [`HttpReply`](hiq_core::transport::HttpReply), not interpreted |
//! | gzipped body | decompressed; more than 4 MiB: `ReplyTooLarge` |
//! | name unknown, nobody listens, proxy refuses | `Dns`, `Connect` |
//! | certificate, version, plain text on a TLS port | `Tls` |
//! | no whole answer by the deadline | `Timeout`; `Connect` while no request was sent; `Cancelled` at exit |
//! | connection broke, answer cut short | `Reset` |
//! | no HTTP | `Protocol` |
//!
//! An attempt that failed closes its connection, so that the next one starts from nothing: names are looked up anew, and after
//! a TLS error the certificate files are read again. Nothing is shared between transports or processes; in a forked child a
//! transport starts over.
//!
//! **Beside a `reqwest` 0.13 of your own:** features of one program are added up, so the feature `rustls-no-provider` that this
//! crate asks for holds for your clients too, and one that is built without a TLS set-up of its own panics. Install a
//! provider first: `rustls::crypto::ring::default_provider().install_default()`.

mod authorize;
mod config;
mod error;
mod headers;
mod proxy;
mod reply;
mod resolve;
mod transport;
mod wire;

pub use authorize::{Authorizer, Draft};
pub use config::{HttpOptions, Method};
pub use reply::MAX_REPLY_BYTES;
pub use transport::HttpTransport;
