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

use std::cell::RefCell;
use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{MAX_HELD_BACK_NANOS, OpenTree};
use crate::config::Settings;
use crate::context::{Context, SAMPLED};
use crate::fork;
use crate::id::{SpanId, TraceId, reseed_thread};
use crate::intern::{SiteId, Symbol, symbol};
use crate::pipeline::Pipeline;
use crate::pool;
use crate::resource::Scope;
use crate::sample::KeepRules;
use crate::span::{Kind, Status};
use crate::thread;
use crate::time::Clock;
use crate::tree::{Role, SpanLimits, SpanTree, TreeBuilder, TreeStart};
use crate::value::{Value, ValueRef};

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
    #[inline]
    pub fn span(&self, name: impl Name) -> ActiveSpan<'_> {
        self.span_with(name, &SpanOptions::default())
    }

    /// The same with a kind or another parent.
    #[inline]
    pub fn span_with(&self, name: impl Name, options: &SpanOptions<'_>) -> ActiveSpan<'_> {
        let tick = Clock::ticks();
        THREAD.with_borrow_mut(|thread| {
            let inside = options.parent.is_none() && thread.belongs_to(&self.inner);
            match thread.tree.as_mut().filter(|_| inside) {
                Some(tree) => {
                    let name = name.symbol(tree.builder());
                    let role = Role {
                        kind: options.kind,
                        ..Role::new(name, SiteId::NONE)
                    };
                    let started = tree.start(role, tick);
                    let fragment = started.split_due.then(|| tree.split()).flatten();
                    if let Some(fragment) = fragment {
                        self.inner.deliver(fragment);
                    }
                    ActiveSpan::new(self, Part::Inside(started.id))
                }
                None => self.root(thread, name, options, tick),
            }
        })
    }

    #[cold]
    fn root(
        &self,
        thread: &mut Thread,
        name: impl Name,
        options: &SpanOptions<'_>,
        tick: u64,
    ) -> ActiveSpan<'_> {
        thread.look_for_fork();
        let parent = options
            .parent
            .cloned()
            .or_else(|| thread.context())
            .or_else(|| self.inner.parent.clone());
        let parent = parent.filter(Context::is_valid);
        let trace_id = parent
            .as_ref()
            .map_or_else(TraceId::random, |parent| parent.trace_id);
        let sampled = self
            .inner
            .pipeline
            .sampler()
            .samples(trace_id, parent.as_ref());
        let outer = if sampled || !self.inner.keep.is_empty() {
            let tree = self
                .inner
                .open(name, options.kind, parent, (trace_id, sampled), tick);
            Outer {
                tree: thread.tree.replace(Box::new(tree)),
                owner: thread.owner,
                silent: thread.silent.take(),
            }
        } else {
            self.inner.pipeline.sample_out(1);
            let context = Context::local(trace_id, SpanId::next(), 0);
            Outer {
                tree: thread.tree.take(),
                owner: thread.owner,
                silent: thread.silent.replace(context),
            }
        };
        thread.owner = Arc::as_ptr(&self.inner) as usize;
        ActiveSpan::new(self, Part::Root(Box::new(outer)))
    }

    /// Where the next span of this thread would hang: what to send along with a request.
    pub fn current_context(&self) -> Option<Context> {
        THREAD.with_borrow(Thread::context)
    }
}

impl Inner {
    fn open(
        &self,
        name: impl Name,
        kind: Kind,
        parent: Option<Context>,
        (trace_id, sampled): (TraceId, bool),
        tick: u64,
    ) -> OpenTree {
        let mut start = TreeStart::new(
            trace_id,
            Arc::clone(self.pipeline.resource()),
            Arc::clone(&self.scope),
        );
        start.trace_flags = if sampled { SAMPLED } else { 0 };
        start.thread = thread::Thread::current();
        start.scale = Clock::scale_at(tick);
        if let Some(parent) = parent {
            start.parent = parent.span_id;
            start.parent_is_remote = parent.is_remote;
            start.trace_flags |= parent.trace_flags & !SAMPLED;
            start.trace_state = parent.trace_state;
        }
        let mut builder = match pool::take() {
            Some(used) => TreeBuilder::reusing(used, start, self.limits),
            None => TreeBuilder::new(start, self.limits),
        };
        let role = Role {
            kind,
            ..Role::new(name.symbol(&mut builder), SiteId::NONE)
        };
        OpenTree::new(builder, self.hold_back_ticks, role, tick)
    }

