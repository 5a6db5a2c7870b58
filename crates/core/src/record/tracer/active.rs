//! A span of a Rust program while it is open.

use std::error::Error;
use std::marker::PhantomData;

use super::thread::Thread;
use super::{Name, Tracer, this_thread};
use crate::context::Context;
use crate::id::SpanId;
use crate::intern::Symbol;
use crate::span::Status;
use crate::time::Clock;
use crate::tree::TreeBuilder;
use crate::value::{Value, ValueRef};

/// An open span of the current thread. Ends when dropped, which must happen in this thread, innermost first.
#[derive(Debug)]
#[must_use = "a span that is dropped at once measures nothing"]
pub struct ActiveSpan<'t> {
    tracer: &'t Tracer,
    id: SpanId,
    // Bound to its thread, like the tree that it stands in.
    not_send: PhantomData<*const ()>,
}

impl<'t> ActiveSpan<'t> {
    #[inline]
    pub(super) fn new(tracer: &'t Tracer, id: SpanId) -> Self {
        Self {
            tracer,
            id,
            not_send: PhantomData,
        }
    }

    /// Sets an attribute; the last value of a key counts.
    #[inline(always)]
    pub fn set_attribute<'v>(
        &mut self,
        key: impl Name,
        value: impl Into<ValueRef<'v>>,
    ) -> &mut Self {
        self.set_attributes([(key, value.into())])
    }

    /// Sets several attributes at once, which is cheaper than one by one.
    #[inline(always)]
    pub fn set_attributes<'v, K: Name>(
        &mut self,
        attributes: impl IntoIterator<Item = (K, ValueRef<'v>)>,
    ) -> &mut Self {
        if let Some((builder, span)) = self.place(&mut this_thread()) {
            builder.set_attributes(span, attributes, |key, builder| key.symbol(builder));
        }
        self
    }

    /// Adds an event that happens now.
    pub fn add_event(&mut self, name: impl Name, attributes: &[(&str, Value)]) -> &mut Self {
        let tick = Clock::ticks();
        if let Some((builder, span)) = self.place(&mut this_thread()) {
            let name = name.symbol(builder);
            let keys: Vec<Symbol> = attributes
                .iter()
                .map(|(key, _)| builder.symbol(key))
                .collect();
            let values = attributes.iter().map(|(_, value)| value.as_ref());
            builder.add_event(span, name, tick, keys.into_iter().zip(values));
        }
        self
    }

    /// Sets the status. [`Status::Ok`] is final; only an error keeps its message.
    pub fn set_status(&mut self, status: Status, message: &str) -> &mut Self {
        if let Some((builder, span)) = self.place(&mut this_thread()) {
            builder.set_status(span, status, message);
        }
        self
    }

    /// Records an error with the chain of its sources, and sets the status.
    pub fn record_error(&mut self, error: &dyn Error) -> &mut Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        self.add_event(
            "exception",
            &[("exception.message", Value::from(message.as_str()))],
        );
        self.set_status(Status::Error, &message)
    }

    /// Adds a link to a span of this or another trace.
    pub fn add_link(&mut self, to: &Context) -> &mut Self {
        const IS_REMOTE_KNOWN: u32 = 0x100;
        const IS_REMOTE: u32 = 0x200;
        let remote = if to.is_remote { IS_REMOTE } else { 0 };
        let flags = u32::from(to.trace_flags) | IS_REMOTE_KNOWN | remote;
        if let Some((builder, span)) = self.place(&mut this_thread()) {
            builder.add_link(span, (to.trace_id, to.span_id), &to.trace_state, flags, []);
        }
        self
    }

    /// Where children of this span hang: for threads and for requests to other services.
    pub fn context(&self) -> Option<Context> {
        this_thread().context_of(self.id)
    }

    /// For a root, and for guards that are dropped out of turn.
    #[cold]
    #[inline(never)]
    fn end_root(&self, tick: u64) {
        let ended = this_thread().end(self.id, tick);
        if let Some(level) = ended {
            self.tracer.inner.leave(level);
        }
    }

    /// Where to write to the span, while its tree is the thread's; after an inner root has taken over, writes wait for nothing and
    /// are lost.
    #[inline(always)]
    fn place<'a>(&self, thread: &'a mut Thread) -> Option<(&'a mut TreeBuilder, u32)> {
        let tree = thread.tree()?;
        let index = if tree.current_id() == self.id {
            tree.current()
        } else {
            tree.index_of_outer(self.id)?
        };
        Some((tree.builder(), index))
    }
}

impl Drop for ActiveSpan<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let tick = Clock::ticks();
        let has_ended = this_thread().end_inside(self.id, tick);
        if !has_ended {
            self.end_root(tick);
        }
    }
}
