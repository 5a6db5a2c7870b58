//! From a response to a reply. tonic reads messages and trailers; what is wrong with them is decided here.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Buf, Bytes};
use hiq_core::transport::GrpcReply;
use hiq_net::secrets::Secrets;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tonic::codec::{CompressionEncoding, DecodeBuf, Decoder, Streaming};
use tonic::{Code, Status};

use crate::details;
use crate::error::Trouble;

/// Bytes that the message of a reply may have: 4 MiB.
pub const MAX_REPLY_BYTES: usize = 4 << 20;

const DETAILS: &str = "grpc-status-details-bin";

/// As lenient as tonic, which reads what we let through and takes it to be right.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A status and the message that came with it.
#[derive(Debug)]
pub(crate) struct RawReply {
    status: Status,
    message: Vec<u8>,
}

impl RawReply {
    pub(crate) async fn read(response: Response<Incoming>) -> Result<Self, Trouble> {
        let (mut head, body) = response.into_parts();
        remove_broken_details(&mut head.headers);
        let early = Status::from_header_map(&head.headers);
        if let Some(status) = early.clone().filter(|status| status.code() != Code::Ok) {
            return Ok(Self::without_message(status));
        }
        if head.status != StatusCode::OK {
            return Ok(Self::without_message(assigned_to(head.status).await));
        }
        if !is_grpc(&head.headers) {
            return Err(Trouble::NotGrpc(content_type(&head.headers)));
        }
        let encoding = encoding(&head.headers);
        let (body, seen) = Watched::new(body);
        let mut answer = match early {
            Some(_) => Streaming::new_empty(Raw, body),
            None => {
                Streaming::new_response(Raw, body, head.status, encoding, Some(MAX_REPLY_BYTES))
            }
        };
        match whole(&mut answer).await {
            Ok(message) => Ok(Self {
                status: Status::ok(""),
                message,
            }),
            Err(status) => seen.explain(status).map(Self::without_message),
        }
    }

    fn without_message(status: Status) -> Self {
        Self {
            status,
            message: Vec::new(),
        }
    }

    /// The reply of the server at `url`, without what it repeats of ours.
    pub(crate) fn into_reply(self, url: Arc<str>, secrets: &Secrets) -> GrpcReply {
        let mut words = self.status.message().as_bytes().to_vec();
        secrets.mask(&mut words);
        let mut message = self.message;
        secrets.mask(&mut message);
        let mut reply = GrpcReply::new(self.status.code() as u8);
        reply.message = String::from_utf8_lossy(&words).into_owned();
        reply.retry_delay = details::retry_delay(self.status.details());
        reply.body = message;
        reply.url = url;
        reply
    }
}

/// The first message, when the status after it is OK.
async fn whole(answer: &mut Streaming<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let message = answer.message().await?;
    answer.trailers().await?;
    Ok(message.unwrap_or_default())
}

/// What the protocol makes of a status of HTTP where there is none of gRPC.
async fn assigned_to(status: StatusCode) -> Status {
    let mut nothing = Streaming::new_response(Raw, tonic::body::Body::empty(), status, None, None);
    let code = match nothing.message().await {
        Err(assigned) => assigned.code(),
        Ok(_) => Code::Unknown,
    };
    Status::new(
        code,
        format!("HTTP status {status} without one of gRPC; is it a port for gRPC?"),
    )
}

/// Go answers a compressed request with a compressed reply, whether it was asked for one or not.
fn encoding(headers: &HeaderMap) -> Option<CompressionEncoding> {
    let name = headers.get("grpc-encoding")?;
    (name == "gzip").then_some(CompressionEncoding::Gzip)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    content_type(headers).starts_with("application/grpc")
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let whole = value.and_then(|value| value.to_str().ok());
    let essence = whole.unwrap_or_default().split(';').next();
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}

/// tonic ends the whole thread on them.
fn remove_broken_details(headers: &mut HeaderMap) {
    let is_broken = |value: &http::HeaderValue| BASE64.decode(value.as_bytes()).is_err();
    if headers.get(DETAILS).is_some_and(is_broken) {
        headers.remove(DETAILS);
    }
}

/// A codec that leaves messages as they are.
#[derive(Debug)]
struct Raw;

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length).into()))
    }
}

/// A body that notes what the server really said: tonic makes statuses of its own where it misses one.
struct Watched {
    body: Incoming,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    status: AtomicBool,
    end: AtomicBool,
}

impl Watched {
    fn new(body: Incoming) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let watched = Self {
            body,
            seen: Arc::clone(&seen),
        };
        (watched, seen)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| match frame {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    remove_broken_details(trailers);
                    let has_status = trailers.contains_key("grpc-status");
                    self.seen.status.store(has_status, Ordering::Relaxed);
                    self.seen.end.store(true, Ordering::Relaxed);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                self.seen.end.store(true, Ordering::Relaxed);
                None
            }
        })
    }
}

impl Seen {
    /// Tells a server's status from those that tonic makes.
    fn explain(&self, status: Status) -> Result<Status, Trouble> {
        if self.status.load(Ordering::Relaxed) {
            return Ok(status);
        }
        Err(if status.source().is_some() {
            Trouble::CutShort(Some(status))
        } else if self.end.load(Ordering::Relaxed) {
            Trouble::CutShort(None)
        } else if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
            Trouble::ReplyTooLarge
        } else {
            Trouble::NotGrpc("a broken message".to_owned())
        })
    }
}
