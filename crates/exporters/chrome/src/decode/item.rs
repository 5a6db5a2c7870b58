//! One span as it was read, until its tree is built.

use std::borrow::Cow;
use std::sync::Arc;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::{SiteId, Symbol};
use hiq_core::resource::Scope;
use hiq_core::span::{Dropped, Kind, Status};
use hiq_core::tree::TreeBuilder;
use hiq_core::value::{Value, ValueRef};

use super::value::{each_field, text, uint, value};
use crate::decode::scan::unquoted;
use crate::keys;

/// A span, and what belongs to it.
#[derive(Debug)]
pub(super) struct Item {
    /// Its place among the spans of its track, by start.
    pub(super) number: u64,
    /// The number of the parent around it.
    pub(super) parent: Option<u64>,
    /// The number and the id of the outermost span around it: its own, where there is none.
    pub(super) root: (u64, SpanId),
    /// Which kind of tree it belongs to.
    pub(super) group: usize,
    pub(super) name: Name,
    pub(super) site: SiteId,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) kind: Kind,
    pub(super) said: Said,
    pub(super) events: Vec<EventItem>,
}

/// A name that is in the process-wide table, or one that has no place there.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Known(Symbol),
    Own(String),
}

/// An event of a span.
#[derive(Debug)]
pub(super) struct EventItem {
    pub(super) name: String,
    pub(super) time: u64,
    pub(super) said: EventSaid,
}

/// What the arguments of an instant or counter say.
#[derive(Debug, Default)]
pub(super) struct EventSaid {
    /// The span that it belongs to; invalid where the file does not say.
    pub(super) span: SpanId,
    /// When it happened, where that was not during the span.
    pub(super) time: Option<u64>,
    dropped: u32,
    pub(super) attributes: Vec<(String, Value)>,
}

/// What the arguments of an event say.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Invalid where the file has none.
    pub(super) id: SpanId,
    pub(super) parent_id: SpanId,
    pub(super) parent_is_remote: bool,
    pub(super) trace_id: Option<TraceId>,
    pub(super) flags: Option<u8>,
    pub(super) trace_state: Option<String>,
    pub(super) status: Status,
    pub(super) message: String,
    pub(super) dropped: Dropped,
    pub(super) scope: Option<Arc<Scope>>,
    pub(super) links: Vec<LinkItem>,
    pub(super) attributes: Vec<(String, Value)>,
}

/// A link of a span.
#[derive(Debug, Default)]
pub(super) struct LinkItem {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    trace_state: String,
    flags: u32,
    attributes: Vec<(String, Value)>,
    dropped: u32,
}

impl LinkItem {
    pub(super) fn to(trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            trace_id,
            span_id,
            ..Self::default()
        }
    }
}

impl Said {
    /// Reads the arguments of an event.
    pub(super) fn read(args: &[u8]) -> Self {
        let mut said = Self::default();
        let mut scope = ScopeSaid::default();
        each_field(args, &mut |key, raw| {
            if !said.field(&key, raw) && !scope.field(&key, raw) {
                said.attributes.push((key.into_owned(), value(raw, 0)));
            }
        });
        said.scope = scope.into_scope();
        said
    }

    /// Two empty texts, the usual case, are not compared: that took an eighth of the time in which a report of `VizTracer` is
    /// read.
    pub(super) fn has_trace_state(&self, state: &str) -> bool {
        match self.trace_state.as_deref() {
            None | Some("") => state.is_empty(),
            Some(own) => own == state,
        }
    }

    fn field(&mut self, key: &str, raw: &[u8]) -> bool {
        match key {
            keys::SPAN_ID => self.id = span_id(raw),
            keys::PARENT_ID => self.parent_id = span_id(raw),
            keys::PARENT_IS_REMOTE => self.parent_is_remote = raw == b"true",
            keys::TRACE_ID => self.trace_id = trace_id(raw),
            keys::TRACE_FLAGS => self.flags = u8::try_from(uint(raw)).ok(),
            keys::TRACE_STATE => self.trace_state = Some(owned_text(raw)),
            keys::STATUS => {
                self.status = match unquoted(raw) {
                    b"OK" => Status::Ok,
                    b"ERROR" => Status::Error,
                    _ => return false,
                }
            }
            keys::STATUS_MESSAGE => self.message = owned_text(raw),
            keys::LINKS => self.links = links(raw),
            _ => return self.dropped_field(key, raw),
        }
        true
    }

    fn dropped_field(&mut self, key: &str, raw: &[u8]) -> bool {
        let count = u32::try_from(uint(raw)).unwrap_or(u32::MAX);
        match keys::DROPPED.iter().position(|known| *known == key) {
            Some(0) => self.dropped.attributes = count,
            Some(1) => self.dropped.events = count,
            Some(_) => self.dropped.links = count,
            None => return false,
        }
        true
    }
}

/// The scope, in parts.
#[derive(Debug, Default)]
struct ScopeSaid {
    name: Option<String>,
    version: String,
    attributes: Vec<(String, Value)>,
}

