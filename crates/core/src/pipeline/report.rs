//! What a pipeline answers when it is asked how things stand.

use std::fmt;
use std::sync::Arc;

use crate::ledger::LedgerSnapshot;

/// What a flush or shutdown came to, by exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineReport {
    exporters: Vec<ExporterReport>,
}

impl PipelineReport {
    pub(crate) fn new(exporters: impl Iterator<Item = ExporterReport>) -> Self {
        Self {
            exporters: exporters.collect(),
        }
    }

    /// True when every exporter was done in time: all that was offered is settled, or on disk.
    pub fn is_complete(&self) -> bool {
        self.exporters.iter().all(|exporter| exporter.complete)
    }

    /// The exporters, in the order in which they were added.
    pub fn exporters(&self) -> &[ExporterReport] {
        &self.exporters
    }
}

/// What a flush or shutdown came to for one exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExporterReport {
    /// Its name.
    pub name: Arc<str>,
    /// It was done in time.
    pub complete: bool,
    /// Its ledger afterwards.
    pub ledger: LedgerSnapshot,
}

impl ExporterReport {
    pub(crate) fn new(name: Arc<str>, complete: bool, ledger: LedgerSnapshot) -> Self {
        Self {
            name,
            complete,
            ledger,
        }
    }
}

/// The ledgers of a pipeline, by exporter. Displays as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineStats {
    exporters: Vec<ExporterStats>,
}

impl PipelineStats {
    pub(crate) fn new(exporters: impl Iterator<Item = ExporterStats>) -> Self {
        Self {
            exporters: exporters.collect(),
        }
    }

    /// These, and then those of `other`: of a pipeline and the reader of metrics beside it.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.exporters.extend(other.exporters);
        self
    }

    /// The exporters, in the order in which they were added.
    pub fn exporters(&self) -> &[ExporterStats] {
        &self.exporters
    }

    /// The ledger of the first exporter named `name`.
    pub fn ledger(&self, name: &str) -> Option<&LedgerSnapshot> {
        let exporter = self
            .exporters
            .iter()
            .find(|exporter| &*exporter.name == name);
        exporter.map(|exporter| &exporter.ledger)
    }
}

impl fmt::Display for PipelineStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .exporters
            .iter()
            .map(|exporter| exporter.name.chars().count());
        let width = names.max().unwrap_or(0).max("exporter".len());
        write!(f, "{:width$} {}", "exporter", LedgerSnapshot::HEADER)?;
        for exporter in &self.exporters {
            write!(f, "\n{:width$} {}", exporter.name, exporter.ledger)?;
        }
        Ok(())
    }
}

/// How one exporter fares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExporterStats {
    /// Its name.
    pub name: Arc<str>,
    /// Where its items are.
    pub ledger: LedgerSnapshot,
    /// How often its worker has woken, by itself or by others: an idle one does not.
    pub wake_ups: u64,
}

impl ExporterStats {
    pub(crate) fn new(name: Arc<str>, ledger: LedgerSnapshot, wake_ups: u64) -> Self {
        Self {
            name,
            ledger,
            wake_ups,
        }
    }
}
