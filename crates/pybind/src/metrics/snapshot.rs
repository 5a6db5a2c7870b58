//! A snapshot of metrics as Python objects.

use hiq_core::metric::{
    Buckets, Exemplar, ExponentialHistogram, Family, Histogram, Kind, MetricBatch, Number, Point,
    PointValue, Summary,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Families as dicts, in the order of the snapshot.
pub(super) fn families<'py>(py: Python<'py>, batch: &MetricBatch) -> PyResult<Bound<'py, PyList>> {
    let families = PyList::empty(py);
    for family in batch.families() {
        families.append(one_family(py, family)?)?;
    }
    Ok(families)
}

fn one_family<'py>(py: Python<'py>, family: &Family) -> PyResult<Bound<'py, PyDict>> {
    let descriptor = family.descriptor();
    let dict = PyDict::new(py);
    dict.set_item("name", descriptor.name())?;
    dict.set_item("description", descriptor.description())?;
    dict.set_item("unit", descriptor.unit())?;
    dict.set_item("kind", kind_name(descriptor.kind()))?;
    let points = PyList::empty(py);
    for point in family.points() {
        points.append(one_point(py, point)?)?;
    }
    dict.set_item("points", points)?;
    Ok(dict)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sum { monotonic: true } => "counter",
        Kind::Sum { monotonic: false } => "up_down_counter",
        Kind::Histogram => "histogram",
        Kind::ExponentialHistogram => "exponential_histogram",
        Kind::Summary => "summary",
        _ => "gauge",
    }
}

fn one_point<'py>(py: Python<'py>, point: &Point) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let labels = PyDict::new(py);
    for (name, value) in point.labels().iter() {
        labels.set_item(name, value)?;
    }
    dict.set_item("labels", labels)?;
    dict.set_item("start_unix_nanos", point.start().0)?;
    dict.set_item("time_unix_nanos", point.time().0)?;
    match point.value() {
        PointValue::Number(Number::Int(whole)) => dict.set_item("value", whole)?,
        PointValue::Number(Number::F64(double)) => dict.set_item("value", double)?,
        PointValue::Histogram(histogram) => put_histogram(&dict, histogram)?,
        PointValue::ExponentialHistogram(histogram) => put_exponential(&dict, histogram)?,
        PointValue::Summary(summary) => put_summary(&dict, summary)?,
        _ => {}
    }
    if !point.exemplars().is_empty() {
        dict.set_item("exemplars", exemplars(py, point.exemplars())?)?;
    }
    Ok(dict)
}

fn exemplars<'py>(py: Python<'py>, exemplars: &[Exemplar]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for exemplar in exemplars {
        let dict = PyDict::new(py);
        match exemplar.value {
            Number::Int(whole) => dict.set_item("value", whole)?,
            Number::F64(double) => dict.set_item("value", double)?,
        }
        dict.set_item("time_unix_nanos", exemplar.time.0)?;
        dict.set_item("trace_id", exemplar.trace_id.to_string())?;
        dict.set_item("span_id", exemplar.span_id.to_string())?;
        list.append(dict)?;
    }
    Ok(list)
}

fn put_histogram(dict: &Bound<'_, PyDict>, histogram: &Histogram) -> PyResult<()> {
    dict.set_item("count", histogram.count)?;
    dict.set_item("sum", histogram.sum)?;
    dict.set_item("bounds", &*histogram.bounds)?;
    dict.set_item("counts", &histogram.counts)
}

fn put_exponential(dict: &Bound<'_, PyDict>, histogram: &ExponentialHistogram) -> PyResult<()> {
    let buckets = |buckets: &Buckets| (buckets.offset, buckets.counts.clone());
    dict.set_item("count", histogram.count)?;
    dict.set_item("sum", histogram.sum)?;
    dict.set_item("scale", histogram.scale)?;
    dict.set_item("zero_count", histogram.zero_count)?;
    dict.set_item("positive", buckets(&histogram.positive))?;
    dict.set_item("negative", buckets(&histogram.negative))
}

fn put_summary(dict: &Bound<'_, PyDict>, summary: &Summary) -> PyResult<()> {
    let quantiles = PyDict::new(dict.py());
    for pair in &summary.quantiles {
        quantiles.set_item(pair.quantile, pair.value)?;
    }
    dict.set_item("count", summary.count)?;
    dict.set_item("sum", summary.sum)?;
    dict.set_item("quantiles", quantiles)
}
