//! Addresses of servers and proxies.

use std::fmt;

use url::Url;

use super::ConfigError;

/// A valid `http` or `https` address. Its texts hide credentials and the query.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Parses `text`, which was found at `place`.
    pub fn parse(place: &str, text: &str) -> Result<Self, ConfigError> {
        let wrong = |problem: &str| {
            let fix = "write it as http://host:port or https://host:port";
            ConfigError::new(place, format!("`{}` {problem}", masked(text)), fix)
        };
        if text.chars().any(char::is_control) {
            return Err(wrong("holds a control character"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong("has no scheme"));
        };
        if !["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Err(wrong("has a scheme other than http and https"));
        }
        // The parser takes `http:///path` for the host `path`, as browsers do.
        if rest.is_empty() || rest.starts_with(['/', '\\', '?', '#', ':']) {
            return Err(wrong("names no host"));
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!("is no address: {error}")))?;
        if url.port() == Some(0) {
            return Err(wrong("names port 0, which nobody can listen on"));
        }
        Ok(Self(url))
    }

    /// The whole address with credentials and query, for the wire only.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// True for `https`.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Name or address of the host; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.0
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
    }

    /// The port, which the scheme decides where the address does not.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// The path, at least `/`.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// True when the address holds a user name or a password.
    pub fn has_credentials(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }

    /// The address with `relative` below its path; the query stays.
    #[must_use]
    pub fn join_path(mut self, relative: &str) -> Self {
        let path = format!("{}/{relative}", self.path().trim_end_matches('/'));
        self.0.set_path(&path);
        self
    }

    /// The address without its path; the query stays.
    #[must_use]
    pub fn without_path(mut self) -> Self {
        self.0.set_path("");
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.has_credentials() { "***@" } else { "" };
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{credentials}{host}", self.0.scheme())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        let query = if self.0.query().is_some() { "?***" } else { "" };
        write!(f, "{}{query}", self.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What may be shown of a text that is no address: nothing before its last `@`, and no query. Control characters are escaped.
pub fn masked(text: &str) -> String {
    let scheme = text.find("://").map_or("", |at| &text[..at + 3]);
    let rest = &text[scheme.len()..];
    let (shown, query) = rest
        .split_once('?')
        .map_or((rest, ""), |(shown, _)| (shown, "?***"));
    let hidden = match rest.rsplit_once('@') {
        None => shown.to_owned(),
        Some(_) => format!(
            "***@{}",
            shown.rsplit_once('@').map_or("", |(_, host)| host)
        ),
    };
    let hidden: String = hidden.chars().take(200).collect();
    format!("{scheme}{hidden}{query}")
        .escape_debug()
        .to_string()
}
