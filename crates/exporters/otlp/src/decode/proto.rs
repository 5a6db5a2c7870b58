//! Requests in protobuf.

use hiq_core::decode::proto::{Fields, ReadError};
use hiq_core::decode::{DecodeError, LooseEvent, LooseLink, LooseSpan};
use hiq_core::span::{Kind, Status};

use super::model::{Origin, ResourceSpans, ScopeSpans};
use crate::flags::set_flags;

pub(super) mod metrics;
mod parts;

use parts::{
    FORMAT, Read, count, read_key_value, read_resource, read_scope, small, span_id, trace_id,
};

/// Hands the spans of each resource to `take`.
pub(super) fn each_resource_spans(
    payload: &[u8],
    mut take: impl FnMut(ResourceSpans<'_>),
) -> Result<(), DecodeError> {
    let mut read_all = || {
        for field in Fields::new(payload, 0) {
            let field = field?;
            if field.number == 1 {
                take(read_resource_spans(field.message()?)?);
            }
        }
        Ok(())
    };
    read_all().map_err(|error: ReadError| DecodeError::not_proto(FORMAT, error))
}

fn read_resource_spans(fields: Fields<'_>) -> Read<ResourceSpans<'_>> {
    let mut scopes = Vec::new();
    let (mut resource, mut schema_url) = (Origin::default(), "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_resource(&mut resource, field.message()?)?,
            2 => scopes.push(read_scope_spans(field.message()?)?),
            3 => schema_url = field.text()?,
            _ => {}
        }
    }
    Ok(ResourceSpans {
        resource: resource.into_resource(schema_url),
        scopes,
    })
}

fn read_scope_spans(fields: Fields<'_>) -> Read<ScopeSpans<'_>> {
    let mut spans = Vec::new();
    let (mut scope, mut schema_url) = (Origin::default(), "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => read_scope(&mut scope, field.message()?)?,
            2 => spans.push(read_span(field.message()?)?),
            3 => schema_url = field.text()?,
            _ => {}
        }
    }
    Ok(ScopeSpans {
        scope: scope.into_scope(schema_url),
        spans,
    })
}

fn read_span(fields: Fields<'_>) -> Read<LooseSpan<'_>> {
    let mut span = LooseSpan::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => span.trace_id = trace_id(field)?,
            2 => span.id = span_id(field)?,
            3 => span.trace_state = field.text()?.into(),
            4 => span.parent = span_id(field)?,
            5 => span.name = field.text()?.into(),
            6 => span.kind = Kind::from_otlp(small(field)?),
            7 => span.start = field.fixed64()?,
            8 => span.end = field.fixed64()?,
            9 => read_key_value(&mut span.attributes, field)?,
            10 => span.dropped.attributes = count(field)?,
            11 => span.events.push(read_event(field.message()?)?),
            12 => span.dropped.events = count(field)?,
            13 => span.links.push(read_link(field.message()?)?),
            14 => span.dropped.links = count(field)?,
            15 => read_status(&mut span, field.message()?)?,
            16 => set_flags(&mut span, field.fixed32()?),
            _ => {}
        }
    }
    Ok(span)
}

fn read_status<'p>(span: &mut LooseSpan<'p>, fields: Fields<'p>) -> Read<()> {
    for field in fields {
        let field = field?;
        match field.number {
            2 => span.message = field.text()?.into(),
            3 => span.status = Status::from_otlp(small(field)?),
            _ => {}
        }
    }
    Ok(())
}

fn read_event(fields: Fields<'_>) -> Read<LooseEvent<'_>> {
    let mut event = LooseEvent::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => event.time = field.fixed64()?,
            2 => event.name = field.text()?.into(),
            3 => read_key_value(&mut event.attributes, field)?,
            4 => event.dropped_attributes = count(field)?,
            _ => {}
        }
    }
    Ok(event)
}

fn read_link(fields: Fields<'_>) -> Read<LooseLink<'_>> {
    let mut link = LooseLink::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => link.trace_id = trace_id(field)?,
            2 => link.span_id = span_id(field)?,
            3 => link.trace_state = field.text()?.into(),
            4 => read_key_value(&mut link.attributes, field)?,
            5 => link.dropped_attributes = count(field)?,
            6 => link.flags = field.fixed32()?,
            _ => {}
        }
    }
    Ok(link)
}
