//! A payload that is being written: one process, and spans until there is no more room.

use std::ptr;
use std::sync::Arc;

use hiq_core::batch::BatchCursor;
use hiq_core::encode::cache::{Cache, give_back_excess};
use hiq_core::encode::{Cut, Encoded, Limits, Page, fill};
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::Span;
use hiq_core::tree::SpanTree;

use crate::form::Form;
use crate::process::{Names, write_process};
use crate::tags::{Fixed, Tails, count_of_scope};

/// What an encoder keeps between payloads.
#[derive(Debug)]
pub(crate) struct State<F: Form> {
    /// True for the message that agents read, false for the batch alone.
    envelope: bool,
    names: Names,
    cache: Cache<F>,
    fixed: Fixed,
    /// For `scope`.
    tails: Tails,
    scope: Option<Arc<Scope>>,
    /// The process of `resource`.
    process: Vec<u8>,
    resource: Option<Arc<Resource>>,
    last: Option<F::Open>,
}

/// What a span is written with.
#[derive(Debug)]
pub(crate) struct Parts<'c, F: Form> {
    pub(crate) cache: &'c mut Cache<F>,
    pub(crate) fixed: &'c Fixed,
    pub(crate) tails: &'c mut Tails,
    pub(crate) trace: &'c F::Trace,
    /// The place of its scope in the cache, and how many tags that has.
    pub(crate) scope: usize,
    pub(crate) scope_tags: usize,
}

impl<F: Form> State<F> {
    pub(crate) fn new(envelope: bool) -> Self {
        Self {
            envelope,
            names: Names::default(),
            cache: Cache::default(),
            fixed: Fixed::of::<F>(),
            tails: Tails::default(),
            scope: None,
            process: Vec::new(),
            resource: None,
            last: None,
        }
    }

    pub(crate) fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    pub(crate) fn has_envelope(&self) -> bool {
        self.envelope
    }

    pub(crate) fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let encoded = fill(cursor, limits, &mut Payload::new(self, out));
        give_back_excess(out, limits);
        encoded
    }

    fn turn_to_scope(&mut self, scope: &Arc<Scope>) {
        let known = self.scope.as_ref();
        if known.is_none_or(|known| !Arc::ptr_eq(known, scope)) {
            self.tails.forget();
            self.scope = Some(Arc::clone(scope));
        }
    }

    fn turn_to(&mut self, resource: &Arc<Resource>) {
        let known = self.resource.as_ref();
        if known.is_none_or(|known| !Arc::ptr_eq(known, resource)) {
            self.process.clear();
            write_process::<F>(&mut self.process, resource, &self.names);
            self.resource = Some(Arc::clone(resource));
        }
    }
}

#[derive(Debug)]
struct Payload<'a, 'e, F: Form> {
    out: &'e mut Vec<u8>,
    state: &'e mut State<F>,
    start: usize,
    open: Option<F::Open>,
    spans: usize,
    /// The tree of the last span, with what its spans have in common.
    tree: Option<Common<'a, F>>,
    /// Where the last span begins, with what was opened for it.
    before: usize,
}

#[derive(Debug)]
struct Common<'a, F: Form> {
    tree: &'a SpanTree,
    trace: F::Trace,
    scope: usize,
    scope_tags: usize,
}

impl<'a, 'e, F: Form> Payload<'a, 'e, F> {
    fn new(state: &'e mut State<F>, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            state,
            start,
            open: None,
            spans: 0,
            tree: None,
            before: start,
        }
    }

    /// True when `span` has in common with others of its tree what the last one had.
    #[inline]
    fn is_known(&self, span: Span<'a>) -> bool {
        let (tree, known) = (span.tree(), self.tree.as_ref());
        known.is_some_and(|known| ptr::eq(known.tree, tree)) && !tree.has_scopes_of_spans()
    }

    #[cold]
    fn enter(&mut self, span: Span<'a>) {
        let scope = span.scope();
        self.state.turn_to_scope(scope);
        self.tree = Some(Common {
            tree: span.tree(),
            trace: F::trace(span.trace_id()),
            scope: self.state.cache.scope(scope),
            scope_tags: count_of_scope(scope),
        });
    }

    #[cold]
    fn open(&mut self, resource: &Arc<Resource>) {
        self.state.turn_to(resource);
        let state = &*self.state;
        self.open = Some(F::open(
            self.out,
            state.envelope,
            &state.process,
            state.last,
        ));
    }
}

impl<'a, F: Form> Page<'a> for Payload<'a, '_, F> {
    #[inline]
    fn push(&mut self, span: Span<'a>) -> bool {
        self.before = self.out.len();
        if self.open.is_none() {
            self.open(span.tree().resource());
        }
        if !self.is_known(span) {
            self.enter(span);
        }
        // Read where it stands: a copy would have to wait for what was just written.
        if let Some(common) = &self.tree {
            let state = &mut *self.state;
            let parts = Parts {
                trace: &common.trace,
                scope: common.scope,
                scope_tags: common.scope_tags,
                cache: &mut state.cache,
                fixed: &state.fixed,
                tails: &mut state.tails,
            };
            F::span(self.out, parts, span);
        }
        self.spans += 1;
        true
    }

    #[inline]
    fn fits(&self, max_bytes: usize) -> bool {
        let Some(open) = self.open else {
            return true;
        };
        let (envelope, process) = (self.state.envelope, &self.state.process);
        F::end(open, envelope, process, self.spans, self.out.len()) - self.start <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before);
        self.spans -= 1;
        if self.spans == 0 {
            self.open = None;
        }
    }

    fn finish(&mut self) {
        if let Some(open) = self.open.take() {
            let state = &mut *self.state;
            let (envelope, process) = (state.envelope, &state.process);
            let end = F::close(self.out, open, envelope, process, self.spans);
            state.last = Some(end);
        }
    }

    fn parts(&self, last: &SpanTree, next: &SpanTree) -> bool {
        Cut::Resource.parts(last, next)
    }
}
