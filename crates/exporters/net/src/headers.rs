//! Checked headers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::config::{ConfigError, Secret};
use http::header::{HeaderName, HeaderValue};

/// Both halves as the wire wants them. Messages never hold the value, nor a name that cannot be one: it may be a secret.
pub fn parse(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), ConfigError> {
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

/// The value of `User-Agent`.
pub fn user_agent(text: &str) -> Result<HeaderValue, ConfigError> {
    HeaderValue::from_str(text).map_err(|_| {
        let problem = format!(
            "`{}` holds a character that headers cannot have",
            text.escape_debug()
        );
        ConfigError::new("user_agent", problem, "use ASCII without line breaks")
    })
}

/// Basic authorization; `None` when the two cannot be sent. Both are decoded already.
pub fn basic(user: &[u8], password: &[u8]) -> Option<HeaderValue> {
    let pair = [user, b":", password].concat();
    let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
