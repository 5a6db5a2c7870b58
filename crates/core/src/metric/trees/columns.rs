//! What extra metrics read, by function.

use std::collections::HashMap;
use std::sync::Arc;

use super::TreeMetricsOptions;
use super::services::Services;
use crate::metric::record::{Counter, Gauge, Instrument, Registry, Spec, UpDownCounter};
use crate::tree::{Column, ColumnKind, ColumnSpec, SpanTree};

/// Instruments of columns, made when a column first comes.
#[derive(Debug)]
pub(super) struct Columns {
    registry: Registry,
    options: Arc<TreeMetricsOptions>,
    /// By name and unit. `None`: the name is taken by an instrument of another kind.
    known: HashMap<(String, String), Option<Counted>>,
}

#[derive(Clone, Debug)]
struct Counted {
    /// From the column's unit to the metric's.
    factor: f64,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Gauge(Instrument<Gauge>),
    Counter(Instrument<Counter>),
    UpDownCounter(Instrument<UpDownCounter>),
}

impl Columns {
    pub(super) fn new(registry: Registry, options: Arc<TreeMetricsOptions>) -> Self {
        Self {
            registry,
            options,
            known: HashMap::new(),
        }
    }

    /// Counts the columns of `tree`, whose spans have been counted.
    pub(super) fn count(&mut self, tree: &SpanTree, service: usize, services: &Services) {
        for column in tree.columns() {
            if let Some(counted) = self.counted(&column.metric) {
                counted.count(tree, column, service, services);
            }
        }
    }

    fn counted(&mut self, column: &ColumnSpec) -> Option<Counted> {
        let key = (column.name.clone(), column.unit.clone());
        let known = self.known.get(&key).cloned();
        known.unwrap_or_else(|| {
            let made = Counted::new(&self.registry, &self.options, column);
            self.known.insert(key, made.clone());
            made
        })
    }
}

impl Counted {
    fn new(registry: &Registry, options: &TreeMetricsOptions, column: &ColumnSpec) -> Option<Self> {
        let (unit, factor) = base_unit(&column.unit);
        let spec = Spec::new(format!("{}.{}", options.prefix, quantity(&column.name)))
            .with_unit(unit)
            .with_description(format!("What {} read.", column.name))
            .with_max_series(options.max_series);
        let by = match column.kind {
            ColumnKind::Level => By::Gauge(registry.gauge(spec).ok()?),
            ColumnKind::Delta { monotonic: true } => By::Counter(registry.counter(spec).ok()?),
            ColumnKind::Delta { .. } => By::UpDownCounter(registry.up_down_counter(spec).ok()?),
        };
        Some(Self { factor, by })
    }

    fn count(&self, tree: &SpanTree, column: &Column, service: usize, services: &Services) {
        for (node, (start, end)) in tree.nodes.iter().zip(&column.values) {
            let name = tree.text(node.name);
            let Some(labels) = services.labels_of(service, node.name, name.as_str()) else {
                continue;
            };
            match &self.by {
                By::Gauge(gauge) if end.is_finite() => {
                    gauge.with_labels(labels).set(end * self.factor);
                }
                By::Counter(counter) if (end - start).is_finite() => {
                    counter
                        .with_labels(labels)
                        .add_f64((end - start) * self.factor);
                }
                By::UpDownCounter(counter) if (end - start).is_finite() => {
                    counter
                        .with_labels(labels)
                        .add_f64((end - start) * self.factor);
                }
                // It was not read.
                _ => {}
            }
        }
    }
}

/// The unit that a metric has, and what a column's numbers are multiplied with.
fn base_unit(unit: &str) -> (&str, f64) {
    match unit {
        "kBy" => ("By", 1e3),
        "MBy" => ("By", 1e6),
        "GBy" => ("By", 1e9),
        "KiBy" => ("By", 1024.0),
        "MiBy" => ("By", 1024.0 * 1024.0),
        "GiBy" => ("By", 1024.0 * 1024.0 * 1024.0),
        "ms" => ("s", 1e-3),
        "us" => ("s", 1e-6),
        "ns" => ("s", 1e-9),
        "%" => ("1", 1e-2),
        base => (base, 1.0),
    }
}

/// What a function named `name` reads, without its unit: `memory` for `get_memory_mb`.
fn quantity(name: &str) -> &str {
    let name = name.strip_prefix("get_").unwrap_or(name);
    let units = [
        "_kb", "_mb", "_gb", "_bytes", "_seconds", "_ms", "_us", "_ns", "_percent",
    ];
    let without = units.iter().find_map(|unit| name.strip_suffix(unit));
    without
        .filter(|without| !without.is_empty())
        .unwrap_or(name)
}
