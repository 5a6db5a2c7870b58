//! The message on its way out: gRPC's frame and our bytes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hiq_net::progress::{Progress, Stage};
use http_body::{Frame, SizeHint};

/// Frames messages. The client wants to own what it sends, so payloads are copied, into memory that is used again: fresh
/// memory would cost more than the copy.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    buffer: Arc<Vec<u8>>,
}

impl Outgoing {
    /// One message, which tells `progress` when it leaves.
    pub(crate) fn load(&mut self, message: &[u8], compressed: bool, progress: &Progress) -> Body {
        // A call that was cut short may still hold the last one.
        if Arc::get_mut(&mut self.buffer).is_none() {
            self.buffer = Arc::default();
        }
        if let Some(buffer) = Arc::get_mut(&mut self.buffer) {
            buffer.clear();
            buffer.push(u8::from(compressed));
            // Our limits are far below what this field can say.
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            buffer.extend_from_slice(&length.to_be_bytes());
            buffer.extend_from_slice(message);
        }
        Body {
            rest: Some(Bytes::from_owner(Held(Arc::clone(&self.buffer)))),
            progress: progress.clone(),
        }
    }
}

struct Held(Arc<Vec<u8>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The body of a call.
#[derive(Debug)]
pub(crate) struct Body {
    rest: Option<Bytes>,
    progress: Progress,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.progress.is_at(Stage::Sending);
        Poll::Ready(self.rest.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.as_ref().map_or(0, Bytes::len) as u64)
    }
}
