//! From spans as Zipkin has them to fragments: by local endpoint and scope, with what tags say in its place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use hiq_core::decode::{LooseAttributes, LooseSpan, hand_out};
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Kind, Status};
use hiq_core::tree::SpanTree;
use hiq_core::value::{Value, ValueRef};

use super::model::{EndpointIn, SpanIn};
use super::words;
use crate::endpoint::{Endpoint, Remote};
use crate::keys::{attribute, tag};

/// Spans that are held at most.
const MAX_SPANS: usize = 16_384;
/// Resources and scopes that are remembered at most: a hostile payload has one for each span.
const MAX_ORIGINS: usize = 4_096;

type Scoped<'p> = (Arc<Scope>, LooseSpan<'p>);

/// Spans that wait to become fragments.
pub(super) struct Collect<'p, 's> {
    sink: &'s mut dyn FnMut(Arc<SpanTree>),
    /// The place of each local endpoint in `spans`.
    places: HashMap<EndpointIn<'static>, usize>,
    spans: Vec<(Arc<Resource>, Vec<Scoped<'p>>)>,
    scopes: HashMap<(String, String), Arc<Scope>>,
    held: usize,
}

impl<'p, 's> Collect<'p, 's> {
    pub(super) fn new(sink: &'s mut dyn FnMut(Arc<SpanTree>)) -> Self {
        Self {
            sink,
            places: HashMap::new(),
            spans: Vec::new(),
            scopes: HashMap::new(),
            held: 0,
        }
    }

    pub(super) fn add(&mut self, mut span: SpanIn<'p>) {
        let scope = self.scope(&mut span);
        let place = self.place(&span.local);
        self.spans[place].1.push((scope, loose(span)));
        self.held += 1;
        if self.held >= MAX_SPANS {
            self.hand_out();
        }
    }

    /// Hands out the fragments of all that is held.
    pub(super) fn hand_out(&mut self) {
        for (resource, spans) in &mut self.spans {
            hand_out(resource, spans.drain(..), &mut *self.sink);
        }
        self.held = 0;
        if self.spans.len() > MAX_ORIGINS || self.scopes.len() > MAX_ORIGINS {
            self.spans.clear();
            self.places.clear();
            self.scopes.clear();
        }
    }

    fn place(&mut self, local: &EndpointIn<'_>) -> usize {
        if let Some(place) = self.places.get(local) {
            return *place;
        }
        let owned = EndpointIn {
            service: Cow::Owned(local.service.clone().into_owned()),
            ..*local
        };
        self.spans.push((Arc::new(resource(&owned)), Vec::new()));
        self.places.insert(owned, self.spans.len() - 1);
        self.spans.len() - 1
    }

