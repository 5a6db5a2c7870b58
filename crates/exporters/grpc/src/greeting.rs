//! The first bytes from the far side. HTTP/2 begins with a frame of settings; whatever else comes tells which port this is.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hiq_net::explain::find;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Length of the header of an HTTP/2 frame.
const FRAME_HEADER: usize = 9;

/// What the far side turned out to speak, when it is not HTTP/2.
#[derive(Clone, Debug)]
pub(crate) enum Stranger {
    Http1,
    Tls,
    /// It agreed on TLS and then did not like our certificate, or that we have none.
    EndedTls(rustls::Error),
    /// It closed the connection without a word.
    Silent,
    Unknown,
}

/// What has been heard so far, shared between a connection and who waits for its greeting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    ended: bool,
    tls_error: Option<rustls::Error>,
    waiting: Option<Waker>,
}

impl Greeting {
    /// Waits until the far side has said enough.
    pub(crate) async fn is_http2(&self) -> Result<(), Stranger> {
        std::future::poll_fn(|context| {
            let mut heard = self.lock();
            if heard.bytes.len() < FRAME_HEADER && !heard.ended {
                heard.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(match heard.tls_error.take() {
                Some(error) => Err(Stranger::EndedTls(error)),
                None => judge(&heard.bytes),
            })
        })
        .await
    }

    /// True when that was enough.
    fn hear(&self, bytes: &[u8]) -> bool {
        let mut heard = self.lock();
        let missing = FRAME_HEADER.saturating_sub(heard.bytes.len());
        let news = &bytes[..bytes.len().min(missing)];
        heard.bytes.extend_from_slice(news);
        let enough = heard.bytes.len() == FRAME_HEADER;
        if enough {
            heard.wake();
        }
        enough
    }

    fn fail(&self, error: &io::Error) {
        if let Some(error) = find::<rustls::Error>(error) {
            self.lock().tls_error = Some(error.clone());
        }
    }

    fn end(&self) {
        let mut heard = self.lock();
        heard.ended = true;
        heard.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

fn judge(bytes: &[u8]) -> Result<(), Stranger> {
    match bytes {
        // Settings of the whole connection, and no acknowledgement of ours.
        [_, _, _, 4, 0, 0, 0, 0, 0] => Ok(()),
        [] => Err(Stranger::Silent),
        [0x15, 3, ..] => Err(Stranger::Tls),
        [b'H', b'T', b'T', b'P', ..] | [b'<', ..] => Err(Stranger::Http1),
        _ => Err(Stranger::Unknown),
    }
}

/// A socket whose first bytes are overheard.
#[derive(Debug)]
pub(crate) struct Overheard<S> {
    stream: S,
    greeting: Greeting,
    is_listening: bool,
}

impl<S> Overheard<S> {
    pub(crate) fn new(stream: S) -> (Self, Greeting) {
        let greeting = Greeting::default();
        let overheard = Self {
            stream,
            greeting: greeting.clone(),
            is_listening: true,
        };
        (overheard, greeting)
    }
}

impl<S: AsyncRead + Unpin> Overheard<S> {
    /// Who cannot write any more may have been told why: waits for the last words before it fails.
    fn after_last_words<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        while self.is_listening && matches!(written, Poll::Ready(Err(_))) {
            let mut words = [0; 1 << 10];
            let mut buffer = ReadBuf::new(&mut words);
            match Pin::new(&mut *self).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => break,
            }
        }
        written
    }
}

/// The connection has ended, for whatever reason: nothing more will be heard.
impl<S> Drop for Overheard<S> {
    fn drop(&mut self) {
        self.greeting.end();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) if self.is_listening => {
                self.is_listening = !self.greeting.hear(&buffer.filled()[before..]);
            }
            Poll::Ready(Err(error)) => self.greeting.fail(error),
            _ => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_last_words(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.after_last_words(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.after_last_words(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