impl ScopeSaid {
    fn field(&mut self, key: &str, raw: &[u8]) -> bool {
        match key {
            keys::SCOPE_NAME => self.name = Some(owned_text(raw)),
            keys::SCOPE_VERSION => self.version = owned_text(raw),
            keys::SCOPE_ATTRIBUTES => {
                self.attributes = pairs(raw);
                self.name.get_or_insert_default();
            }
            _ => return false,
        }
        true
    }

    fn into_scope(self) -> Option<Arc<Scope>> {
        let scope = Scope::new(&self.name?, &self.version);
        Some(Arc::new(scope.with_attributes(self.attributes)))
    }
}

impl Item {
    /// Puts it into `builder`, under the parent that is there.
    pub(super) fn add_to(&self, builder: &mut TreeBuilder, parent: Option<u32>) -> u32 {
        let said = &self.said;
        let name = match &self.name {
            Name::Known(symbol) => *symbol,
            Name::Own(name) => builder.symbol(name),
        };
        let index = builder.start_with_id(said.id, name, self.site, parent, self.start);
        builder.set_kind(index, self.kind);
        if said.status != Status::Unset {
            builder.set_status(index, said.status, &said.message);
        }
        for (key, value) in &said.attributes {
            let key = builder.symbol(key);
            builder.set_attribute(index, key, value.as_ref());
        }
        for event in &self.events {
            let name = builder.symbol(&event.name);
            let attributes = with_symbols(builder, &event.said.attributes);
            builder.add_event(index, name, event.time, attributes);
            builder.set_dropped_of_last_event(event.said.dropped);
        }
        for link in &said.links {
            let target = (link.trace_id, link.span_id);
            let attributes = with_symbols(builder, &link.attributes);
            builder.add_link(index, target, &link.trace_state, link.flags, attributes);
            builder.set_dropped_of_last_link(link.dropped);
        }
        if said.dropped != Dropped::default() {
            builder.set_dropped(index, said.dropped);
        }
        builder.end(index, self.end);
        index
    }
}

fn with_symbols<'v>(
    builder: &mut TreeBuilder,
    attributes: &'v [(String, Value)],
) -> Vec<(Symbol, ValueRef<'v>)> {
    let pairs = attributes
        .iter()
        .map(|(key, value)| (builder.symbol(key), value.as_ref()));
    pairs.collect()
}

impl EventSaid {
    /// Reads the arguments of an instant or counter. Those that are no object, as other tools write them, are one attribute.
    pub(super) fn read(args: &[u8]) -> Self {
        let mut said = Self::default();
        match args.first() {
            Some(b'{') => each_field(args, &mut |key, raw| match &*key {
                keys::SPAN_ID => said.span = span_id(raw),
                keys::TIME => said.time = Some(uint(unquoted(raw))),
                key if key == keys::DROPPED[0] => {
                    said.dropped = u32::try_from(uint(raw)).unwrap_or(u32::MAX);
                }
                _ => said.attributes.push((key.into_owned(), value(raw, 0))),
            }),
            None | Some(b'n') => {}
            Some(_) => said.attributes.push(("args".to_owned(), value(args, 0))),
        }
        said
    }
}

/// The fields of an object as attributes.
pub(super) fn pairs(raw: &[u8]) -> Vec<(String, Value)> {
    match value(raw, 0) {
        Value::Map(pairs) => pairs,
        _ => Vec::new(),
    }
}

fn links(raw: &[u8]) -> Vec<LinkItem> {
    let Value::Array(items) = value(raw, 0) else {
        return Vec::new();
    };
    let links = items.into_iter().map(|item| {
        let mut link = LinkItem::default();
        let Value::Map(fields) = item else {
            return link;
        };
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("trace_id", Value::Str(id)) => {
                    link.trace_id = trace_id(id.as_bytes()).unwrap_or_default();
                }
                ("span_id", Value::Str(id)) => link.span_id = span_id(id.as_bytes()),
                ("trace_state", Value::Str(state)) => link.trace_state = state,
                ("flags", Value::Int(flags)) => link.flags = u32::try_from(flags).unwrap_or(0),
                ("attributes", Value::Map(attributes)) => link.attributes = attributes,
                (key, Value::Int(count)) if key == keys::DROPPED[0] => {
                    link.dropped = u32::try_from(count).unwrap_or(u32::MAX);
                }
                _ => {}
            }
        }
        link
    });
    links.collect()
}

fn span_id(raw: &[u8]) -> SpanId {
    let digits = std::str::from_utf8(unquoted(raw)).unwrap_or_default();
    digits.parse().unwrap_or(SpanId::INVALID)
}

fn trace_id(raw: &[u8]) -> Option<TraceId> {
    std::str::from_utf8(unquoted(raw)).ok()?.parse().ok()
}

/// A text, or another value as it is written.
pub(super) fn owned_text(raw: &[u8]) -> String {
    let text: Cow<'_, str> = text(unquoted(raw));
    text.into_owned()
}
