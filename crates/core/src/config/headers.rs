//! Headers from `k=v,k=v`, and what may be in a header.

use super::reader::Reader;
use super::{ConfigError, Protocol, Secret};
use crate::context::percent_decode;

/// Reads `text`, the value of variable `name`. Messages name keys only: everything else may be a secret.
pub(super) fn parse(reader: &mut Reader<'_>, name: &str, text: &str) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for (index, member) in text.split(',').enumerate() {
        if member.trim().is_empty() {
            continue;
        }
        let pair = member
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()));
        let Some((key, value)) = pair.filter(|(key, _)| is_token(key)) else {
            let message = format!("member {} is not key=value and is left out", index + 1);
            reader.warn(name, message);
            continue;
        };
        let decoded = percent_decode(value).unwrap_or_else(|| {
            let message =
                format!("the value of `{key}` has broken percent-encoding; it is used as written");
            reader.warn(name, message);
            value.to_owned()
        });
        set(&mut headers, key, Secret::new(decoded));
    }
    headers
}

/// Names are compared without regard to case, so they are kept in lower case, the last value of each.
pub(super) fn set(headers: &mut Vec<(String, Secret)>, key: &str, value: Secret) {
    let key = key.to_ascii_lowercase();
    match headers.iter_mut().find(|(known, _)| *known == key) {
        Some((_, known)) => *known = value,
        None => headers.push((key, value)),
    }
}

pub(super) fn validate(
    place: &str,
    headers: &[(String, Secret)],
    protocol: Protocol,
) -> Result<(), ConfigError> {
    for (key, value) in headers {
        // A name that is no token may be a secret that lost its `=`.
        if !is_token(key) {
            let problem = "a header's name holds a character that names cannot have";
            return Err(ConfigError::new(
                place,
                problem,
                "use letters, digits and hyphens",
            ));
        }
        if protocol == Protocol::Grpc && (key.ends_with("-bin") || key.starts_with("grpc-")) {
            let problem = format!("gRPC keeps the header `{key}` for itself");
            return Err(ConfigError::new(
                place,
                problem,
                "use another name or http/protobuf",
            ));
        }
        let may_hold = |byte: u8| match protocol {
            Protocol::Grpc => (0x20..=0x7e).contains(&byte),
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                byte >= 0x20 && byte != 0x7f || byte == b'\t'
            }
        };
        if !value.expose().bytes().all(may_hold) {
            let problem =
                format!("the value of header `{key}` holds a character that headers cannot have");
            let fix = "remove line breaks, NUL and other control characters (for gRPC: everything but ASCII)";
            return Err(ConfigError::new(place, problem, fix));
        }
    }
    Ok(())
}

fn is_token(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !key.is_empty() && key.bytes().all(allowed)
}
