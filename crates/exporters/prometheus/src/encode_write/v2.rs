//! `io.prometheus.write.v2.Request`: every text once, in a table; series refer to it.

use std::collections::HashMap;

use hiq_core::metric::Exemplar;
use hiq_core::wire::{Varint, Writer};

use super::histogram::{double, millis, write_histogram};
use super::{Body, Series};
use crate::names::Alphabet;
use crate::native::Sparse;
use crate::series::{FamilyNames, Sample, exemplar_labels};

/// Fields of `Request`.
const SYMBOL: u8 = 0x22;
const SERIES: u8 = 0x2a;

const USUAL_SERIES_BYTES: usize = 60;

/// A request of version 2.0.
#[derive(Debug, Default)]
pub(super) struct RequestV2 {
    symbols: Symbols,
    series: Vec<u8>,
    sparse: Sparse,
}

impl Body for RequestV2 {
    type Mark = (usize, usize, u32);

    fn clear(&mut self) {
        self.series.clear();
        self.symbols.clear();
    }

    /// It stands in each series.
    fn family(&mut self, _: &FamilyNames) {}

    fn series(&mut self, series: &Series<'_>) {
        let symbols = &mut self.symbols;
        let mut writer = Writer::new(&mut self.series);
        let length = writer.open(SERIES, USUAL_SERIES_BYTES);
        let labels = series.labels.iter().copied();
        references(&mut writer, 0x0a, symbols, labels);
        match series.row.value {
            Sample::Float(value) => {
                let sample = writer.open(0x12, 24);
                writer.put(double(0x09, value));
                writer.put(millis(0x10, series.time_millis));
                writer.put(millis(0x18, series.start_millis));
                writer.close(sample);
            }
            Sample::Native(histogram) => {
                let (time, start) = (series.time_millis, series.start_millis);
                write_histogram(&mut writer, 0x1a, histogram, &mut self.sparse, time, start);
            }
        }
        for each in &series.row.exemplars {
            exemplar(&mut writer, symbols, each, series.alphabet);
        }
        metadata(&mut writer, symbols, series.names);
        writer.close(length);
    }

    fn mark(&self) -> Self::Mark {
        let symbols = &self.symbols;
        (self.series.len(), symbols.bytes.len(), symbols.count)
    }

    fn rewind(&mut self, (series, bytes, count): Self::Mark) {
        self.series.truncate(series);
        self.symbols.rewind(bytes, count);
    }

    fn bytes(&self) -> usize {
        self.symbols.bytes.len() + self.series.len()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.symbols.bytes);
        out.extend_from_slice(&self.series);
    }
}

fn references<'t>(
    writer: &mut Writer<'_>,
    tag: u8,
    symbols: &mut Symbols,
    labels: impl Iterator<Item = (&'t str, &'t str)>,
) {
    let length = writer.open(tag, 20);
    for (name, value) in labels {
        writer.put((Varint(symbols.find(name)), Varint(symbols.find(value))));
    }
    writer.close(length);
}

fn exemplar(
    writer: &mut Writer<'_>,
    symbols: &mut Symbols,
    exemplar: &Exemplar,
    alphabet: Alphabet,
) {
    let labels = exemplar_labels(exemplar, alphabet);
    let length = writer.open(0x22, USUAL_SERIES_BYTES);
    if !labels.is_empty() {
        let labels = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        references(writer, 0x0a, symbols, labels);
    }
    writer.put(double(0x11, exemplar.value.as_f64()));
    writer.put(millis(0x18, exemplar.time.0 / 1_000_000));
    writer.close(length);
}

fn metadata(writer: &mut Writer<'_>, symbols: &mut Symbols, names: &FamilyNames) {
    let [help, unit] = [&names.help, &names.unit].map(|text| symbols.find(text));
    let length = writer.open(0x2a, 6);
    writer.put([0x08, names.kind as u8]);
    writer.put((help != 0).then_some((0x18, Varint(help))));
    writer.put((unit != 0).then_some((0x20, Varint(unit))));
    writer.close(length);
}

/// The table. Its first entry is empty, as the specification demands.
#[derive(Debug, Default)]
struct Symbols {
    bytes: Vec<u8>,
    places: HashMap<Box<str>, u32>,
    count: u32,
}

impl Symbols {
    fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.count = 0;
        self.find("");
    }

    /// Where `text` stands; it is added if need be.
    fn find(&mut self, text: &str) -> u64 {
        if let Some(place) = self.places.get(text) {
            return u64::from(*place);
        }
        let place = self.count;
        self.count += 1;
        self.places.insert(text.into(), place);
        let mut writer = Writer::new(&mut self.bytes);
        writer.put((SYMBOL, Varint(text.len() as u64), text.as_bytes()));
        u64::from(place)
    }

    fn rewind(&mut self, bytes: usize, count: u32) {
        self.bytes.truncate(bytes);
        if count < self.count {
            self.places.retain(|_, place| *place < count);
            self.count = count;
        }
    }
}
