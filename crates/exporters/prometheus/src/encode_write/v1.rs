//! `prometheus.WriteRequest`.

use hiq_core::metric::Exemplar;
use hiq_core::wire::{Varint, Writer, varint_len};

use super::histogram::{double, millis, write_histogram};
use super::{Body, Series};
use crate::names::Alphabet;
use crate::native::Sparse;
use crate::series::{FamilyKind, FamilyNames, Sample, exemplar_labels};

/// Fields of `WriteRequest`.
const SERIES: u8 = 0x0a;
const METADATA: u8 = 0x1a;

const USUAL_SERIES_BYTES: usize = 200;

/// A request of version 1.0.
#[derive(Debug, Default)]
pub(super) struct WriteRequest {
    bytes: Vec<u8>,
    sparse: Sparse,
}

impl Body for WriteRequest {
    type Mark = usize;

    fn clear(&mut self) {
        self.bytes.clear();
    }

    fn family(&mut self, names: &FamilyNames) {
        let mut writer = Writer::new(&mut self.bytes);
        let length = writer.open(METADATA, 100);
        writer.put([0x08, names.kind as u8]);
        // As samples of the type are called: a counter with its suffix.
        let suffix = match names.kind {
            FamilyKind::Counter => "_total",
            _ => "",
        };
        let name_bytes = names.name.len() + suffix.len();
        let name = (names.name.as_bytes(), suffix.as_bytes());
        writer.put((0x12, Varint(name_bytes as u64), name));
        for (tag, text) in [(0x22, &names.help), (0x2a, &names.unit)] {
            if !text.is_empty() {
                string(&mut writer, tag, text);
            }
        }
        writer.close(length);
    }

    fn series(&mut self, series: &Series<'_>) {
        let mut writer = Writer::new(&mut self.bytes);
        let length = writer.open(SERIES, USUAL_SERIES_BYTES);
        for (name, value) in series.labels {
            label(&mut writer, name, value);
        }
        if let Sample::Float(value) = series.row.value {
            let sample = writer.open(0x12, 16);
            writer.put(double(0x09, value));
            writer.put(millis(0x10, series.time_millis));
            writer.close(sample);
        }
        for each in &series.row.exemplars {
            exemplar(&mut writer, each, series.alphabet);
        }
        if let Sample::Native(histogram) = series.row.value {
            let (sparse, time) = (&mut self.sparse, series.time_millis);
            write_histogram(&mut writer, 0x22, histogram, sparse, time, 0);
        }
        writer.close(length);
    }

    fn mark(&self) -> usize {
        self.bytes.len()
    }

    fn rewind(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

fn label(writer: &mut Writer<'_>, name: &str, value: &str) {
    let field = |text: &str| 1 + varint_len(text.len() as u64) + text.len();
    writer.put((0x0a, Varint((field(name) + field(value)) as u64)));
    string(writer, 0x0a, name);
    string(writer, 0x12, value);
}

fn exemplar(writer: &mut Writer<'_>, exemplar: &Exemplar, alphabet: Alphabet) {
    let length = writer.open(0x1a, USUAL_SERIES_BYTES);
    for (name, value) in exemplar_labels(exemplar, alphabet) {
        label(writer, &name, &value);
    }
    writer.put(double(0x11, exemplar.value.as_f64()));
    writer.put(millis(0x18, exemplar.time.0 / 1_000_000));
    writer.close(length);
}

fn string(writer: &mut Writer<'_>, tag: u8, text: &str) {
    writer.put((tag, Varint(text.len() as u64), text.as_bytes()));
}
