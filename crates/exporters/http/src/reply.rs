//! From a response to a reply: read whole, decompressed, and otherwise left as it is.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::read::MultiGzDecoder;
use hiq_core::time::Clock;
use hiq_core::transport::{HttpReply, TransportError, TransportErrorKind};
use hiq_net::peer::Peer;
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Response, StatusCode};

use crate::error::Trouble;

/// Bytes of a reply's body that are read, and that it may have when decompressed: 4 MiB.
pub const MAX_REPLY_BYTES: usize = 4 << 20;

/// A response as it came.
pub(crate) struct RawReply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl RawReply {
    pub(crate) async fn read(mut response: Response) -> Result<Self, Trouble> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(Trouble::ReplyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }

    /// The reply of `peer`.
    pub(crate) fn into_reply(
        self,
        peer: &Peer,
        kept: &[&'static str],
    ) -> Result<HttpReply, TransportError> {
        let mut reply = HttpReply::new(self.status.as_u16());
        reply.headers = self.kept(kept);
        reply.content_type = content_type(&self.headers);
        reply.retry_after = retry_after(&self.headers);
        reply.clock_ahead_seconds = clock_ahead_seconds(&self.headers);
        reply.body = match self.text(header::CONTENT_ENCODING).trim() {
            "" => self.body,
            name if name.eq_ignore_ascii_case("identity") => self.body,
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                unzip(&self.body, peer)?
            }
            name => {
                return Err(unreadable(
                    peer,
                    &format!(
                        "is encoded as `{}`, which was not asked for",
                        name.escape_debug()
                    ),
                ));
            }
        };
        reply.url = Arc::clone(&peer.shown);
        Ok(reply)
    }

    fn kept(&self, names: &[&'static str]) -> Vec<(&'static str, String)> {
        let value = |name: &'static str| {
            let value = self.headers.get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        };
        names.iter().copied().filter_map(value).collect()
    }

    fn text(&self, name: HeaderName) -> &str {
        text(&self.headers, name)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn content_type(headers: &HeaderMap) -> String {
    let whole = text(headers, header::CONTENT_TYPE);
    let essence = whole.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// `Retry-After` is a number of seconds or a date. `None` for what is neither.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER).trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number too large to be written down fails here.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    // The server's own clock, when it tells: ours may be wrong, and the wait would be as well.
    let now =
        httpdate::parse_http_date(text(headers, header::DATE)).unwrap_or_else(|_| wall_time());
    Some(then.duration_since(now).unwrap_or_default())
}

/// How far the server's clock is ahead of ours, by its `Date`.
fn clock_ahead_seconds(headers: &HeaderMap) -> Option<i64> {
    let theirs = httpdate::parse_http_date(text(headers, header::DATE)).ok()?;
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()
    };
    Some(seconds(theirs)? - seconds(wall_time())?)
}

fn wall_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(Clock::unix_nanos().0)
}

/// Stops as soon as there is too much, however little came over the wire.
fn unzip(zipped: &[u8], peer: &Peer) -> Result<Vec<u8>, TransportError> {
    if zipped.is_empty() {
        return Ok(Vec::new());
    }
    let mut body = Vec::new();
    let limit = MAX_REPLY_BYTES as u64 + 1;
    let read = MultiGzDecoder::new(zipped)
        .take(limit)
        .read_to_end(&mut body);
    match read {
        Ok(_) if body.len() > MAX_REPLY_BYTES => Err(peer.reply_too_large(MAX_REPLY_BYTES)),
        Ok(_) => Ok(body),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(unreadable(
            peer,
            "says that it is gzip, and ends in its middle",
        )),
        Err(_) => Err(unreadable(peer, "says that it is gzip, and is not")),
    }
}

fn unreadable(peer: &Peer, what: &str) -> TransportError {
    let what = format_args!("the body of the reply {what}");
    peer.says(TransportErrorKind::Protocol, what)
}