    fn deliver(&self, tree: SpanTree) {
        let sampled = tree
            .span(0)
            .is_some_and(|root| root.trace_flags() & SAMPLED != 0);
        if sampled || self.keep.keeps(&tree) {
            self.pipeline.offer(tree);
        } else {
            self.pipeline.sample_out(tree.len() as u64);
        }
    }
}

/// What this thread is recording.
#[derive(Debug)]
struct Thread {
    tree: Option<Box<OpenTree>>,
    /// The tracer that the tree, or the silence, belongs to.
    owner: usize,
    /// Set inside a root that was sampled out: nothing is recorded, the decision travels on.
    silent: Option<Context>,
    generation: u32,
}

thread_local! {
    static THREAD: RefCell<Thread> =
        const { RefCell::new(Thread { tree: None, owner: 0, silent: None, generation: 0 }) };
}

impl Thread {
    /// True when a span of this tracer goes into the open tree.
    #[inline]
    fn belongs_to(&self, tracer: &Arc<Inner>) -> bool {
        self.owner == Arc::as_ptr(tracer) as usize && self.tree.is_some()
    }

    fn context(&self) -> Option<Context> {
        match &self.tree {
            Some(tree) => {
                let builder = tree.peek();
                let mut context =
                    Context::local(builder.trace_id(), tree.current_id(), builder.trace_flags());
                context.trace_state.push_str(builder.trace_state());
                Some(context)
            }
            None => self.silent.clone(),
        }
    }

    /// In a forked child the open tree is the parent process's to export; its innermost span stays the parent of what follows.
    fn look_for_fork(&mut self) {
        let generation = fork::generation();
        if self.generation != generation {
            if self.generation != 0 {
                reseed_thread();
                let inherited = self.context();
                std::mem::forget(self.tree.take());
                self.silent = None;
                if let Some(mut context) = inherited {
                    context.is_remote = true;
                    self.silent = Some(context);
                }
            }
            self.generation = generation;
        }
    }
}

/// An open span of the current thread. Ends when dropped, which must happen in this thread, innermost first.
#[derive(Debug)]
#[must_use = "a span that is dropped at once measures nothing"]
pub struct ActiveSpan<'t> {
    tracer: &'t Tracer,
    part: Part,
    // Bound to its thread, like the tree that it stands in.
    not_send: PhantomData<*const ()>,
}

#[derive(Debug)]
enum Part {
    Inside(SpanId),
    /// With what the thread was recording before.
    Root(Box<Outer>),
}

#[derive(Debug)]
struct Outer {
    tree: Option<Box<OpenTree>>,
    owner: usize,
    silent: Option<Context>,
}

impl<'t> ActiveSpan<'t> {
    #[inline]
    fn new(tracer: &'t Tracer, part: Part) -> Self {
        Self {
            tracer,
            part,
            not_send: PhantomData,
        }
    }

