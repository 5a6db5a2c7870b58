//! A scrape endpoint: is its port free, or held by whom, and does it answer?

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::record::Registry;
use hiq_core::resource::Resource;
use hiq_prometheus::{ScrapeGroup, ScrapeSettings};

use super::{Finding, Try};

struct Endpoint {
    settings: ScrapeSettings,
}

/// Where it answers, and how that is tried.
pub(super) fn way(settings: ScrapeSettings) -> (String, Box<dyn Try>) {
    let target = format!("http://{}:{}/metrics", settings.host, settings.port);
    (target, Box::new(Endpoint { settings }))
}

impl Try for Endpoint {
    fn send(&self, _name: &str, resource: &Arc<Resource>, timeout: Duration) -> Finding {
        let began = Instant::now();
        let answered = self.answered(resource, timeout);
        let took = began.elapsed();
        let mut ledger = LedgerSnapshot::default();
        let (sent, words) = match answered {
            Ok(place) => {
                ledger.exported = 1;
                (place, None)
            }
            Err(words) => {
                ledger.rejected = 1;
                (String::new(), Some(words))
            }
        };
        Finding {
            sent,
            took,
            words,
            ledger,
        }
    }
}

impl Endpoint {
    /// Whose port it is, after a scrape.
    fn answered(&self, resource: &Arc<Resource>, timeout: Duration) -> Result<String, String> {
        let registry = Registry::of(Arc::clone(resource));
        let service = resource.service_name();
        // Held until the scrape is answered; nobody else is told anything by a process that has counted nothing.
        let group = ScrapeGroup::join(&registry, &self.settings).map_err(|error| {
            if error.place != "OTEL_EXPORTER_PROMETHEUS_PORT" {
                return error.to_string();
            }
            format!(
                "{error}; where another process of this service holds the port, name the service in OTEL_SERVICE_NAME \
                 as that does (it is `{service}` here)"
            )
        })?;
        let own = group.address();
        let host = (self.settings.host.as_str(), self.settings.port);
        let addresses = match own {
            Some(address) => vec![address],
            None => host.to_socket_addrs().map_err(|e| e.to_string())?.collect(),
        };
        let status = scrape(&addresses, timeout)?;
        if status != 200 {
            return Err(format!("the scrape was answered {status}"));
        }
        Ok(match own {
            Some(address) => format!("port {} is free, a scrape of it", address.port()),
            None => format!("a process of the service `{service}` holds the port, a scrape of it"),
        })
    }
}

/// The status of `GET /metrics` at the first of `addresses` that answers.
fn scrape(addresses: &[SocketAddr], timeout: Duration) -> Result<u16, String> {
    let mut failed = "the host has no address".to_owned();
    for address in addresses {
        match ask(*address, timeout) {
            Ok(status) => return Ok(status),
            Err(error) => failed = format!("a scrape of {address} failed: {error}"),
        }
    }
    Err(failed)
}

fn ask(address: SocketAddr, timeout: Duration) -> std::io::Result<u16> {
    let timeout = timeout.max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("it is no HTTP server"))
}
