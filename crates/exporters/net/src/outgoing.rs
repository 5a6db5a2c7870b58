//! A body on its way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::progress::{Progress, Stage};

/// Makes bodies. Clients want to own what they send, so payloads are copied, into memory that is used again: fresh memory
/// would cost more than the copy.
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: Arc<Vec<u8>>,
}

impl Outgoing {
    /// A body of `parts`, one after the other, which tells `progress` when it leaves.
    pub fn load(&mut self, parts: &[&[u8]], progress: &Progress) -> Body {
        // A request that was cut short may still hold the last one.
        if Arc::get_mut(&mut self.buffer).is_none() {
            self.buffer = Arc::default();
        }
        if let Some(buffer) = Arc::get_mut(&mut self.buffer) {
            buffer.clear();
            for part in parts {
                buffer.extend_from_slice(part);
            }
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

/// What [`Outgoing::load`] makes: one piece of known length.
#[derive(Debug)]
pub struct Body {
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
