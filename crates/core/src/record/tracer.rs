//! Spans of Rust programs.
//!
//! ```
//! use hiq_core::pipeline::Pipeline;
//! use hiq_core::record::tracer::{Key, Tracer};
//!
//! static ORDER: Key = Key::new("order.id");
//!
//! let tracer = Tracer::new(Pipeline::builder().build());
//! {
//!     let mut checkout = tracer.span("checkout");
//!     checkout.set_attribute(&ORDER, 7_i64);
//!     let _payment = tracer.span("payment"); // a child: spans of one thread nest
//! } // both end here, and the tree leaves
//! assert!(tracer.current_context().is_none());
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{MAX_HELD_BACK_NANOS, OpenTree};
use crate::config::Settings;
use crate::context::{Context, SAMPLED};
use crate::id::{SpanId, TraceId};
use crate::intern::{SiteId, Symbol, symbol};
use crate::pipeline::Pipeline;
use crate::resource::Scope;
use crate::sample::KeepRules;
use crate::span::Kind;
use crate::time::Clock;
use crate::tree::{Origin, Role, SpanLimits, SpanTree, TreeBuilder};

mod active;
mod thread;

pub use active::ActiveSpan;

use thread::{Level, Recording, Thread, this_thread};

/// Records the spans of a Rust program and hands finished trees to a pipeline. A cheap handle: clones are the same tracer.
#[derive(Clone, Debug)]
pub struct Tracer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pipeline: Pipeline,
    scope: Arc<Scope>,
    limits: SpanLimits,
    keep: KeepRules,
    /// What roots hang under when nothing else is said (`TRACEPARENT`).
    parent: Option<Context>,
    hold_back_ticks: u64,
}

/// A name or attribute key that is looked up once: `static ORDER: Key = Key::new("order.id");`.
#[derive(Debug)]
pub struct Key {
    name: &'static str,
    symbol: AtomicU32,
}

const NOT_LOOKED_UP: u32 = u32::MAX;

impl Key {
    /// The key named `name`.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            symbol: AtomicU32::new(NOT_LOOKED_UP),
        }
    }

    #[inline]
    fn symbol(&self) -> Option<Symbol> {
        match self.symbol.load(Ordering::Relaxed) {
            NOT_LOOKED_UP => self.look_up(),
            known => Some(Symbol(known)),
        }
    }

    #[cold]
    fn look_up(&self) -> Option<Symbol> {
        let symbol = symbol(self.name)?;
        self.symbol.store(symbol.0, Ordering::Relaxed);
        Some(symbol)
    }
}

/// What names a span or attribute: a [`Key`], the cheapest, or any text.
pub trait Name {
    /// Its symbol in the tree that is being built.
    fn symbol(&self, builder: &mut TreeBuilder) -> Symbol;
}

impl Name for &Key {
    #[inline]
    fn symbol(&self, builder: &mut TreeBuilder) -> Symbol {
        Key::symbol(self).unwrap_or_else(|| builder.symbol(self.name))
    }
}

impl Name for &str {
    fn symbol(&self, builder: &mut TreeBuilder) -> Symbol {
        builder.symbol(self)
    }
}

/// What a span is begun with, beyond its name.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SpanOptions<'a> {
    /// Its role; internal unless said otherwise.
    pub kind: Kind,
    /// Where it hangs, instead of under the thread's current span: the context that came with a request.
    pub parent: Option<&'a Context>,
}

impl<'a> SpanOptions<'a> {
    /// A span of `kind` under the thread's current span.
    pub fn kind(kind: Kind) -> Self {
        Self { kind, parent: None }
    }

    /// Hangs the span under `parent`.
    #[must_use]
    pub fn under(mut self, parent: Option<&'a Context>) -> Self {
        self.parent = parent;
        self
    }
}

impl Tracer {
    /// Records for `pipeline` with the default limits.
    pub fn new(pipeline: Pipeline) -> Self {
        Self::with_settings(
            pipeline,
            &Settings::from_env(&crate::config::Env::from_pairs::<&str, &str>([])),
        )
    }

