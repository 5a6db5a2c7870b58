//! Uses of one context manager that have not been left: it may be entered again, by other threads and tasks as well.

use crate::gil::GilOnly;

/// What is entered and not left, oldest first. Most often that is one at most, which needs no memory of its own.
#[derive(Debug)]
pub(crate) struct Entries<T>(GilOnly<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(GilOnly::new(Kept {
            first: None,
            more: Vec::new(),
        }))
    }
}

impl<T> Entries<T> {
    /// True when nothing is entered.
    pub(crate) fn is_empty(&self) -> bool {
        let kept = self.0.borrow();
        kept.first.is_none() && kept.more.is_empty()
    }

    pub(crate) fn push(&self, entry: T) {
        let mut kept = self.0.borrow();
        if kept.first.is_none() && kept.more.is_empty() {
            kept.first = Some(entry);
        } else {
            kept.more.push(entry);
        }
    }

    /// Takes the only entry there is, if `is_wanted`.
    pub(crate) fn take_only_if(&self, is_wanted: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let mut kept = self.0.borrow();
        if kept.more.is_empty() {
            kept.first.take_if(is_wanted)
        } else {
            None
        }
    }

    /// Takes the entry that a use is left with: the youngest that `is_here` says yes to. Work may be left elsewhere than it was
    /// entered, in another thread or task; then it is the youngest of all.
    pub(crate) fn take_last(&self, is_here: impl Fn(&T) -> bool) -> Option<T> {
        let mut kept = self.0.borrow();
        if kept.more.is_empty() {
            return kept.first.take();
        }
        if let Some(at) = kept.more.iter().rposition(&is_here) {
            return Some(kept.more.remove(at));
        }
        match kept.first.take_if(|first| is_here(first)) {
            Some(first) => Some(first),
            None => kept.more.pop(),
        }
    }
}
