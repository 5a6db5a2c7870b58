//! What all spans of a resource, scope or site have in common, written once and copied.

use std::sync::Arc;

use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Padded, Text};

use crate::endpoint::{self, Endpoint};
use crate::form::Form;
use crate::keys::{Plain, RESERVED, attribute, is_reserved, tag};
use crate::mapping::ZipkinMapping;
use crate::value::{Scratch, cut};

/// What spans of one resource and one scope have in common.
#[derive(Debug)]
pub(crate) struct Constants {
    /// They stay alive, so that no others can come to the same address.
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    /// Differs from that of any other.
    id: u64,
    /// The local endpoint, as the form has it.
    pub(crate) local: Vec<u8>,
    /// The local endpoint where it leads, what begins tags, then tags, each with its separator.
    pub(crate) head: Padded,
    /// Where in the head tags begin, with what begins them.
    pub(crate) tags_at: usize,
    /// The keys of these tags, and where their values are.
    keys: Vec<(String, Source)>,
}

/// Where the value of a tag comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// An attribute of the resource, by its place.
    Resource(usize),
    ScopeName,
    ScopeVersion,
    /// An attribute of the scope, by its place.
    Scope(usize),
}

impl Constants {
    fn new<F: Form>(
        (resource, scope): (&Arc<Resource>, &Arc<Scope>),
        id: u64,
        mapping: &ZipkinMapping,
        scratch: &mut Scratch,
    ) -> Self {
        let mut constants = Self {
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
            id,
            local: Vec::new(),
            head: Padded::default(),
            tags_at: 0,
            keys: Vec::new(),
        };
        let (local, mut bytes) = (local_endpoint(resource, mapping), Vec::new());
        F::local(&local, scratch, &mut bytes);
        constants.local.clone_from(&bytes);
        if !F::LOCAL_LEADS {
            bytes.clear();
        }
        constants.tags_at = bytes.len();
        bytes.extend_from_slice(F::TAGS);
        constants.write_tags::<F>(&mut bytes, &local, mapping, scratch);
        constants.head = Padded::new(&bytes);
        constants
    }

    fn write_tags<F: Form>(
        &mut self,
        out: &mut Vec<u8>,
        local: &Endpoint<'_>,
        mapping: &ZipkinMapping,
        scratch: &mut Scratch,
    ) {
        let (resource, scope) = (Arc::clone(&self.resource), Arc::clone(&self.scope));
        for (place, (key, value)) in resource.attributes().enumerate() {
            let key = key.as_str();
            let is_elsewhere = is_in_endpoint(key, &value, local) || is_of_scope(&scope, key);
            if mapping.resource_tags && !is_elsewhere {
                self.add::<F>(out, key, Source::Resource(place), mapping, scratch);
            }
        }
        for (key, text, source) in [
            (tag::SCOPE_NAME, scope.name(), Source::ScopeName),
            (tag::SCOPE_VERSION, scope.version(), Source::ScopeVersion),
        ] {
            if text.is_some_and(|text| !text.is_empty()) {
                self.add::<F>(out, key, source, mapping, scratch);
            }
        }
        for (place, (key, _)) in scope.attributes().enumerate() {
            if ![tag::SCOPE_NAME, tag::SCOPE_VERSION].contains(&key.as_str()) {
                self.add::<F>(out, key.as_str(), Source::Scope(place), mapping, scratch);
            }
        }
    }

    fn add<F: Form>(
        &mut self,
        out: &mut Vec<u8>,
        key: &str,
        source: Source,
        mapping: &ZipkinMapping,
        scratch: &mut Scratch,
    ) {
        if RESERVED.contains(&key) {
            return;
        }
        let value = value(&self.resource, &self.scope, source).text(&mut scratch.text);
        let value = cut(value, mapping.max_tag_value_length);
        F::plain(out, &self.local, key, value);
        self.keys.push((key.to_owned(), source));
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(known, _)| known == key)
    }

    /// The attributes that the tags were made of.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, ValueRef<'_>)> {
        let value = |source| value(&self.resource, &self.scope, source);
        self.keys
            .iter()
            .map(move |(key, source)| (key.as_str(), value(*source)))
    }
}

fn value<'a>(resource: &'a Resource, scope: &'a Scope, source: Source) -> ValueRef<'a> {
    let text = |text: Option<Text<'a>>| text.map(ValueRef::Text);
    let value = match source {
        Source::Resource(place) => resource.attributes().nth(place).map(|(_, value)| value),
        Source::ScopeName => text(scope.name()),
        Source::ScopeVersion => text(scope.version()),
        Source::Scope(place) => scope.attributes().nth(place).map(|(_, value)| value),
    };
    value.unwrap_or(ValueRef::Empty)
}