    /// Records for `pipeline` with the limits and the parent that `settings` name.
    pub fn with_settings(pipeline: Pipeline, settings: &Settings) -> Self {
        let inner = Inner {
            pipeline,
            scope: Arc::new(Scope::new("hiq", env!("CARGO_PKG_VERSION"))),
            limits: settings.limits,
            keep: KeepRules::default(),
            parent: settings.parent.clone(),
            hold_back_ticks: Clock::scale_at(Clock::ticks()).ticks(MAX_HELD_BACK_NANOS),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The same tracer for a library: its spans carry `scope`.
    #[must_use]
    pub fn with_scope(&self, scope: Scope) -> Self {
        self.changed(|inner| inner.scope = Arc::new(scope))
    }

    /// The same tracer; of traces that are sampled out, fragments that `rules` name are kept after all.
    #[must_use]
    pub fn with_keep_rules(&self, rules: KeepRules) -> Self {
        self.changed(|inner| inner.keep = rules)
    }

    fn changed(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner {
            pipeline: self.inner.pipeline.clone(),
            scope: Arc::clone(&self.inner.scope),
            limits: self.inner.limits,
            keep: self.inner.keep,
            parent: self.inner.parent.clone(),
            hold_back_ticks: self.inner.hold_back_ticks,
        };
        change(&mut inner);
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The pipeline that finished trees go to.
    pub fn pipeline(&self) -> &Pipeline {
        &self.inner.pipeline
    }

    /// Opens a span under the thread's current one; it ends when the guard is dropped.
    // Inlined, as its end is: two calls, with the registers to be saved for what hardly happens, were 4 to 8 % of a span.
    #[inline(always)]
    pub fn span(&self, name: impl Name) -> ActiveSpan<'_> {
        let tick = Clock::ticks();
        match self.start(&name, Kind::Internal, tick) {
            Some(id) => ActiveSpan::new(self, id),
            None => self.root(&name, &SpanOptions::default(), tick),
        }
    }

    /// The same with a kind or another parent.
    pub fn span_with(&self, name: impl Name, options: &SpanOptions<'_>) -> ActiveSpan<'_> {
        let tick = Clock::ticks();
        let inside = match options.parent {
            None => self.start(&name, options.kind, tick),
            Some(_) => None,
        };
        match inside {
            Some(id) => ActiveSpan::new(self, id),
            None => self.root(&name, options, tick),
        }
    }

    /// Starts a span in the thread's open tree, if that is this tracer's.
    #[inline(always)]
    fn start(&self, name: &impl Name, kind: Kind, tick: u64) -> Option<SpanId> {
        let mut thread = this_thread();
        let tree = thread.tree_of(self.owner())?;
        let role = Role {
            kind,
            ..Role::new(name.symbol(tree.builder()), SiteId::NONE)
        };
        let started = tree.start(role, tick);
        drop(thread);
        if started.split_due {
            self.split();
        }
        Some(started.id)
    }

    /// Lets the finished spans of the thread's tree go.
    #[cold]
    #[inline(never)]
    fn split(&self) {
        let fragment = this_thread()
            .tree_of(self.owner())
            .and_then(OpenTree::split);
        if let Some(fragment) = fragment {
            self.inner.deliver(fragment);
        }
    }

    #[cold]
    #[inline(never)]
    fn root(&self, name: &impl Name, options: &SpanOptions<'_>, tick: u64) -> ActiveSpan<'_> {
        let root = self.begin(&mut this_thread(), name, options, tick);
        ActiveSpan::new(self, root)
    }

    fn begin(
        &self,
        thread: &mut Thread,
        name: &impl Name,
        options: &SpanOptions<'_>,
        tick: u64,
    ) -> SpanId {
        thread.look_for_fork();
        let parent = options
            .parent
            .cloned()
            .or_else(|| thread.context())
            .or_else(|| self.inner.parent.clone());
        let parent = parent.filter(Context::counts);
        let trace_id = parent
            .as_ref()
            .filter(|parent| parent.is_valid())
            .map_or_else(TraceId::random, |parent| parent.trace_id);
        let pipeline = &self.inner.pipeline;
        let sampled = pipeline.sampler().samples(trace_id, parent.as_ref());
        if sampled || self.inner.records_sampled_out() {
            let trace = (trace_id, sampled);
            let tree = self
                .inner
                .open(name, options.kind, parent.as_ref(), trace, tick);
            let root = tree.root_id();
            thread.enter(self.owner(), root, Recording::Tree(tree));
            root
        } else {
            pipeline.sample_out(1);
            let root = SpanId::next();
            let place = Context::local(trace_id, root, 0);
            thread.enter(0, root, Recording::Silent(place));
            root
        }
    }

    /// Tells the levels of different tracers apart.
    #[inline]
    fn owner(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }

    /// Where the next span of this thread would hang: what to send along with a request.
    pub fn current_context(&self) -> Option<Context> {
        this_thread().context()
    }
}

impl Inner {
    fn open(
        &self,
        name: &impl Name,
        kind: Kind,
        parent: Option<&Context>,
        (trace_id, is_sampled): (TraceId, bool),
        tick: u64,
    ) -> OpenTree {
        let origin = Origin {
            trace_id,
            parent,
            is_sampled,
            resource: self.pipeline.resource(),
            scope: &self.scope,
            limits: self.limits,
        };
        let mut builder = TreeBuilder::begin(&origin, tick);
        let role = Role {
            kind,
            ..Role::new(name.symbol(&mut builder), SiteId::NONE)
        };
        OpenTree::new(builder, self.hold_back_ticks, role, tick)
    }

    #[cold]
    fn leave(&self, level: Level) {
        if let Recording::Tree(tree) = level.recording {
            self.deliver(tree.finish());
        }
    }

    fn deliver(&self, tree: Arc<SpanTree>) {
        let sampled = tree
            .span(0)
            .is_some_and(|root| root.trace_flags() & SAMPLED != 0);
        if sampled || self.keep.keeps(&tree) {
            self.pipeline.offer_shared(tree);
        } else {
            self.pipeline.offer_sampled_out(tree);
        }
    }

    /// Whether somebody may want a tree that was sampled out.
    fn records_sampled_out(&self) -> bool {
        !self.keep.is_empty() || self.pipeline.wants_sampled_out()
    }
}

#[cfg(test)]
mod tests;
