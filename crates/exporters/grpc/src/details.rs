//! `google.rpc.Status` in `grpc-status-details-bin`, of which we want one thing: how long to wait.

use std::time::Duration;

use hiq_core::decode::proto::{Fields, Wire};

const RETRY_INFO: &[u8] = b"google.rpc.RetryInfo";

/// The delay of the `RetryInfo` among a status' details. `None` where there is none, or none that can be read.
pub(crate) fn retry_delay(details: &[u8]) -> Option<Duration> {
    messages(details, 3).find_map(delay_of)
}

fn delay_of(any: &[u8]) -> Option<Duration> {
    let is_ours = messages(any, 1).any(|url| url.ends_with(RETRY_INFO));
    let info = messages(any, 2).find(|_| is_ours)?;
    let delay = messages(info, 1).next()?;
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(delay, 0).map_while(Result::ok) {
        match (field.number, field.value) {
            (1, Wire::Varint(varint)) => seconds = varint.cast_signed(),
            (2, Wire::Varint(varint)) => nanos = varint.cast_signed(),
            _ => {}
        }
    }
    // Below zero is no wait.
    let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let part = u32::try_from(nanos).unwrap_or_default().min(999_999_999);
    Some(whole.saturating_add(Duration::from_nanos(part.into())))
}

/// Fields of this number and with a length, up to the first field that cannot be read.
fn messages(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let readable = Fields::new(message, 0).map_while(Result::ok);
    readable.filter_map(move |field| match field.value {
        Wire::Bytes(bytes) if field.number == number => Some(bytes),
        _ => None,
    })
}
