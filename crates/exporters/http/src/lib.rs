//! One HTTP request per payload: proxies, TLS, deadline. Hands back the raw reply and never tries again.
//!
//! Work in progress; the public face will be:
//!
//! ```text
//! HttpOptions::new(endpoint: Endpoint)         plain data: method, headers, certificate, client_identity, proxies,
//!                                              user_agent, connect_timeout, max_payload_bytes
//!     .build() -> Result<HttpTransport, ConfigError>     checks; opens nothing, starts nothing
//! HttpOptions::for_otlp(&OtlpSettings, &ProxySettings)
//! HttpTransport: hiq_core::transport::Transport
//! trait Authorizer { headers(method, url, body) per attempt; renew() after a 401 }
//! ```