    fn scope(&mut self, span: &mut SpanIn<'_>) -> Arc<Scope> {
        let mut take = |keys: [&str; 2]| {
            let tags = &mut span.tags;
            let found = keys.map(|key| take(tags, key));
            let found = found.into_iter().flatten().next();
            found.map(Cow::into_owned).unwrap_or_default()
        };
        let key = (
            take([tag::SCOPE_NAME, "otel.library.name"]),
            take([tag::SCOPE_VERSION, "otel.library.version"]),
        );
        let (name, version) = &key;
        if let Some(known) = self.scopes.get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(Scope::new(name, version));
        self.scopes.insert(key, Arc::clone(&made));
        made
    }
}

fn resource(local: &EndpointIn<'_>) -> Resource {
    let service = Some(&local.service).filter(|name| !name.is_empty());
    let service = service.map(|name| (attribute::SERVICE_NAME, Value::from(name.as_ref())));
    let ip = local
        .ip
        .map(|ip| (attribute::LOCAL_ADDRESS, Value::from(ip.to_string())));
    let port = (local.port != 0).then(|| (attribute::LOCAL_PORT, Value::Int(local.port.into())));
    Resource::new([service, ip, port].into_iter().flatten())
}

/// Takes the value of `key` out of the tags; of several the last counts.
fn take<'p>(tags: &mut Vec<(Cow<'p, str>, Cow<'p, str>)>, key: &str) -> Option<Cow<'p, str>> {
    let mut taken = None;
    tags.retain_mut(|(known, value)| {
        let is_wanted = known == key;
        if is_wanted {
            taken = Some(std::mem::take(value));
        }
        !is_wanted
    });
    taken
}

fn loose(mut span: SpanIn<'_>) -> LooseSpan<'_> {
    let start = span.start().saturating_mul(1_000);
    let mut loose = LooseSpan {
        trace_id: span.trace_id,
        id: span.id,
        parent: span.parent,
        trace_flags: 1,
        name: std::mem::take(&mut span.name),
        kind: kind(&mut span),
        start,
        end: start.saturating_add(span.duration.saturating_mul(1_000)),
        ..LooseSpan::default()
    };
    loose.parent_is_remote =
        loose.parent.is_valid() && matches!(loose.kind, Kind::Server | Kind::Consumer);
    let annotations = std::mem::take(&mut span.annotations).into_iter();
    loose.events = annotations
        .map(|(time, text)| words::event(time, text))
        .collect();
    status(&mut loose, &mut span);
    rare(&mut loose, &mut span);
    let far_side = far_side(&span);
    let tags = span.tags.into_iter();
    loose.attributes = tags
        .map(|(key, value)| (key, value.into()))
        .chain(far_side)
        .collect();
    for (key, is_set) in [
        (attribute::SHARED, span.shared),
        (attribute::DEBUG, span.debug),
    ] {
        if is_set {
            loose
                .attributes
                .push((key.into(), Value::Bool(true).into()));
        }
    }
    loose
}

fn kind(span: &mut SpanIn<'_>) -> Kind {
    if let Some(kind) = span.kind {
        return kind;
    }
    let is_internal =
        |(key, value): &(Cow<'_, str>, Cow<'_, str>)| key == tag::SPAN_KIND && value == "internal";
    if span.tags.iter().any(is_internal) {
        take(&mut span.tags, tag::SPAN_KIND);
        return Kind::Internal;
    }
    Kind::Unspecified
}

/// Codes as OpenTelemetry's specification has them, or with the Collector's prefix. A tag `error` alone is an error too; its text is
/// why, unless it says only that.
fn status<'p>(loose: &mut LooseSpan<'p>, span: &mut SpanIn<'p>) {
    let find = |key: &str| {
        let mut found = span.tags.iter().rev();
        found
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.clone())
    };
    let (code, error) = (find(tag::STATUS_CODE), find(tag::ERROR));
    let code = code.as_deref().map(|code| {
        let bare = code.strip_prefix("STATUS_CODE_");
        bare.unwrap_or(code)
    });
    loose.status = match (code, error.as_deref()) {
        (Some("OK"), _) => Status::Ok,
        (Some("ERROR"), _) | (None, Some(_)) => Status::Error,
        _ => return,
    };
    take(&mut span.tags, tag::STATUS_CODE);
    if loose.status == Status::Ok {
        return;
    }
    let description = take(&mut span.tags, tag::STATUS_DESCRIPTION);
    let error = take(&mut span.tags, tag::ERROR).filter(|text| text != "true");
    loose.message = description.or(error).unwrap_or_default();
}

/// Trace state, dropped counts and links.
fn rare<'p>(loose: &mut LooseSpan<'p>, span: &mut SpanIn<'p>) {
    let tags = &mut span.tags;
    loose.trace_state = take(tags, tag::TRACE_STATE).unwrap_or_default();
    let counts = [
        (tag::DROPPED_ATTRIBUTES, &mut loose.dropped.attributes),
        (tag::DROPPED_EVENTS, &mut loose.dropped.events),
        (tag::DROPPED_LINKS, &mut loose.dropped.links),
    ];
    for (key, count) in counts {
        let is_count = |(known, value): &(Cow<'_, str>, Cow<'_, str>)| {
            known == key && value.parse::<u32>().is_ok()
        };
        if tags.iter().any(is_count) {
            let text = take(tags, key).unwrap_or_default();
            *count = text.parse().unwrap_or_default();
        }
    }
    if !tags.iter().any(|(key, _)| key.starts_with(tag::LINK)) {
        return;
    }
    let mut links = Vec::new();
    tags.retain(|(key, value)| {
        let number = key
            .strip_prefix(tag::LINK)
            .and_then(|number| number.parse().ok());
        let link: Option<(u32, _)> = number.zip(words::link(value));
        let is_link = link.is_some();
        links.extend(link);
        !is_link
    });
    links.sort_by_key(|(number, _)| *number);
    loose.links = links.into_iter().map(|(_, link)| link).collect();
}

/// What the remote endpoint says that no tag does.
fn far_side(span: &SpanIn<'_>) -> LooseAttributes<'static> {
    let service = span.remote.service.as_ref();
    let wanted = Endpoint {
        service,
        ip: span.remote.ip,
        port: Some(span.remote.port).filter(|port| *port != 0),
    };
    let mut said = Remote::default();
    for (key, value) in &span.tags {
        said.note(key, &ValueRef::Str(value));
    }
    if wanted.is_empty() || said.endpoint() == Some(wanted) {
        return Vec::new();
    }
    let name = (!service.is_empty()).then(|| ("peer.service", Value::from(service)));
    let ip = wanted
        .ip
        .map(|ip| ("network.peer.address", Value::from(ip.to_string())));
    let port = wanted
        .port
        .map(|port| ("network.peer.port", Value::Int(port.into())));
    let all = [name, ip, port].into_iter().flatten();
    all.map(|(key, value)| (Cow::Borrowed(key), value.into()))
        .collect()
}
