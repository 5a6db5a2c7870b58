//! Checked headers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::config::{ConfigError, Endpoint, Secret};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

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

/// Both halves as the wire wants them. Messages never hold the value, nor a name that cannot be one: it may be a secret.
pub(crate) fn parse(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let problem = "a header's name holds a character that names cannot have";
        ConfigError::new("headers", problem, "use letters, digits and hyphens")
    })?;
    let mut value = HeaderValue::from_bytes(value.expose().as_bytes()).map_err(|_| {
        let problem =
            format!("the value of header `{name}` holds a character that headers cannot have");
        let fix = "remove line breaks, NUL and other control characters";
        ConfigError::new("headers", problem, fix)
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

pub(crate) fn user_agent(text: &str) -> Result<HeaderValue, ConfigError> {
    HeaderValue::from_str(text).map_err(|_| {
        let problem = format!(
            "`{}` holds a character that headers cannot have",
            text.escape_debug()
        );
        ConfigError::new("user_agent", problem, "use ASCII without line breaks")
    })
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
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(text).map_err(|_| wrong())?;
    value.set_sensitive(true);
    let stripped = url.set_username("").is_ok() && url.set_password(None).is_ok();
    stripped.then_some((url, Some(value))).ok_or_else(wrong)
}
