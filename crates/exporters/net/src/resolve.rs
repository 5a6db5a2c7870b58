//! Names become addresses by the system's own rules, on a thread that ends when it is not needed.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::vec::IntoIter;

use crate::progress::{Progress, Stage};

/// `getaddrinfo`, asked for every new connection: answers change when a service moves. Their port is 0.
pub async fn addresses(host: String, progress: Progress) -> io::Result<IntoIter<SocketAddr>> {
    progress.is_at(Stage::LookingUp);
    let found = tokio::task::spawn_blocking(move || (host, 0).to_socket_addrs()).await??;
    progress.is_at(Stage::Connecting);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_ends_while_a_name_is_looked_up_is_seen_to_be_there() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let progress = Progress::default();
        let lookup = addresses("no-such-host.invalid".to_owned(), progress.clone());
        assert_eq!(progress.stage(), Stage::Connecting);
        assert!(runtime.unwrap().block_on(lookup).is_err());
        assert_eq!(progress.stage(), Stage::LookingUp);
    }
}
