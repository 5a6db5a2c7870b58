//! The client, and the runtime that nobody else sees.

use std::fmt;

use hiq_core::export::Deadline;
use hiq_core::fork;
use hiq_core::transport::TransportError;
use hiq_net::end::{End, before};
use hiq_net::line;
use hiq_net::progress::Progress;
use reqwest::redirect::Policy;
use reqwest::{Client, Request};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};

use crate::config::Target;
use crate::error::Trouble;
use crate::proxy;
use crate::reply::RawReply;
use crate::resolve::SystemResolver;

/// One kept-alive connection, driven only while a request is under way.
pub(crate) struct Wire {
    runtime: Runtime,
    client: Client,
    generation: u32,
    has_connected: bool,
}

impl Wire {
    /// A wire to `target`. Connects with its first request.
    pub(crate) fn open(
        target: &Target,
        tls: ClientConfig,
        progress: &Progress,
    ) -> Result<Self, TransportError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("hiq-http-names")
            .max_blocking_threads(1)
            .build()
            .map_err(|error| target.peer.no_runtime(&error))?;
        Ok(Self {
            client: client(target, tls, progress)?,
            runtime,
            generation: fork::generation(),
            has_connected: false,
        })
    }

    /// Sends `request` and reads the reply to its end, unless `deadline` is over before.
    pub(crate) fn exchange(
        &mut self,
        request: Request,
        deadline: &Deadline,
    ) -> Result<RawReply, Trouble> {
        let may_have_been_closed = std::mem::replace(&mut self.has_connected, true);
        self.runtime.block_on(async {
            if may_have_been_closed {
                see_what_happened_meanwhile().await;
            }
            let exchange = async { RawReply::read(self.client.execute(request).await?).await };
            before(End::of(deadline), exchange)
                .await
                .unwrap_or(Err(Trouble::OutOfTime))
        })
    }
}

impl line::Wire for Wire {
    /// Closes an idle connection as its protocol wants it: TLS says goodbye first.
    fn close_properly(self) {
        if self.generation != fork::generation() {
            return self.close();
        }
        drop(self.client);
        self.runtime.block_on(see_what_happened_meanwhile());
        self.runtime.shutdown_background();
    }

    /// Closes all connections at once. Does not wait for a name that is still looked up, as dropping would.
    fn close(self) {
        if self.generation == fork::generation() {
            drop(self.client);
            self.runtime.shutdown_background();
        } else {
            // The parent's sockets: to close them properly would be to say goodbye in its name.
            std::mem::forget(self);
        }
    }
}

/// A request written to a connection that the server has closed while we were idle would be lost, and we could not tell
/// whether it was. The first turn looks at the sockets; the second lets the connection notice.
async fn see_what_happened_meanwhile() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

fn client(
    target: &Target,
    tls: ClientConfig,
    progress: &Progress,
) -> Result<Client, TransportError> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(SystemResolver(progress.clone()))
        .user_agent(target.user_agent.clone())
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(1);
    let builder = if target.connect_timeout.is_zero() {
        builder
    } else {
        builder.connect_timeout(target.connect_timeout)
    };
    let builder = match &target.proxy {
        Some(proxy) => {
            let proxy = proxy::client_side(proxy);
            builder.proxy(proxy.map_err(|wrong| target.peer.invalid(&wrong.problem))?)
        }
        None => builder.no_proxy(),
    };
    // Its text could hold the proxy's address, password included.
    builder.build().map_err(|_| {
        target
            .peer
            .invalid("the client cannot be made of these settings")
    })
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
