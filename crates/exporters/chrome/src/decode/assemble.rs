//! From events in the order of their track and time to trees: what lies inside hangs under what lies around it.
#![allow(
    clippy::vec_box,
    clippy::borrowed_box,
    reason = "spans are moved about and sorted: in boxes that costs a tenth less"
)]

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::{SiteId, site, symbol};
use hiq_core::resource::{Resource, Scope};
use hiq_core::thread::Thread;
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::Value;

use super::item::{EventItem, EventSaid, Item, LinkItem, Name, Said};
use super::store::{Event, UNNUMBERED, What};
use super::value::text;
use crate::counter;
use crate::encode_json::kind_of;

/// Spans that leave together. Only those that are open, one in another, are kept beyond that.
const FRAGMENT_SPANS: usize = 4_096;
/// A child that sticks out by so little was measured with another clock reading than its parent.
const CLOCK_NANOS: u64 = 2;
/// Flows, and repeated events of forked processes, that are remembered.
const MAX_REMEMBERED: usize = 1 << 20;
/// Spans that have just ended, and kinds of trees, among which something is looked for.
const RECENT: usize = 64;
/// Names that get a site of their own: sites live as long as the process.
const MAX_SITES: usize = 1 << 14;

/// What a row of the file is.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) resource: Arc<Resource>,
    pub(crate) thread: Thread,
    /// Another process has a thread of the same number: one was forked from the other and may repeat its events.
    pub(crate) shares_thread: Option<u64>,
    /// Attributes of its roots.
    pub(crate) of_roots: Vec<(String, Value)>,
}

/// What holds for the whole file.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Unix nanoseconds of time zero.
    pub(crate) base: i128,
    /// Where the file does not say which trace a span is of.
    pub(crate) trace_id: TraceId,
    pub(crate) scope: Arc<Scope>,
    /// `VizTracer` writes a span when it ends: of two with equal times the later is the parent.
    pub(crate) is_viztracer: bool,
}

/// Builds trees.
pub(crate) struct Assembler<'s> {
    about: About,
    rows: Vec<Row>,
    sink: &'s mut dyn FnMut(Arc<SpanTree>),
    row: Option<u32>,
    /// Spans around the current time, the inner ones last.
    open: Vec<Box<Item>>,
    /// In boxes, as they are moved about and sorted.
    finished: Vec<Box<Item>>,
    groups: Vec<Group>,
    next_number: u64,
    names: Vec<Option<(Name, SiteId)>>,
    sites: usize,
    /// Spans with equal times, in the file's order; behind them events whose memory the next ones take.
    tied: Vec<Event>,
    tied_spans: usize,
    flows: HashMap<Box<[u8]>, (TraceId, SpanId)>,
    seen: HashMap<u64, u32>,
    hasher: RandomState,
}

/// What the trees of some spans have in common.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    trace_id: TraceId,
    remote_parent: SpanId,
    flags: u8,
    trace_state: String,
}

