//! Names become addresses by the system's own rules, on a thread that ends when it is not needed.

use std::net::ToSocketAddrs;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::progress::{Progress, Stage};

/// `getaddrinfo`, asked for every new connection: answers change when a service moves.
#[derive(Debug)]
pub(crate) struct SystemResolver(pub(crate) Progress);

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let progress = self.0.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            progress.is_at(Stage::LookingUp);
            let found = tokio::task::spawn_blocking(move || (host, 0).to_socket_addrs()).await??;
            progress.is_at(Stage::Connecting);
            Ok(Box::new(found) as Addrs)
        })
    }
}
