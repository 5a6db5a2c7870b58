//! A native histogram: the same message in both versions, but for the start that 2.0 has.

use hiq_core::metric::ExponentialHistogram;
use hiq_core::wire::{Fixed64, LongVarint, Varint, Writer};

use crate::native::{Sparse, schema_of};

/// Writes a `Histogram` in field `tag`. One that [`schema_of`] has no schema for is written with the widest.
pub(super) fn write_histogram(
    writer: &mut Writer<'_>,
    tag: u8,
    histogram: &ExponentialHistogram,
    sparse: &mut Sparse,
    time_millis: u64,
    start_millis: u64,
) {
    let (schema, joins) = schema_of(histogram.scale).unwrap_or_default();
    let length = writer.open(tag, 200);
    writer.put((0x08, Varint(histogram.count)));
    writer.put(double(0x19, histogram.sum.unwrap_or_default()));
    writer.put((schema != 0).then_some((0x20, LongVarint::zigzag(schema.into()))));
    writer.put(double(0x29, histogram.zero_threshold));
    writer.put((0x30, Varint(histogram.zero_count)));
    sparse.load(&histogram.negative, joins);
    buckets(writer, [0x42, 0x4a], sparse);
    sparse.load(&histogram.positive, joins);
    buckets(writer, [0x5a, 0x62], sparse);
    writer.put(millis(0x78, time_millis));
    writer.put((start_millis != 0).then_some(([0x88, 0x01], Varint(start_millis))));
    writer.close(length);
}

fn buckets(writer: &mut Writer<'_>, [spans, deltas]: [u8; 2], sparse: &Sparse) {
    for &(offset, buckets) in &sparse.spans {
        let length = writer.open(spans, 4);
        writer.put((offset != 0).then_some((0x08, LongVarint::zigzag(offset.into()))));
        writer.put((0x10, Varint(buckets.into())));
        writer.close(length);
    }
    if !sparse.deltas.is_empty() {
        let length = writer.open(deltas, 100);
        for &delta in &sparse.deltas {
            writer.put(LongVarint::zigzag(delta));
        }
        writer.close(length);
    }
}

/// Absent when all its bits are zero.
pub(super) fn double(tag: u8, value: f64) -> Option<(u8, Fixed64)> {
    (value.to_bits() != 0).then_some((tag, Fixed64(value.to_bits())))
}

/// Absent when zero.
pub(super) fn millis(tag: u8, millis: u64) -> Option<(u8, Varint)> {
    (millis != 0).then_some((tag, Varint(millis)))
}