/// Where the spans of `resource` run.
fn local_endpoint<'a>(resource: &'a Resource, mapping: &ZipkinMapping) -> Endpoint<'a> {
    let attribute = |key| resource.attribute(key);
    let ip = || endpoint::address(&attribute(attribute::LOCAL_ADDRESS)?);
    let port = || endpoint::number(&attribute(attribute::LOCAL_PORT)?);
    Endpoint {
        service: resource.service_name(),
        ip: mapping.local_ip.or_else(ip),
        port: mapping.local_port.or_else(port),
    }
}

/// True for what the local endpoint says already.
fn is_in_endpoint(key: &str, value: &ValueRef<'_>, local: &Endpoint<'_>) -> bool {
    match key {
        attribute::SERVICE_NAME => true,
        attribute::LOCAL_ADDRESS => local.ip.is_some() && endpoint::address(value) == local.ip,
        attribute::LOCAL_PORT => local.port.is_some() && endpoint::number(value) == local.port,
        _ => false,
    }
}

fn is_of_scope(scope: &Scope, key: &str) -> bool {
    let is_named = match key {
        tag::SCOPE_NAME => scope.name().is_some_and(|name| !name.is_empty()),
        tag::SCOPE_VERSION => scope.version().is_some_and(|version| !version.is_empty()),
        _ => false,
    };
    is_named || scope.attributes().any(|(known, _)| known.as_str() == key)
}

/// The last few constants. A process has one or two; a converter meets many, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: Vec<(Constants, Plain)>,
    made: u64,
}

const MAX_RECENT: usize = 16;

impl Recent {
    pub(crate) fn get(&mut self, place: usize) -> (&Constants, &mut Plain) {
        let (constants, plain) = &mut self.entries[place];
        (constants, plain)
    }

    /// The place of what spans of `origin` have in common, good until the next is asked for.
    pub(crate) fn find<F: Form>(
        &mut self,
        origin: (&Arc<Resource>, &Arc<Scope>),
        mapping: &ZipkinMapping,
        scratch: &mut Scratch,
    ) -> usize {
        let is_wanted = |(known, _): &(Constants, Plain)| {
            Arc::ptr_eq(&known.resource, origin.0) && Arc::ptr_eq(&known.scope, origin.1)
        };
        if let Some(known) = self.entries.iter().position(is_wanted) {
            return known;
        }
        self.made += 1;
        let made = Constants::new::<F>(origin, self.made, mapping, scratch);
        let made = (made, Plain::default());
        if self.entries.len() < MAX_RECENT {
            self.entries.push(made);
            return self.entries.len() - 1;
        }
        // Round and round: the oldest goes.
        let place = usize::try_from(self.made).unwrap_or_default() % MAX_RECENT;
        self.entries[place] = made;
        place
    }
}

/// What the sites met so far have in common, by their indices.
#[derive(Debug, Default)]
pub(crate) struct Sites(Vec<SiteTags>);

/// What spans of one site have in common.
#[derive(Debug, Default)]
pub(crate) struct SiteTags {
    /// The constants that these bytes follow; zero for none.
    follows: u64,
    /// Tags, ready to follow those of the constants.
    pub(crate) tags: Vec<u8>,
    pub(crate) plain: Plain,
    /// A key of it needs a second look, each time.
    pub(crate) is_odd: bool,
}

impl Sites {
    #[inline]
    pub(crate) fn get<F: Form>(
        &mut self,
        site: SiteId,
        constants: &Constants,
        mapping: &ZipkinMapping,
        scratch: &mut Scratch,
    ) -> &mut SiteTags {
        let place = site.index();
        let is_known = |known: &SiteTags| known.follows == constants.id;
        if !self.0.get(place).is_some_and(is_known) {
            self.write::<F>(site, constants, mapping, scratch);
        }
        &mut self.0[place]
    }

    #[cold]
    fn write<F: Form>(
        &mut self,
        site: SiteId,
        constants: &Constants,
        mapping: &ZipkinMapping,
        scratch: &mut Scratch,
    ) {
        let place = site.index();
        if self.0.len() <= place {
            self.0.resize_with(place + 1, SiteTags::default);
        }
        let known = &mut self.0[place];
        *known = SiteTags {
            follows: constants.id,
            tags: std::mem::take(&mut known.tags),
            ..SiteTags::default()
        };
        known.tags.clear();
        for (key, value) in site.attributes() {
            let key = key.as_str();
            known.is_odd |= is_reserved(key)
                || constants.has(key)
                || endpoint::peer_keys().any(|peer| peer == key);
            let value = cut(value.text(&mut scratch.text), mapping.max_tag_value_length);
            F::plain(&mut known.tags, &constants.local, key, value);
        }
    }
}
