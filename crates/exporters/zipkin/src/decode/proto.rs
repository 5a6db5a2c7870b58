//! `zipkin.proto3.ListOfSpans`, span by span.

use std::net::IpAddr;

use hiq_core::decode::DecodeError;
use hiq_core::decode::proto::{Field, Fields, ReadError};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::Kind;

use super::model::{EndpointIn, SpanIn};

type Read<T> = Result<T, ReadError>;

/// Hands each span of `payload` to `take`.
pub(super) fn each_span<'p>(
    payload: &'p [u8],
    mut take: impl FnMut(SpanIn<'p>),
) -> Result<(), DecodeError> {
    let mut read_all = || {
        for field in Fields::new(payload, 0) {
            let field = field?;
            if field.number == 1 {
                take(read_span(field.message()?)?);
            }
        }
        Ok(())
    };
    read_all().map_err(|error| DecodeError::not_proto("Zipkin protobuf", error))
}

fn read_span(fields: Fields<'_>) -> Read<SpanIn<'_>> {
    let mut span = SpanIn::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => span.trace_id = trace_id(field)?,
            2 => span.parent = span_id(field)?,
            3 => span.id = span_id(field)?,
            4 => span.kind = kind(field.varint()?),
            5 => span.name = field.text()?.into(),
            6 => span.timestamp = field.fixed64()?,
            7 => span.duration = field.varint()?,
            8 => span.local = endpoint(field.message()?)?,
            9 => span.remote = endpoint(field.message()?)?,
            10 => {
                let (time, text) = annotation(field.message()?)?;
                span.annotations.push((time, text.into()));
            }
            11 => {
                let (key, value) = entry(field.message()?)?;
                span.tags.push((key.into(), value.into()));
            }
            12 => span.debug = field.varint()? != 0,
            13 => span.shared = field.varint()? != 0,
            _ => {}
        }
    }
    Ok(span)
}

fn kind(number: u64) -> Option<Kind> {
    Some(match number {
        1 => Kind::Client,
        2 => Kind::Server,
        3 => Kind::Producer,
        4 => Kind::Consumer,
        _ => return None,
    })
}

fn endpoint(fields: Fields<'_>) -> Read<EndpointIn<'_>> {
    let mut endpoint = EndpointIn::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => endpoint.service = field.text()?.into(),
            2 => {
                let v4 = <[u8; 4]>::try_from(field.bytes()?).ok().map(IpAddr::from);
                endpoint.ip = endpoint.ip.or(v4);
            }
            3 => {
                let v6 = <[u8; 16]>::try_from(field.bytes()?).ok().map(IpAddr::from);
                endpoint.ip = v6.or(endpoint.ip);
            }
            4 => endpoint.port = u16::try_from(field.varint()?).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn annotation(fields: Fields<'_>) -> Read<(u64, &str)> {
    let (mut time, mut text) = (0, "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => time = field.fixed64()?,
            2 => text = field.text()?,
            _ => {}
        }
    }
    Ok((time, text))
}

fn entry(fields: Fields<'_>) -> Read<(&str, &str)> {
    let (mut key, mut value) = ("", "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Eight bytes are the lower half.
fn trace_id(field: Field<'_>) -> Read<TraceId> {
    let bytes = field.bytes()?;
    let mut id = [0; 16];
    if ![8, 16].contains(&bytes.len()) {
        return Err(field.error("a trace id is neither 8 nor 16 bytes long"));
    }
    id[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(TraceId(id))
}

fn span_id(field: Field<'_>) -> Read<SpanId> {
    match field.bytes()? {
        [] => Ok(SpanId::INVALID),
        bytes => match bytes.try_into() {
            Ok(id) => Ok(SpanId(u64::from_be_bytes(id))),
            Err(_) => Err(field.error("a span id is not 8 bytes long")),
        },
    }
}
