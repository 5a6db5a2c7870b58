//! The body on its way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Makes bodies. The client wants to own what it sends, so payloads are copied, into memory that is used again: fresh
/// memory would cost more than the copy.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    buffer: Arc<Vec<u8>>,
    begun: Arc<AtomicBool>,
}

impl Outgoing {
    /// A body of `payload`.
    pub(crate) fn load(&mut self, payload: &[u8]) -> reqwest::Body {
        // A request that was cut short may still hold the last one.
        if Arc::get_mut(&mut self.buffer).is_none() {
            self.buffer = Arc::default();
        }
        if let Some(buffer) = Arc::get_mut(&mut self.buffer) {
            buffer.clear();
            buffer.extend_from_slice(payload);
        }
        self.begun = Arc::default();
        reqwest::Body::wrap(Body {
            rest: Some(Bytes::from_owner(Held(Arc::clone(&self.buffer)))),
            begun: Arc::clone(&self.begun),
        })
    }

    /// True once some of the last body was asked for: the head of its request is on its way, and may have arrived.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

struct Held(Arc<Vec<u8>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

struct Body {
    rest: Option<Bytes>,
    begun: Arc<AtomicBool>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.begun.store(true, Ordering::Relaxed);
        Poll::Ready(self.rest.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.as_ref().map_or(0, Bytes::len) as u64)
    }
}