    /// Sets an attribute; the last value of a key counts.
    #[inline]
    pub fn set_attribute<'v>(
        &mut self,
        key: impl Name,
        value: impl Into<ValueRef<'v>>,
    ) -> &mut Self {
        let value = value.into();
        self.write(|builder, span| {
            let key = key.symbol(builder);
            builder.set_attribute(span, key, value);
        });
        self
    }

    /// Sets several attributes at once, which is cheaper than one by one.
    #[inline]
    pub fn set_attributes<'v, K: Name>(
        &mut self,
        attributes: impl IntoIterator<Item = (K, ValueRef<'v>)>,
    ) -> &mut Self {
        self.write(|builder, span| {
            for (key, value) in attributes {
                let key = key.symbol(builder);
                builder.set_attribute(span, key, value);
            }
        });
        self
    }

    /// Adds an event that happens now.
    pub fn add_event(&mut self, name: impl Name, attributes: &[(&str, Value)]) -> &mut Self {
        let tick = Clock::ticks();
        self.write(|builder, span| {
            let name = name.symbol(builder);
            let keys: Vec<Symbol> = attributes
                .iter()
                .map(|(key, _)| builder.symbol(key))
                .collect();
            let values = attributes.iter().map(|(_, value)| value.as_ref());
            builder.add_event(span, name, tick, keys.into_iter().zip(values));
        });
        self
    }

    /// Sets the status. [`Status::Ok`] is final; only an error keeps its message.
    pub fn set_status(&mut self, status: Status, message: &str) -> &mut Self {
        self.write(|builder, span| builder.set_status(span, status, message));
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
        self.write(|builder, span| {
            builder.add_link(span, (to.trace_id, to.span_id), &to.trace_state, flags, []);
        });
        self
    }

    /// Where children of this span hang: for threads and for requests to other services.
    pub fn context(&self) -> Option<Context> {
        THREAD.with_borrow(|thread| {
            let mut context = thread.context()?;
            if let (Part::Inside(id), Some(_)) = (&self.part, &thread.tree) {
                context.span_id = *id;
            }
            Some(context)
        })
    }

    /// Writes to the span while its tree is the thread's; after an inner root has taken over, writes wait for nothing and are lost.
    #[inline]
    fn write(&mut self, then: impl FnOnce(&mut TreeBuilder, u32)) {
        THREAD.with_borrow_mut(|thread| {
            if !thread.belongs_to(&self.tracer.inner) {
                return;
            }
            let Some(tree) = thread.tree.as_mut() else {
                return;
            };
            let index = match &self.part {
                Part::Inside(id) if tree.current_id() == *id => Some(tree.current()),
                Part::Inside(id) => tree.index_of_open(*id),
                Part::Root(_) => Some(tree.root()),
            };
            if let Some(index) = index {
                then(tree.builder(), index);
            }
        });
    }
}

