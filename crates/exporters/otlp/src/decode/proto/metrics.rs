//! Requests of metrics in protobuf.

use hiq_core::decode::proto::{Field, Fields};
use hiq_core::decode::{DecodeError, LooseAttributes};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, Number,
    QuantileValue, Summary,
};
use hiq_core::time::UnixNanos;

use super::parts::{
    FORMAT, Read, read_key_value, read_resource, read_scope, small, span_id, trace_id,
};
use crate::decode::left_out::LeftOutPoints;
use crate::decode::model::{Origin, ResourceMetrics, ScopeMetrics};
use crate::decode::points::{LoosePoint, Points, Temporality, labels};

/// Hands the metrics of each resource to `take`, and counts in `left_out` what is not among them.
pub(in crate::decode) fn each_resource_metrics(
    payload: &[u8],
    left_out: &mut LeftOutPoints,
    mut take: impl FnMut(ResourceMetrics),
) -> Result<(), DecodeError> {
    let mut read_all = || {
        for field in Fields::new(payload, 0) {
            let field = field?;
            if field.number == 1 {
                take(read_resource_metrics(field.message()?, left_out)?);
            }
        }
        Ok(())
    };
    read_all().map_err(|error| DecodeError::not_proto(FORMAT, error))
}

fn read_resource_metrics(
    fields: Fields<'_>,
    left_out: &mut LeftOutPoints,
) -> Read<ResourceMetrics> {
    let mut scopes = Vec::new();
    let (mut resource, mut schema_url) = (Origin::default(), "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_resource(&mut resource, field.message()?)?,
            2 => scopes.push(read_scope_metrics(field.message()?, left_out)?),
            3 => schema_url = field.text()?,
            _ => {}
        }
    }
    Ok(ResourceMetrics {
        resource: resource.into_resource(schema_url),
        scopes,
    })
}

fn read_scope_metrics(fields: Fields<'_>, left_out: &mut LeftOutPoints) -> Read<ScopeMetrics> {
    let mut families = Vec::new();
    let (mut scope, mut schema_url) = (Origin::default(), "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_scope(&mut scope, field.message()?)?,
            2 => families.extend(read_metric(field.message()?, left_out)?),
            3 => schema_url = field.text()?,
            _ => {}
        }
    }
    Ok(ScopeMetrics {
        scope: scope.into_scope(schema_url),
        families,
    })
}

/// Reads a `Metric`; `None` where it has no data of a known kind, or no point that can be kept.
fn read_metric(fields: Fields<'_>, left_out: &mut LeftOutPoints) -> Read<Option<Family>> {
    let (mut name, mut description, mut unit) = ("", "", "");
    let mut data: Vec<Field<'_>> = Vec::new();
    for field in fields {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => description = field.text()?,
            3 => unit = field.text()?,
            GAUGE | SUM | HISTOGRAM | EXPONENTIAL_HISTOGRAM | SUMMARY => {
                // By protobuf's rule the last kind counts, and of one kind all that is said.
                if data.last().is_some_and(|last| last.number != field.number) {
                    data.clear();
                }
                data.push(field);
            }
            _ => {}
        }
    }
    let Some(form) = data.first().map(|field| field.number) else {
        left_out.of_unknown_kind += 1;
        return Ok(None);
    };
    let (kind, temporality) = read_kind(form, &data)?;
    let mut points = Points::new(temporality, left_out);
    for field in &data {
        read_points(field.message()?, form, &mut points)?;
    }
    let descriptor = Descriptor::new(name, kind)
        .with_description(description)
        .with_unit(unit);
    let family = points.into_family(descriptor);
    Ok((!family.points().is_empty()).then_some(family))
}

/// Fields of a `Metric`.
const GAUGE: u64 = 5;
const SUM: u64 = 7;
const HISTOGRAM: u64 = 9;
const EXPONENTIAL_HISTOGRAM: u64 = 10;
const SUMMARY: u64 = 11;

