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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_ends_while_a_name_is_looked_up_is_seen_to_be_there() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let progress = Progress::default();
        let lookup =
            SystemResolver(progress.clone()).resolve("no-such-host.invalid".parse().unwrap());
        assert_eq!(progress.stage(), Stage::Connecting);
        assert!(runtime.unwrap().block_on(lookup).is_err());
        assert_eq!(progress.stage(), Stage::LookingUp);
    }
}
