//! `google.rpc.Status` in `grpc-status-details-bin`, of which we want one thing: how long to wait.

use std::time::Duration;

const RETRY_INFO: &[u8] = b"google.rpc.RetryInfo";

/// The delay of the `RetryInfo` among a status' details. `None` where there is none, or none that can be read.
pub(crate) fn retry_delay(details: &[u8]) -> Option<Duration> {
    fields(details)
        .filter(|(number, _)| *number == 3)
        .find_map(|(_, any)| delay_of(any.bytes()?))
}

fn delay_of(any: &[u8]) -> Option<Duration> {
    let is_ours = fields(any).any(|(number, value)| {
        number == 1 && value.bytes().is_some_and(|url| url.ends_with(RETRY_INFO))
    });
    let (_, info) = fields(any).find(|(number, _)| is_ours && *number == 2)?;
    let (_, delay) = fields(info.bytes()?).find(|(number, _)| *number == 1)?;
    let (mut seconds, mut nanos) = (0, 0);
    for (number, value) in fields(delay.bytes()?) {
        match (number, value) {
            (1, Value::Varint(varint)) => seconds = varint.cast_signed(),
            (2, Value::Varint(varint)) => nanos = varint.cast_signed(),
            _ => {}
        }
    }
    // Below zero is no wait.
    let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let part = u32::try_from(nanos).unwrap_or_default().min(999_999_999);
    Some(whole.saturating_add(Duration::from_nanos(part.into())))
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Value<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// The fields of a message, up to the first that cannot be read.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => skip(&mut rest, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Value::Bytes(bytes)
            }
            5 => skip(&mut rest, 4)?,
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

fn skip<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<Value<'a>> {
    *rest = rest.get(bytes..)?;
    Some(Value::Other)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