impl<'s> Assembler<'s> {
    pub(crate) fn new(
        about: About,
        rows: Vec<Row>,
        sink: &'s mut dyn FnMut(Arc<SpanTree>),
    ) -> Self {
        Self {
            about,
            rows,
            sink,
            row: None,
            open: Vec::new(),
            finished: Vec::new(),
            groups: Vec::new(),
            next_number: 0,
            names: Vec::new(),
            sites: 0,
            tied: Vec::new(),
            tied_spans: 0,
            flows: HashMap::new(),
            seen: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Takes the next event.
    #[expect(clippy::unnecessary_wraps, reason = "what the store hands events to")]
    pub(crate) fn take(&mut self, event: &Event) -> io::Result<()> {
        if !self.about.is_viztracer {
            self.place(event);
            return Ok(());
        }
        let is_tied = self.tied[..self.tied_spans].last().is_some_and(|last| {
            event.what == What::Span
                && (last.track, last.start, last.end) == (event.track, event.start, event.end)
        });
        if !is_tied || self.tied_spans == FRAGMENT_SPANS {
            self.place_tied();
        }
        if event.what == What::Span {
            self.tie(event);
        } else {
            self.place(event);
        }
        Ok(())
    }

    /// Lets go of everything.
    pub(crate) fn finish(mut self) {
        self.place_tied();
        self.end_row();
    }

    fn tie(&mut self, event: &Event) {
        match self.tied.get_mut(self.tied_spans) {
            Some(used) => used.copy_from(event),
            None => self.tied.push(event.clone()),
        }
        self.tied_spans += 1;
    }

    fn place_tied(&mut self) {
        let tied = std::mem::take(&mut self.tied);
        for event in tied[..self.tied_spans].iter().rev() {
            self.place(event);
        }
        self.tied = tied;
        self.tied_spans = 0;
    }

    fn place(&mut self, event: &Event) {
        if self.row != Some(event.track) {
            self.end_row();
            self.row = Some(event.track);
        }
        match event.what {
            What::Span | What::Unfinished => self.span(event),
            What::Instant | What::Counter => self.point(event),
            What::FlowStart | What::FlowEnd => self.flow(event),
        }
    }

    fn row(&self) -> &Row {
        &self.rows[self.row.unwrap_or_default() as usize]
    }

    fn time(&self, relative: i64) -> u64 {
        let time = self.about.base + i128::from(relative);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }

    fn span(&mut self, event: &Event) {
        if self.is_repeated(event) {
            return;
        }
        let mut said = Said::read(&event.args);
        if event.what == What::Unfinished {
            let mark = ("hiq.unfinished".to_owned(), Value::Bool(true));
            said.attributes.push(mark);
        }
        self.add(event, said);
    }

    fn add(&mut self, event: &Event, mut said: Said) {
        let (start, mut end) = (self.time(event.start), self.time(event.end));
        let is_ours = said.id.is_valid();
        self.end_before(start, said.parent_id);
        let parent = if is_ours {
            let is_parent = |item: &&Box<Item>| {
                item.said.id == said.parent_id && item.start <= start && start <= item.end
            };
            let just_ended = self.finished.iter().rev().take(RECENT);
            self.open.iter().rev().chain(just_ended).find(is_parent)
        } else {
            let reaches_around = |item: &&Box<Item>| item.end + CLOCK_NANOS >= end;
            self.open.iter().rev().find(reaches_around)
        };
        let parent = parent.filter(|_| !said.parent_is_remote);
        let around = parent.map(|parent| (parent.number, parent.group, parent.said.id, parent.end));
        let root = parent.map(|parent| parent.root);
        let scope = parent.and_then(|parent| parent.said.scope.clone());
        let group = match around {
            Some((_, group, _, _)) if self.is_of_trace(group, &said) => group,
            _ => self.group_of(&said),
        };
        if !is_ours {
            said.id = SpanId::next();
            if let Some((_, _, parent_id, parent_end)) = around {
                said.parent_id = parent_id;
                end = end.min(parent_end.max(start));
            } else {
                said.attributes.extend_from_slice(&self.row().of_roots);
            }
        }
        if said.scope.is_none() {
            let of_file = || {
                if is_ours {
                    Arc::default()
                } else {
                    Arc::clone(&self.about.scope)
                }
            };
            said.scope = Some(scope.unwrap_or_else(of_file));
        }
        let kind = kind_of(&event.category);
        let (name, site) = self.name_of(event);
        if kind.is_none() && !event.category.is_empty() && !is_function(&event.category) {
            let category = Value::from(text(&event.category).into_owned());
            said.attributes
                .push(("chrome.category".to_owned(), category));
        }
        self.next_number += 1;
        self.open.push(Box::new(Item {
            number: self.next_number,
            parent: around.map(|(number, ..)| number),
            root: root.unwrap_or((self.next_number, said.id)),
            group,
            name,
            site,
            start,
            end,
            kind: kind.unwrap_or_default(),
            said,
            events: Vec::new(),
        }));
    }

    /// Ends what is over at `time`; `parent` may begin its last child at the very end.
    fn end_before(&mut self, time: u64, parent: SpanId) {
        while let Some(top) = self.open.last() {
            let is_over = top.end < time
                || (top.end == time && !(parent.is_valid() && top.said.id == parent));
            if !is_over {
                break;
            }
            self.finished.extend(self.open.pop());
            if self.finished.len() >= FRAGMENT_SPANS + RECENT {
                self.let_go(RECENT);
            }
        }
    }

    /// An instant, or a sample of a counter: an event of the span around it, or a span without length.
    fn point(&mut self, event: &Event) {
        let time = self.time(event.start);
        let mut said = EventSaid::read(&event.args);
        if event.what == What::Counter {
            let mark = (counter::MARK.to_owned(), Value::Bool(true));
            said.attributes.push(mark);
        }
        self.end_before(time.saturating_sub(1), SpanId::INVALID);
        let name = text(&event.name).into_owned();
        let is_owner = |item: &&mut Box<Item>| {
            if said.span.is_valid() {
                item.said.id == said.span
            } else {
                item.start <= time && time <= item.end
            }
        };
        // One that ended a moment ago may still be here.
        let just_ended = self.finished.iter_mut().rev().take(RECENT);
        match self.open.iter_mut().rev().chain(just_ended).find(is_owner) {
            Some(owner) => owner.events.push(EventItem {
                name,
                time: said.time.unwrap_or(time),
                said,
            }),
            None => self.add(
                event,
                Said {
                    attributes: said.attributes,
                    ..Said::default()
                },
            ),
        }
    }

    /// A flow's two ends become a link, on whichever is read later.
    fn flow(&mut self, event: &Event) {
        let time = self.time(event.start);
        let is_around = |item: &&mut Box<Item>| item.start <= time && time <= item.end;
        let Some(place) = self.open.iter_mut().rev().find(is_around) else {
            return;
        };
        let own = (self.groups[place.group].trace_id, place.said.id);
        let key = event.name.as_slice();
        if let Some(other) = self.flows.get(key) {
            if *other != own {
                place.said.links.push(LinkItem::to(other.0, other.1));
            }
        } else if self.flows.len() < MAX_REMEMBERED {
            self.flows.insert(key.into(), own);
        }
    }

    /// A child that was forked without exec writes its parent's earlier events again, under its own number.
    fn is_repeated(&mut self, event: &Event) -> bool {
        let Some(thread) = self.row().shares_thread else {
            return false;
        };
        let hash = self
            .hasher
            .hash_one((thread, event.start, event.end, &event.name));
        match self.seen.get(&hash) {
            Some(track) => *track != event.track,
            None if self.seen.len() < 4 * MAX_REMEMBERED => {
                self.seen.insert(hash, event.track);
                false
            }
            None => false,
        }
    }

    fn is_of_trace(&self, group: usize, said: &Said) -> bool {
        let own = said.trace_id;
        own.is_none_or(|id| id == self.groups[group].trace_id)
    }

    fn group_of(&mut self, said: &Said) -> usize {
        let group = Group {
            trace_id: said.trace_id.unwrap_or(self.about.trace_id),
            remote_parent: if said.parent_is_remote {
                said.parent_id
            } else {
                SpanId::INVALID
            },
            flags: said.flags.unwrap_or(1),
            trace_state: said.trace_state.clone().unwrap_or_default(),
        };
        let newest = self.groups.len().saturating_sub(RECENT);
        let recent = &self.groups[newest..];
        if let Some(known) = recent.iter().rposition(|known| *known == group) {
            return newest + known;
        }
        self.groups.push(group);
        self.groups.len() - 1
    }

    fn end_row(&mut self) {
        while let Some(item) = self.open.pop() {
            self.finished.push(item);
        }
        if self.row.is_some() {
            self.let_go(0);
        }
    }

    /// Builds trees of what is finished, but for the `kept` spans that ended last.
    fn let_go(&mut self, kept: usize) {
        let leaving = self.finished.len().saturating_sub(kept);
        let rest = self.finished.split_off(leaving);
        let mut leaving = std::mem::replace(&mut self.finished, rest);
        let mut roots: Vec<_> = leaving
            .iter()
            .filter(|item| item.parent.is_none())
            .map(|item| item.number)
            .collect();
        roots.sort_unstable();
        // The root that stays, after those that leave with theirs: `None` is less.
        let left_root = |item: &Item| {
            let stays = roots.binary_search(&item.root.0).is_err();
            stays.then_some(item.root)
        };
        leaving.sort_by_cached_key(|item| (item.group, left_root(item), item.number));
        let is_one_tree = |one: &Box<Item>, other: &Box<Item>| {
            one.group == other.group && left_root(one) == left_root(other)
        };
        for items in leaving.chunk_by(is_one_tree) {
            let root = left_root(&items[0]).map_or(SpanId::INVALID, |(_, id)| id);
            let tree = self.tree(items, items[0].group, root);
            (self.sink)(Arc::new(tree));
        }
        self.forget_groups();
    }

    /// Keeps those groups that a span here is of.
    fn forget_groups(&mut self) {
        let mut groups = Vec::new();
        let mut moved = HashMap::new();
        for item in self.finished.iter_mut().chain(&mut self.open) {
            item.group = *moved.entry(item.group).or_insert_with(|| {
                groups.push(self.groups[item.group].clone());
                groups.len() - 1
            });
        }
        self.groups = groups;
    }

    fn tree(&self, items: &[Box<Item>], group: usize, root: SpanId) -> SpanTree {
        let (row, group) = (self.row(), &self.groups[group]);
        let first = items.first();
        let scope = first.and_then(|item| item.said.scope.as_ref());
        let scope = scope.unwrap_or(&self.about.scope);
        let mut start =
            TreeStart::new(group.trace_id, Arc::clone(&row.resource), Arc::clone(scope));
        start.parent_is_remote = group.remote_parent.is_valid();
        start.parent = if start.parent_is_remote {
            group.remote_parent
        } else {
            first.map_or(SpanId::INVALID, |item| item.said.parent_id)
        };
        start.trace_flags = group.flags;
        start.trace_state.clone_from(&group.trace_state);
        start.thread = row.thread;
        start.root = root;
        let tree_parent = start.parent;
        let mut builder = TreeBuilder::new(start, SpanLimits::UNLIMITED);
        // Side by side, they are searched without a look at the items.
        let numbers: Vec<_> = items.iter().map(|item| item.number).collect();
        for item in items {
            let parent = (item.parent).and_then(|parent| numbers.binary_search(&parent).ok());
            let parent = parent.and_then(|parent| u32::try_from(parent).ok());
            let index = item.add_to(&mut builder, parent);
            if parent.is_none() && item.said.parent_id != tree_parent {
                builder.set_outer_parent(index, item.said.parent_id);
            }
            let own_flags = item.said.flags.unwrap_or(1);
            if own_flags != group.flags {
                builder.set_trace_flags(index, own_flags);
            }
            if !item.said.has_trace_state(&group.trace_state) {
                let own_state = item.said.trace_state.as_deref().unwrap_or_default();
                builder.set_trace_state(index, own_state);
            }
            if let Some(own) = item
                .said
                .scope
                .as_ref()
                .filter(|own| !Arc::ptr_eq(own, scope))
            {
                builder.set_scope(index, own);
            }
        }
        builder.finish()
    }

    /// The name of a span, and where the function stands that it names.
    fn name_of(&mut self, event: &Event) -> (Name, SiteId) {
        let number = event.name_number as usize;
        if event.name_number != UNNUMBERED
            && let Some(Some(known)) = self.names.get(number)
        {
            return known.clone();
        }
        let name = text(&event.name).into_owned();
        let site = if is_function(&event.category) && self.sites < MAX_SITES {
            self.sites += 1;
            site_of(&name)
        } else {
            SiteId::NONE
        };
        let name = symbol(&name).map_or(Name::Own(name), Name::Known);
        if event.name_number != UNNUMBERED {
            if self.names.len() <= number {
                self.names.resize(number + 1, None);
            }
            self.names[number] = Some((name.clone(), site));
        }
        (name, site)
    }
}

/// `VizTracer`'s category of functions: upper case when it saves from inside the program.
fn is_function(category: &[u8]) -> bool {
    category.eq_ignore_ascii_case(b"fee")
}

/// `function (file:line)` of Python, or the name of a function in C.
fn site_of(name: &str) -> SiteId {
    let place = name.strip_suffix(')').and_then(|rest| {
        let (function, place) = rest.rsplit_once(" (")?;
        let (file, line) = place.rsplit_once(':')?;
        Some((function, file, line.parse::<i64>().ok()?))
    });
    match place {
        Some((function, file, line)) => site([
            ("code.function.name", Value::from(function)),
            ("code.file.path", Value::from(file)),
            ("code.line.number", Value::Int(line)),
        ]),
        None => site([("code.function.name", Value::from(name))]),
    }
}
