//! The connection, and the runtime that nobody else sees.

use std::fmt;
use std::future::Future;

use hiq_core::export::Deadline;
use hiq_core::fork;
use hiq_core::transport::TransportError;
use hiq_net::end::{End, before};
use hiq_net::line;
use hiq_net::outgoing::Body;
use hiq_net::progress::{Progress, Stage};
use http::{HeaderMap, Method, Request, Version};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};

use crate::config::Target;
use crate::connect::{Sender, connect};
use crate::error::Trouble;
use crate::reply::RawReply;

/// So many turns of the runtime let a connection notice what came while we were idle: the socket, TLS, HTTP/2 and the
/// sender each need theirs.
const TURNS: usize = 8;

/// One kept connection, driven only while a call is under way.
pub(crate) struct Wire {
    runtime: Runtime,
    tls: ClientConfig,
    progress: Progress,
    sender: Option<Sender>,
    generation: u32,
}

impl Wire {
    /// A wire that connects with its first call.
    pub(crate) fn open(
        target: &Target,
        tls: ClientConfig,
        progress: &Progress,
    ) -> Result<Self, TransportError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("hiq-grpc-names")
            .max_blocking_threads(1)
            .build()
            .map_err(|error| target.peer.no_runtime(&error))?;
        Ok(Self {
            runtime,
            tls,
            progress: progress.clone(),
            sender: None,
            generation: fork::generation(),
        })
    }

    /// Makes one call and reads its answer to the end, unless `deadline` is over before.
    pub(crate) fn exchange(
        &mut self,
        target: &Target,
        headers: HeaderMap,
        body: Body,
        deadline: &Deadline,
    ) -> Result<RawReply, Trouble> {
        let request = request(target, headers, body);
        let (sender, tls, progress) = (&mut self.sender, &self.tls, &self.progress);
        let exchange = async {
            let request = match sender {
                Some(kept) => match call_on_kept(kept, request).await {
                    Ok(answered) => return answered,
                    Err(unsent) => unsent,
                },
                None => request,
            };
            progress.is_at(Stage::Connecting);
            let sender = sender.insert(in_time(target, connect(target, tls, progress)).await?);
            sender.ready().await.map_err(Trouble::Broken)?;
            let response = sender.send_request(request).await;
            RawReply::read(response.map_err(Trouble::Broken)?).await
        };
        self.runtime.block_on(async {
            before(End::of(deadline), exchange)
                .await
                .unwrap_or(Err(Trouble::OutOfTime))
        })
    }
}

impl line::Wire for Wire {
    /// Closes an idle connection as its protocols want it: HTTP/2 and TLS say goodbye first.
    fn close_properly(mut self) {
        if self.generation == fork::generation() {
            self.sender = None;
            self.runtime.block_on(turns());
        }
        self.close();
    }

    /// Closes the connection at once. Does not wait for a name that is still looked up, as dropping would.
    fn close(self) {
        if self.generation == fork::generation() {
            drop(self.sender);
            self.runtime.shutdown_background();
        } else {
            // The parent's socket: to close it properly would be to say goodbye in its name.
            std::mem::forget(self);
        }
    }
}

/// Gives the request back when the connection turns out to be closed: nothing of it was sent.
async fn call_on_kept(
    sender: &mut Sender,
    request: Request<Body>,
) -> Result<Result<RawReply, Trouble>, Request<Body>> {
    turns().await;
    if sender.ready().await.is_err() {
        return Err(request);
    }
    match sender.try_send_request(request).await {
        Ok(response) => Ok(RawReply::read(response).await),
        Err(mut failed) => match failed.take_message() {
            Some(unsent) => Err(unsent),
            None => Ok(Err(Trouble::Broken(failed.into_error()))),
        },
    }
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

async fn in_time<T>(
    target: &Target,
    connecting: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    if target.connect_timeout.is_zero() {
        return connecting.await;
    }
    let connected = tokio::time::timeout(target.connect_timeout, connecting).await;
    connected.unwrap_or(Err(Trouble::NotConnectedInTime))
}

fn request(target: &Target, headers: HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
