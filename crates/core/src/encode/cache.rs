//! What an encoder wrote once for a resource, a scope or a site, ready to be copied.
//!
//! A key may stand in a span only once: [`WatchSite`] and [`not_overridden`] let a span's own attributes win over its site's.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::Limits;
use crate::intern::SiteId;
use crate::resource::{Resource, Scope};
use crate::wire::Text;

mod site;

pub use site::{WatchSite, not_overridden};

/// How an encoding writes what is kept here.
pub trait Form: fmt::Debug + Send {
    /// What stands before and behind the scopes of a resource.
    fn resource(resource: &Resource, group: &mut Group);
    /// What stands before and behind the spans of a scope.
    fn scope(scope: &Scope, group: &mut Group);
    /// The attributes of a site's spans, ready to be followed by others.
    fn site(site: SiteId, out: &mut Vec<u8>);
}

/// The bytes around what a resource or scope groups.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Group {
    /// Stands before.
    pub head: Vec<u8>,
    /// Stands behind.
    pub tail: Vec<u8>,
}

/// What one encoder has written so far for resources, scopes and sites.
#[derive(Debug)]
#[non_exhaustive]
pub struct Cache<F> {
    /// The resources.
    pub resources: Recent<Resource>,
    /// The scopes.
    pub scopes: Recent<Scope>,
    sites: Sites,
    /// Length of what the last payload held of its last resource: a good guess for the next one.
    pub last_resource_bytes: usize,
    /// The same of its last scope.
    pub last_scope_bytes: usize,
    form: PhantomData<F>,
}

impl<F> Default for Cache<F> {
    fn default() -> Self {
        Self {
            resources: Recent::default(),
            scopes: Recent::default(),
            sites: Sites::default(),
            last_resource_bytes: 0,
            last_scope_bytes: 0,
            form: PhantomData,
        }
    }
}

impl<F: Form> Cache<F> {
    /// The place of `resource` in [`Cache::resources`], good until the next but one is asked for.
    pub fn resource(&mut self, resource: &Arc<Resource>) -> usize {
        self.resources.find(resource, F::resource)
    }

    /// The place of `scope` in [`Cache::scopes`], good until the next but one is asked for.
    pub fn scope(&mut self, scope: &Arc<Scope>) -> usize {
        self.scopes.find(scope, F::scope)
    }

    /// What the attributes of `site` look like.
    #[inline]
    pub fn site(&mut self, site: SiteId) -> SiteBytes<'_> {
        if self
            .sites
            .places
            .get(site.index())
            .is_none_or(Option::is_none)
        {
            self.sites.add::<F>(site);
        }
        self.sites.get(site)
    }
}

/// The last few resources or scopes. A process has one or two; a converter meets many, one after the other.
#[derive(Debug)]
pub struct Recent<T> {
    entries: Vec<(Arc<T>, Group)>,
    /// The entry that was added last.
    newest: usize,
    /// The entry that was asked for last: it may be in use.
    last: usize,
}

const MAX_RECENT: usize = 16;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            newest: 0,
            last: 0,
        }
    }
}

impl<T> Recent<T> {
    /// What was written for the entry at `index`.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn group(&self, index: usize) -> &Group {
        &self.entries[index].1
    }

    /// The place of what was written for `wanted`, good until the next but one is asked for.
    ///
    /// An entry keeps its resource or scope alive, so that no other can come to the same address.
    fn find(&mut self, wanted: &Arc<T>, write: fn(&T, &mut Group)) -> usize {
        let is_wanted = |(known, _): &(Arc<T>, Group)| Arc::ptr_eq(known, wanted);
        self.last = match self.entries.iter().position(is_wanted) {
            Some(known) => known,
            None => self.add(wanted, write),
        };
        self.last
    }

    #[cold]
    fn add(&mut self, new: &Arc<T>, write: fn(&T, &mut Group)) -> usize {
        if self.entries.len() < MAX_RECENT {
            self.newest = self.entries.len();
            self.entries.push((Arc::clone(new), Group::default()));
        } else {
            let oldest = (self.newest + 1) % MAX_RECENT;
            let is_in_use = usize::from(oldest == self.last);
            self.newest = (oldest + is_in_use) % MAX_RECENT;
        }
        let (known, group) = &mut self.entries[self.newest];
        *known = Arc::clone(new);
        group.head.clear();
        group.tail.clear();
        write(new, group);
        self.newest
    }
}

/// The bytes of all sites met so far, by the sites' indices.
#[derive(Debug, Default)]
struct Sites {
    places: Vec<Option<SitePlace>>,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
struct SitePlace {
    bytes: Range<usize>,
    keys: KeySet,
}

/// What was written for a site.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SiteBytes<'c> {
    /// Its attributes.
    pub bytes: &'c [u8],
    /// Their keys.
    pub keys: KeySet,
}

impl Sites {
    #[cold]
    fn add<F: Form>(&mut self, site: SiteId) {
        let start = self.bytes.len();
        F::site(site, &mut self.bytes);
        if self.places.len() <= site.index() {
            self.places.resize(site.index() + 1, None);
        }
        let mut keys = KeySet::default();
        for (key, _) in site.attributes() {
            keys.add(key);
        }
        self.places[site.index()] = Some(SitePlace {
            bytes: start..self.bytes.len(),
            keys,
        });
    }

    #[inline]
    fn get(&self, site: SiteId) -> SiteBytes<'_> {
        match self.places.get(site.index()) {
            Some(Some(place)) => SiteBytes {
                bytes: &self.bytes[place.bytes.clone()],
                keys: place.keys,
            },
            _ => SiteBytes {
                bytes: &[],
                keys: KeySet::default(),
            },
        }
    }
}

/// Which keys may be in a set: no false negatives, few false positives, one word.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeySet(u64);

impl KeySet {
    fn add(&mut self, key: Text<'_>) {
        self.0 |= Self::bit(key);
    }

    /// False when `key` is not in it.
    #[inline]
    pub fn may_have(self, key: Text<'_>) -> bool {
        self.0 & Self::bit(key) != 0
    }

    #[inline]
    fn bit(key: Text<'_>) -> u64 {
        let bytes = key.as_bytes();
        let last = bytes.last().copied().unwrap_or_default();
        1 << ((bytes.len() * 11 + usize::from(last)) % 64)
    }
}

/// A span that was too large for any payload has made the buffer grow; it does not stay so.
pub fn give_back_excess(out: &mut Vec<u8>, limits: &Limits) {
    let usual = limits.max_bytes.saturating_add(out.len()).saturating_mul(2);
    if out.capacity() > usual.max(MAX_KEPT_BYTES) {
        out.shrink_to(out.len());
    }
}

/// A buffer of this size is never excessive.
const MAX_KEPT_BYTES: usize = 1 << 20;
