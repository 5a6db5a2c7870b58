//! What was counted last for which function of which service, found without hashing its name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::intern::Symbol;
use crate::metric::LabelSet;
use crate::metric::record::{Counter, Summary};
use crate::resource::Resource;

/// Resources that are remembered by their address.
const MAX_RESOURCES: usize = 16;
const UNKNOWN: u32 = u32::MAX;

/// The series of one function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) calls: Arc<Counter>,
    pub(super) errors: Arc<Counter>,
    pub(super) duration: Arc<Summary>,
    pub(super) labels: Arc<LabelSet>,
    /// The batches of the last examples: of a call, of an error.
    pub(super) example_of_batch: [u64; 2],
}

/// Functions by service and name.
#[derive(Debug)]
pub(super) struct Services {
    own: Box<str>,
    max_functions: usize,
    /// A resource is kept, so that no other comes to its address.
    resources: Vec<(Arc<Resource>, usize)>,
    oldest: usize,
    list: Vec<Service>,
    functions: Vec<Function>,
}

#[derive(Debug)]
struct Service {
    name: Box<str>,
    /// By the index of the name in the process-wide table.
    by_symbol: Vec<u32>,
    by_name: HashMap<Box<str>, u32>,
}

impl Services {
    pub(super) fn new(own: Box<str>, max_functions: usize) -> Self {
        Self {
            own,
            max_functions,
            resources: Vec::new(),
            oldest: 0,
            list: Vec::new(),
            functions: Vec::new(),
        }
    }

    /// The place of the service of `resource`.
    pub(super) fn of(&mut self, resource: &Arc<Resource>) -> usize {
        let known = |(known, _): &&(Arc<Resource>, usize)| Arc::ptr_eq(known, resource);
        match self.resources.iter().find(known) {
            Some((_, service)) => *service,
            None => self.remember(resource),
        }
    }

    #[cold]
    fn remember(&mut self, resource: &Arc<Resource>) -> usize {
        let service = self.named(resource.service_name());
        let entry = (Arc::clone(resource), service);
        if self.resources.len() < MAX_RESOURCES {
            self.resources.push(entry);
        } else {
            self.resources[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % MAX_RESOURCES;
        }
        service
    }

    fn named(&mut self, name: &str) -> usize {
        let known = self.list.iter().position(|service| &*service.name == name);
        known.unwrap_or_else(|| {
            self.list.push(Service {
                name: name.into(),
                by_symbol: Vec::new(),
                by_name: HashMap::new(),
            });
            self.list.len() - 1
        })
    }

    /// The function `symbol` of the service at `service`, made by `make` of its labels if it is new.
    #[inline]
    pub(super) fn function<'n>(
        &mut self,
        service: usize,
        symbol: Symbol,
        name: impl FnOnce() -> &'n str,
        make: impl FnOnce(Arc<LabelSet>) -> Function,
    ) -> &mut Function {
        let by_symbol = &self.list[service].by_symbol;
        let known = by_symbol.get(symbol.0 as usize).copied();
        let place = match known.filter(|place| *place != UNKNOWN) {
            Some(place) => place,
            None => self.find(service, symbol, name(), make),
        };
        &mut self.functions[place as usize]
    }

    #[cold]
    fn find(
        &mut self,
        service: usize,
        symbol: Symbol,
        name: &str,
        make: impl FnOnce(Arc<LabelSet>) -> Function,
    ) -> u32 {
        let known = self.list[service].by_name.get(name).copied();
        let place = known.unwrap_or_else(|| self.add(service, name, make));
        let is_remembered = known.is_some() || self.functions.len() <= self.max_functions;
        let entry = &mut self.list[service];
        if known.is_none() && is_remembered {
            entry.by_name.insert(name.into(), place);
        }
        // The process-wide table is bounded; a name of a tree is looked up each time.
        if symbol.local_index().is_none() {
            let index = symbol.0 as usize;
            if entry.by_symbol.len() <= index {
                entry.by_symbol.resize(index + 1, UNKNOWN);
            }
            entry.by_symbol[index] = place;
        }
        place
    }

    /// One more function; beyond the limit all are the one that the instruments' overflow series are of.
    fn add(
        &mut self,
        service: usize,
        name: &str,
        make: impl FnOnce(Arc<LabelSet>) -> Function,
    ) -> u32 {
        if self.functions.len() <= self.max_functions {
            let labels = if self.functions.len() == self.max_functions {
                LabelSet::overflow()
            } else {
                self.labels(service, name)
            };
            self.functions.push(make(labels));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most the limit of series"
        )]
        let last = self.functions.len() as u32 - 1;
        last
    }

    fn labels(&self, service: usize, name: &str) -> Arc<LabelSet> {
        let service = &self.list[service].name;
        let function = ("function", name);
        if *service == self.own {
            LabelSet::new([function])
        } else {
            LabelSet::new([function, ("service.name", service)])
        }
    }

    /// The labels of a function that has been found before.
    pub(super) fn labels_of(
        &self,
        service: usize,
        symbol: Symbol,
        name: &str,
    ) -> Option<&Arc<LabelSet>> {
        let service = &self.list[service];
        let by_symbol = service.by_symbol.get(symbol.0 as usize).copied();
        let place = by_symbol
            .filter(|place| *place != UNKNOWN)
            .or_else(|| service.by_name.get(name).copied())?;
        let function = self.functions.get(place as usize)?;
        Some(&function.labels)
    }
}
