//! Proxies. Which one, if any, core's settings decide; reqwest only has to use it.

use hiq_core::config::{ConfigError, Endpoint};
use reqwest::Proxy;

/// `proxy` for every request. Its user and password are sent to it, and to nobody else.
pub(crate) fn client_side(proxy: &Endpoint) -> Result<Proxy, ConfigError> {
    Proxy::all(proxy.expose()).map_err(|_| {
        let problem = format!("`{proxy}` cannot be used as a proxy");
        ConfigError::new("proxies", problem, "write it as http://host:port")
    })
}
