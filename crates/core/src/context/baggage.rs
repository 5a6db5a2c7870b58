//! `baggage`. Source: W3C Baggage.

use std::fmt::Write as _;

use super::Headers;

/// Bytes of all that is written.
pub(super) const MAX_BYTES: usize = 8_192;
/// Members that are read or written.
pub(super) const MAX_MEMBERS: usize = 64;

pub(super) fn read(headers: &Headers<'_>) -> Vec<(String, String)> {
    let baggage = headers.joined("baggage");
    baggage.as_deref().map(parse_baggage).unwrap_or_default()
}

pub(super) fn write(baggage: &[(String, String)], set: &mut dyn FnMut(&str, String)) {
    let header = write_baggage(baggage);
    if !header.is_empty() {
        set("baggage", header);
    }
}

/// Keys and decoded values; members that break the rules are left out, properties are not kept.
fn parse_baggage(value: &str) -> Vec<(String, String)> {
    let members = value.split(',').take(MAX_MEMBERS);
    members
        .filter_map(|member| {
            let member = member.split(';').next()?;
            let (key, value) = member.split_once('=')?;
            let key = key.trim();
            is_token(key).then(|| Some((key.to_owned(), percent_decode(value.trim())?)))?
        })
        .collect()
}

fn write_baggage(baggage: &[(String, String)]) -> String {
    let mut header = String::new();
    for (key, value) in baggage
        .iter()
        .filter(|(key, _)| is_token(key))
        .take(MAX_MEMBERS)
    {
        let before = header.len();
        if before > 0 {
            header.push(',');
        }
        header.push_str(key);
        header.push('=');
        percent_encode(value, &mut header);
        if header.len() > MAX_BYTES {
            header.truncate(before);
            break;
        }
    }
    header
}

pub(super) fn is_token(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !key.is_empty() && key.bytes().all(allowed)
}

/// Decodes `%41`; `None` when a sequence is broken or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            if digits.starts_with('+') {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

pub(super) fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        let plain = (0x21..=0x7e).contains(&byte) && !b"\",;\\%".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
