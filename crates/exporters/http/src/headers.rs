//! Checked headers.

use hiq_core::config::{ConfigError, Endpoint, Secret};
use hiq_net::headers::{basic, parse};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderValue};

/// They say how the body is framed and encoded: another value would change where the request ends, or what it means.
const OURS: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that are the same for all requests.
pub(crate) fn constant(
    given: &[(String, Secret)],
    credentials: Option<HeaderValue>,
) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::with_capacity(given.len() + 4);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    if let Some(credentials) = credentials {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    for (name, value) in given {
        let (name, value) = parse(name, value)?;
        if OURS.contains(&name.as_str()) {
            let problem = format!("header `{name}` is set by the transport itself");
            return Err(ConfigError::new("headers", problem, "leave it out"));
        }
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The address without user and password, and these as a header.
pub(crate) fn split_credentials(
    endpoint: &Endpoint,
) -> Result<(Url, Option<HeaderValue>), ConfigError> {
    let wrong = || {
        let problem = format!("`{endpoint}` is no address that requests can be made of");
        ConfigError::new("endpoint", problem, "write it as http://host:port/path")
    };
    let mut url = Url::parse(endpoint.expose()).map_err(|_| wrong())?;
    if !endpoint.has_credentials() {
        return Ok((url, None));
    }
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    let password: Vec<u8> = percent_decode_str(url.password().unwrap_or_default()).collect();
    let value = basic(&user, &password).ok_or_else(wrong)?;
    let stripped = url.set_username("").is_ok() && url.set_password(None).is_ok();
    stripped.then_some((url, Some(value))).ok_or_else(wrong)
}
