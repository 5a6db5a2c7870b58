//! Which drivers a span belongs to, and the fragments' way to them.

use std::sync::{Arc, Weak};

use hiq_core::tree::SpanTree;
use pyo3::prelude::*;

use super::Driver;
use super::shared::Shared;
use crate::gil::GilCell;

/// Every set of drivers that some wrapper has, by number; set 0 is the empty one.
static SETS: GilCell<Sets> = GilCell::new(Sets {
    members: Vec::new(),
    drivers: Vec::new(),
    next_id: 1,
});

#[derive(Debug)]
struct Sets {
    members: Vec<Arc<[u32]>>,
    drivers: Vec<(u32, Weak<Shared>)>,
    next_id: u32,
}

/// A number for a new driver.
pub(super) fn next_id() -> u32 {
    let mut sets = SETS.lock();
    sets.next_id += 1;
    sets.next_id - 1
}

/// Fragments are offered to this driver from now on, as long as it lives.
pub(super) fn register(driver: &Arc<Shared>) {
    let mut sets = SETS.lock();
    sets.drivers.retain(|(_, known)| known.strong_count() > 0);
    sets.drivers.push((driver.id, Arc::downgrade(driver)));
}

/// All drivers there are.
pub(super) fn all() -> Vec<Arc<Shared>> {
    let sets = SETS.lock();
    let alive = sets
        .drivers
        .iter()
        .filter_map(|(_, driver)| driver.upgrade());
    alive.collect()
}

/// The sets as they are now, for [`holds`].
pub(super) fn members() -> Vec<Arc<[u32]>> {
    SETS.lock().members.clone()
}

/// The number of the set of `drivers`.
pub(crate) fn set_of(_py: Python<'_>, drivers: &[Py<Driver>]) -> u16 {
    if drivers.is_empty() {
        return 0;
    }
    let mut ids: Vec<u32> = drivers.iter().map(|driver| driver.get().id()).collect();
    ids.sort_unstable();
    let mut sets = SETS.lock();
    let known = sets.members.iter().position(|set| **set == *ids);
    let at = known.unwrap_or_else(|| {
        sets.members.push(ids.into());
        sets.members.len() - 1
    });
    u16::try_from(at + 1).unwrap_or(0)
}

/// Whether `set` holds the driver `id`.
pub(super) fn holds(sets: &[Arc<[u32]>], set: u16, id: u32) -> bool {
    let members = usize::from(set).checked_sub(1).and_then(|at| sets.get(at));
    members.is_some_and(|members| members.contains(&id))
}

/// Gives a finished fragment to each driver that has a span in it.
pub(crate) fn offer(tree: &Arc<SpanTree>) {
    let mut counts: Vec<(u16, usize)> = Vec::new();
    let mut last = 0;
    for span in tree.spans() {
        let set = span.drivers();
        if set == 0 {
            continue;
        }
        if counts.get(last).is_some_and(|(known, _)| *known == set) {
            counts[last].1 += 1;
            continue;
        }
        last = counts
            .iter()
            .position(|(known, _)| *known == set)
            .unwrap_or_else(|| {
                counts.push((set, 0));
                counts.len() - 1
            });
        counts[last].1 += 1;
    }
    if !counts.is_empty() {
        Python::attach(|py| offer_counted(py, tree, &counts));
    }
}

fn offer_counted(py: Python<'_>, tree: &Arc<SpanTree>, counts: &[(u16, usize)]) {
    let drivers: Vec<(Arc<Shared>, usize)> = {
        let sets = SETS.lock();
        let alive = sets.drivers.iter().filter_map(|(id, shared)| {
            let own: usize = counts
                .iter()
                .filter(|(set, _)| holds(&sets.members, *set, *id))
                .map(|(_, count)| count)
                .sum();
            (own > 0).then(|| shared.upgrade().map(|shared| (shared, own)))?
        });
        alive.collect()
    };
    // Key functions are the program's code: no lock is held around them.
    for (driver, own) in drivers {
        driver.hold(py, tree, own);
    }
}
