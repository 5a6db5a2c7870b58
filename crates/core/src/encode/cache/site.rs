//! A span's own attributes beside those of its site: a key may stand in a span only once.

use crate::span::{Number, Span, Visitor};
use crate::value::ValueRef;
use crate::wire::Text;

use super::KeySet;

/// Passes attributes on to `inner` and watches for keys that the site has too.
#[derive(Debug)]
#[non_exhaustive]
pub struct WatchSite<'a, V> {
    /// Who gets them.
    pub inner: V,
    keys_of_site: KeySet,
    span: Span<'a>,
    /// True once a key of the site was met: the span's value counts, and the site's must not be written.
    pub overrides_site: bool,
}

impl<'a, V> WatchSite<'a, V> {
    /// Watches over the attributes of `span`, whose site has `keys_of_site`.
    pub fn new(inner: V, keys_of_site: KeySet, span: Span<'a>) -> Self {
        Self {
            inner,
            keys_of_site,
            span,
            overrides_site: false,
        }
    }

    #[inline(always)]
    fn watch(&mut self, key: Text<'a>) {
        if self.keys_of_site.may_have(key) && is_key_of_site(self.span, key) {
            self.overrides_site = true;
        }
    }
}

#[cold]
fn is_key_of_site(span: Span<'_>, key: Text<'_>) -> bool {
    span.site().attributes().any(|(of_site, _)| of_site == key)
}

/// Those attributes of a span's site that the span itself does not have.
pub fn not_overridden(span: Span<'_>) -> impl Iterator<Item = (Text<'static>, ValueRef<'static>)> {
    let of_site = span.site().attributes();
    of_site.filter(move |(key, _)| !span.own_attributes().any(|(own, _)| own == *key))
}

impl<'a, V: Visitor<'a>> Visitor<'a> for WatchSite<'a, V> {
    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        self.watch(key);
        self.inner = self.inner.text(key, value);
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        self.watch(key);
        self.inner = self.inner.number(key, value);
        self
    }

    #[inline(always)]
    fn other(mut self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        self.watch(key);
        self.inner = self.inner.other(key, value);
        self
    }
}
