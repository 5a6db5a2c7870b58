//! Who listens to a wrapper: the pipeline, any number of drivers, and what they want beyond times.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::driver::{self, Driver};

/// The subscribers of one wrapper.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pipeline: bool,
    drivers: Vec<Py<Driver>>,
    min_duration_nanos: u64,
    set: u16,
    extras: Option<Arc<Vec<Py<Driver>>>>,
}

impl Plan {
    pub(crate) fn is_active(&self) -> bool {
        self.pipeline || !self.drivers.is_empty()
    }

    /// The set of its drivers, as nodes carry it.
    pub(crate) fn driver_set(&self) -> u16 {
        self.set
    }

    /// The drivers that want more than times.
    pub(crate) fn extras(&self) -> Option<Arc<Vec<Py<Driver>>>> {
        self.extras.clone()
    }

    pub(crate) fn has_extras(&self) -> bool {
        self.extras.is_some() || self.min_duration_nanos > 0
    }

    /// Calls shorter than this are not kept.
    pub(crate) fn min_duration_nanos(&self) -> u64 {
        self.min_duration_nanos
    }

    /// Adds a subscriber; one that is there already stays.
    pub(crate) fn add(
        &mut self,
        py: Python<'_>,
        driver: Option<&Py<Driver>>,
        min_duration_nanos: u64,
    ) {
        match driver {
            None => self.pipeline = true,
            Some(driver) if self.drivers.iter().any(|known| known.is(driver)) => {}
            Some(driver) => self.drivers.push(driver.clone_ref(py)),
        }
        self.min_duration_nanos = min_duration_nanos;
        self.renew(py);
    }

    /// Takes a subscriber away. Returns how many are left.
    pub(crate) fn remove(&mut self, py: Python<'_>, driver: Option<&Py<Driver>>) -> usize {
        match driver {
            None => self.pipeline = false,
            Some(driver) => self.drivers.retain(|known| !known.is(driver)),
        }
        self.renew(py);
        usize::from(self.pipeline) + self.drivers.len()
    }

    /// Looks again at what the drivers want.
    pub(crate) fn renew(&mut self, py: Python<'_>) {
        self.set = driver::set_of(py, &self.drivers);
        let wanting: Vec<_> = self
            .drivers
            .iter()
            .filter(|driver| driver.get().wants_extras())
            .map(|driver| driver.clone_ref(py))
            .collect();
        self.extras = (!wanting.is_empty()).then(|| Arc::new(wanting));
    }
}
