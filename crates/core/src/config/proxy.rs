//! Proxies, as curl and Python's own libraries read them.

use std::net::IpAddr;

use super::reader::Reader;
use super::{Endpoint, Env, Warning};

/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`; the lower-case names are stronger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxySettings {
    /// For `https` targets.
    pub https: Option<Endpoint>,
    /// For `http` targets.
    pub http: Option<Endpoint>,
    /// Hosts that are reached directly: names (with all below them), addresses, networks, `*`; each may carry a port.
    pub no_proxy: Vec<String>,
}

impl ProxySettings {
    /// Reads `env`. Adds to `warnings` what was not understood.
    pub fn from_env(env: &Env, warnings: &mut Vec<Warning>) -> Self {
        let mut reader = Reader::new(env);
        let all = address(&mut reader, &["all_proxy", "ALL_PROXY"]);
        // In a CGI program HTTP_PROXY is the client's header `Proxy`, chosen by a stranger.
        let is_cgi = reader.text("REQUEST_METHOD").is_some();
        let http_names: &[&str] = if is_cgi {
            &["http_proxy"]
        } else {
            &["http_proxy", "HTTP_PROXY"]
        };
        let http = address(&mut reader, http_names);
        let https = address(&mut reader, &["https_proxy", "HTTPS_PROXY"]);
        let no_proxy = reader.first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| {
            let entries = list
                .split([',', ' '])
                .map(str::trim)
                .filter(|entry| !entry.is_empty());
            entries.map(str::to_ascii_lowercase).collect()
        });
        warnings.extend(reader.into_warnings());
        Self {
            https: https.or_else(|| all.clone()),
            http: http.or(all),
            no_proxy: no_proxy.unwrap_or_default(),
        }
    }

    /// The proxy for `target`; `None`: directly.
    pub fn proxy_for(&self, target: &Endpoint) -> Option<&Endpoint> {
        let proxy = if target.is_https() {
            &self.https
        } else {
            &self.http
        };
        let host = target.host().trim_end_matches('.').to_ascii_lowercase();
        let direct = self
            .no_proxy
            .iter()
            .any(|entry| covers(entry, &host, target.port()));
        proxy.as_ref().filter(|_| !direct)
    }
}

fn address(reader: &mut Reader<'_>, names: &[&str]) -> Option<Endpoint> {
    let (name, text) = reader.first(names)?;
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    match Endpoint::parse(name, &with_scheme) {
        Ok(proxy) => Some(proxy),
        Err(error) => {
            reader.warn(name, format!("{}; no proxy is used", error.problem));
            None
        }
    }
}

/// True when `entry` of `NO_PROXY` means `host` and `port`.
fn covers(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, entry_port) = split_port(entry);
    if entry_port.is_some_and(|entry_port| entry_port != port) {
        return false;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return covers_address(name, address);
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.');
    let name = name.trim_end_matches('.');
    let above = host.strip_suffix(name);
    !name.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Name and port of `host:port`, `[v6]:port` or `v6`.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((inside, after)) = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return (
            inside,
            after.strip_prefix(':').and_then(|port| port.parse().ok()),
        );
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn covers_address(entry: &str, address: IpAddr) -> bool {
    let Some((network, bits)) = entry.split_once('/') else {
        return entry.parse() == Ok(address);
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}