impl Drop for ActiveSpan<'_> {
    #[inline]
    fn drop(&mut self) {
        let tick = Clock::ticks();
        let finished = THREAD.with_borrow_mut(|thread| match &mut self.part {
            Part::Inside(id) => {
                if let Some(tree) = thread.tree.as_mut() {
                    // Inside a tree only the root completes it.
                    let _ = tree.end(*id, tick);
                }
                None
            }
            Part::Root(outer) => {
                let tree = std::mem::replace(&mut thread.tree, outer.tree.take());
                thread.owner = outer.owner;
                thread.silent = outer.silent.take();
                tree
            }
        });
        if let Some(mut tree) = finished {
            let root = tree.root_id();
            let _ = tree.end(root, tick);
            self.tracer.inner.deliver(tree.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::TreeBatch;
    use crate::config::ConfigError;
    use crate::export::{Deadline, Exporter, Progress};
    use crate::ledger::Custody;
    use crate::sample::{RootSampler, Sampler};
    use std::sync::Mutex;
    use std::time::Duration;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<Arc<SpanTree>>>>);

    impl Exporter<TreeBatch> for Kept {
        fn export(
            &mut self,
            batch: Arc<TreeBatch>,
            custody: Custody,
            _deadline: &Deadline,
        ) -> Progress {
            self.0.lock().unwrap().extend(batch.trees().iter().cloned());
            custody.delivered();
            Progress::Done
        }
    }

    fn tracer(sampler: Sampler) -> (Tracer, Kept) {
        let kept = Kept::default();
        let exporter = kept.clone();
        let build =
            move || Ok::<Box<dyn Exporter<TreeBatch>>, ConfigError>(Box::new(exporter.clone()));
        (
            Tracer::new(
                Pipeline::builder()
                    .sampler(sampler)
                    .exporter("kept", build)
                    .build(),
            ),
            kept,
        )
    }

    const ALWAYS: Sampler = Sampler::new(RootSampler::AlwaysOn, true);

    /// (name, parent's name) of every span that arrived, sorted; checks that the ledger balances.
    fn edges(tracer: &Tracer, kept: &Kept) -> Vec<(String, Option<String>)> {
        assert!(
            tracer
                .pipeline()
                .flush(Duration::from_secs(10))
                .is_complete()
        );
        let stats = tracer.pipeline().stats();
        assert!(stats.ledger("kept").unwrap().balances());
        let trees = kept.0.lock().unwrap();
        let all: Vec<_> = trees.iter().flat_map(|tree| tree.spans()).collect();
        let name_of = |id| {
            all.iter()
                .find(|span| span.id() == id)
                .map(|span| span.name().as_str().to_owned())
        };
        let mut edges: Vec<_> = all
            .iter()
            .map(|span| {
                (
                    span.name().as_str().to_owned(),
                    span.parent_id().and_then(name_of),
                )
            })
            .collect();
        edges.sort();
        edges
    }

    fn edge(name: &str, parent: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), parent.map(str::to_owned))
    }

    #[test]
    fn spans_of_a_thread_nest_and_other_threads_hang_under_the_context_they_were_given() {
        let (tracer, kept) = tracer(ALWAYS);
        {
            let root = tracer.span("root");
            let context = root.context();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _work =
                        tracer.span_with("work", &SpanOptions::default().under(context.as_ref()));
                    let _inner = tracer.span("inner");
                });
            });
            let _child = tracer.span("child");
        }
        let expected = [
            edge("child", Some("root")),
            edge("inner", Some("work")),
            edge("root", None),
            edge("work", Some("root")),
        ];
        assert_eq!(edges(&tracer, &kept), expected);
    }

    #[test]
    fn attributes_events_and_errors_arrive_on_their_span() {
        static KEY: Key = Key::new("tracer.test.key");
        let (tracer, kept) = tracer(ALWAYS);
        {
            let mut root = tracer.span_with("root", &SpanOptions::kind(Kind::Server));
            {
                let mut child = tracer.span("child");
                child.set_attribute(&KEY, 5_i64).set_attribute("text", "t");
                root.set_attribute("late", true);
                child.record_error(&std::io::Error::other("disk full"));
            }
        }
        tracer.pipeline().flush(Duration::from_secs(10));
        let trees = kept.0.lock().unwrap();
        let (root, child) = (trees[0].span(0).unwrap(), trees[0].span(1).unwrap());
        let read = |span: crate::span::Span<'_>| -> Vec<_> {
            span.own_attributes()
                .map(|(key, value)| (key.as_str().to_owned(), value.to_value()))
                .collect()
        };
        assert_eq!(read(root), [("late".to_owned(), Value::Bool(true))]);
        assert_eq!(root.kind(), Kind::Server);
        assert_eq!(
            read(child),
            [
                ("tracer.test.key".to_owned(), Value::Int(5)),
                ("text".to_owned(), "t".into())
            ]
        );
        assert_eq!(
            (child.status(), child.status_message().unwrap().as_str()),
            (Status::Error, "disk full")
        );
        assert_eq!(child.events().next().unwrap().name().as_str(), "exception");
    }

    #[test]
    fn a_sampled_out_root_silences_what_is_inside_and_passes_the_decision_on() {
        let (tracer, kept) = tracer(Sampler::new(RootSampler::AlwaysOff, true));
        {
            let root = tracer.span("root");
            let context = root.context().unwrap();
            assert!(context.is_valid() && !context.is_sampled());
            let inner = tracer.span("inner");
            assert_eq!(inner.context().unwrap().trace_id, context.trace_id);
        }
        assert!(tracer.current_context().is_none());
        assert_eq!(edges(&tracer, &kept), []);
    }

    #[test]
    fn a_remote_parent_decides_on_sampling_and_is_named() {
        let (tracer, kept) = tracer(Sampler::new(RootSampler::AlwaysOff, true));
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let remote = Context::extract(|name| (name == "traceparent").then_some(header));
        drop(tracer.span_with(
            "handler",
            &SpanOptions::kind(Kind::Server).under(remote.as_ref()),
        ));
        tracer.pipeline().flush(Duration::from_secs(10));
        let trees = kept.0.lock().unwrap();
        let span = trees[0].span(0).unwrap();
        assert_eq!(span.parent_id().unwrap().to_string(), "b7ad6b7169203331");
        assert!(span.has_remote_parent());
    }

    #[test]
    fn a_root_that_never_ends_lets_its_finished_spans_go() {
        let (tracer, kept) = tracer(ALWAYS);
        let root = tracer.span("root");
        for _ in 0..10_000 {
            let _call = tracer.span("call");
        }
        tracer.pipeline().flush(Duration::from_secs(10));
        let before_its_end: usize = kept.0.lock().unwrap().iter().map(|tree| tree.len()).sum();
        assert!(
            (8_000..10_000).contains(&before_its_end),
            "{before_its_end}"
        );
        drop(root);
        let edges = edges(&tracer, &kept);
        assert_eq!(
            edges
                .iter()
                .filter(|edge| edge.1.as_deref() == Some("root"))
                .count(),
            10_000
        );
    }
}