/// What `data`, which may stand behind its points, says of them.
fn read_kind(form: u64, data: &[Field<'_>]) -> Read<(Kind, Temporality)> {
    let kind = match form {
        GAUGE => return Ok((Kind::Gauge, Temporality::Cumulative)),
        SUMMARY => return Ok((Kind::Summary, Temporality::Cumulative)),
        SUM => Kind::UP_DOWN_COUNTER,
        HISTOGRAM => Kind::Histogram,
        _ => Kind::ExponentialHistogram,
    };
    let (mut temporality, mut monotonic) = (Temporality::default(), false);
    for field in data {
        for field in field.message()? {
            let field = field?;
            match field.number {
                2 => temporality = Temporality::from_otlp(small(field)?),
                3 if form == SUM => monotonic = field.varint()? != 0,
                _ => {}
            }
        }
    }
    match kind {
        Kind::Sum { .. } => Ok((Kind::Sum { monotonic }, temporality)),
        kind => Ok((kind, temporality)),
    }
}

fn read_points(data: Fields<'_>, form: u64, points: &mut Points<'_>) -> Read<()> {
    for field in data {
        let field = field?;
        if field.number == 1 {
            let fields = field.message()?;
            points.take(match form {
                GAUGE | SUM => read_number(fields)?,
                HISTOGRAM => read_histogram(fields)?,
                EXPONENTIAL_HISTOGRAM => read_exponential(fields)?,
                _ => read_summary(fields)?,
            });
        }
    }
    Ok(())
}

fn read_number(fields: Fields<'_>) -> Read<LoosePoint<'_>> {
    let mut point = LoosePoint::default();
    for field in fields {
        let field = field?;
        match field.number {
            2 => point.start = field.fixed64()?,
            3 => point.time = field.fixed64()?,
            4 => point.value = Some(Number::F64(double(field)?).into()),
            5 => read_exemplar(&mut point, field.message()?)?,
            6 => point.value = Some(int(field)?.into()),
            7 => read_key_value(&mut point.attributes, field)?,
            8 => point.flags = field.varint()?,
            _ => {}
        }
    }
    Ok(point)
}

fn read_histogram(fields: Fields<'_>) -> Read<LoosePoint<'_>> {
    let (mut point, mut value) = (LoosePoint::default(), Histogram::default());
    let mut bounds = Vec::new();
    for field in fields {
        let field = field?;
        match field.number {
            2 => point.start = field.fixed64()?,
            3 => point.time = field.fixed64()?,
            4 => value.count = field.fixed64()?,
            5 => value.sum = Some(double(field)?),
            6 => field.append_fixed64s(&mut value.counts)?,
            7 => field.append_fixed64s(&mut bounds)?,
            8 => read_exemplar(&mut point, field.message()?)?,
            9 => read_key_value(&mut point.attributes, field)?,
            10 => point.flags = field.varint()?,
            11 => value.min = Some(double(field)?),
            12 => value.max = Some(double(field)?),
            _ => {}
        }
    }
    value.bounds = bounds.into_iter().map(f64::from_bits).collect();
    point.value = Some(value.into());
    Ok(point)
}

fn read_exponential(fields: Fields<'_>) -> Read<LoosePoint<'_>> {
    let (mut point, mut value) = (LoosePoint::default(), ExponentialHistogram::default());
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_key_value(&mut point.attributes, field)?,
            2 => point.start = field.fixed64()?,
            3 => point.time = field.fixed64()?,
            4 => value.count = field.fixed64()?,
            5 => value.sum = Some(double(field)?),
            6 => value.scale = zigzag(field)?,
            7 => value.zero_count = field.fixed64()?,
            8 => read_buckets(&mut value.positive, field.message()?)?,
            9 => read_buckets(&mut value.negative, field.message()?)?,
            10 => point.flags = field.varint()?,
            11 => read_exemplar(&mut point, field.message()?)?,
            12 => value.min = Some(double(field)?),
            13 => value.max = Some(double(field)?),
            14 => value.zero_threshold = double(field)?,
            _ => {}
        }
    }
    point.value = Some(value.into());
    Ok(point)
}

fn read_buckets(buckets: &mut Buckets, fields: Fields<'_>) -> Read<()> {
    for field in fields {
        let field = field?;
        match field.number {
            1 => buckets.offset = zigzag(field)?,
            2 => field.append_varints(&mut buckets.counts)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_summary(fields: Fields<'_>) -> Read<LoosePoint<'_>> {
    let (mut point, mut value) = (LoosePoint::default(), Summary::default());
    for field in fields {
        let field = field?;
        match field.number {
            2 => point.start = field.fixed64()?,
            3 => point.time = field.fixed64()?,
            4 => value.count = field.fixed64()?,
            5 => value.sum = double(field)?,
            6 => value.quantiles.push(read_quantile(field.message()?)?),
            7 => read_key_value(&mut point.attributes, field)?,
            8 => point.flags = field.varint()?,
            _ => {}
        }
    }
    point.value = Some(value.into());
    Ok(point)
}

fn read_quantile(fields: Fields<'_>) -> Read<QuantileValue> {
    let (mut quantile, mut value) = (0.0, 0.0);
    for field in fields {
        let field = field?;
        match field.number {
            1 => quantile = double(field)?,
            2 => value = double(field)?,
            _ => {}
        }
    }
    Ok(QuantileValue { quantile, value })
}

/// Reads an `Exemplar`, and leaves it out where it has no value.
fn read_exemplar(point: &mut LoosePoint<'_>, fields: Fields<'_>) -> Read<()> {
    let mut attributes = LooseAttributes::new();
    let (mut time, mut value) = (0, None);
    let (mut trace, mut span) = (TraceId::INVALID, SpanId::INVALID);
    for field in fields {
        let field = field?;
        match field.number {
            2 => time = field.fixed64()?,
            3 => value = Some(Number::F64(double(field)?)),
            4 => span = span_id(field)?,
            5 => trace = trace_id(field)?,
            6 => value = Some(int(field)?),
            7 => read_key_value(&mut attributes, field)?,
            _ => {}
        }
    }
    if let Some(value) = value {
        let mut exemplar = Exemplar::new(UnixNanos(time), value, trace, span);
        exemplar.labels = (!attributes.is_empty()).then(|| labels(&attributes));
        point.exemplars.push(exemplar);
    }
    Ok(())
}

fn double(field: Field<'_>) -> Read<f64> {
    field.fixed64().map(f64::from_bits)
}

/// An `sfixed64`.
fn int(field: Field<'_>) -> Read<Number> {
    Ok(Number::Int(field.fixed64()?.cast_signed()))
}

/// An `sint32`: of more bits the low half, as decoders do.
#[expect(clippy::cast_possible_truncation, reason = "protobuf's own rule")]
fn zigzag(field: Field<'_>) -> Read<i32> {
    let bits = field.varint()? as u32;
    Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
}
