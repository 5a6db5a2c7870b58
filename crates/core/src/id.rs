//! Trace and span ids, and where new ones come from.
//!
//! Both ids are shown and parsed as fixed-width lower-case hex, the form of W3C Trace Context.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

/// Identifies one trace: 16 bytes, big-endian, never all zero when valid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TraceId(pub [u8; 16]);

/// Identifies one span within its trace: 8 bytes, never zero when valid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SpanId(pub u64);

/// The text is not the hex form of an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("id `{text}` is not {digits} lower-case hex digits with at least one non-zero")]
pub struct ParseIdError {
    text: String,
    digits: usize,
}

impl TraceId {
    /// The id that stands for "no trace".
    pub const INVALID: Self = Self([0; 16]);

    /// A new random id.
    pub fn random() -> Self {
        IDS.with(|ids| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&ids.random().to_be_bytes());
            bytes[8..].copy_from_slice(&(ids.random() | 1).to_be_bytes());
            Self(bytes)
        })
    }

    /// False for the all-zero id.
    pub fn is_valid(self) -> bool {
        self != Self::INVALID
    }
}

impl SpanId {
    /// The id that stands for "no span".
    pub const INVALID: Self = Self(0);

    /// The next id of this thread: one above the last, from a random start.
    #[inline]
    pub fn next() -> Self {
        IDS.with(|ids| Self(ids.next_span()))
    }

    /// False for zero.
    pub fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The bytes in wire order.
    #[inline]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// Makes this thread draw its ids from a new random start.
///
/// A forked child calls this before its first span: it inherited the parent's state and would repeat its ids.
pub fn reseed_thread() {
    IDS.with(IdState::reseed);
}

/// Hands out the span ids of one open tree, without a look at thread-local state for each.
#[derive(Clone, Debug)]
pub struct SpanIds {
    next: u64,
}

impl SpanIds {
    /// A sequence with its own random start: two sequences of one trace meet with probability n / 2^64.
    pub fn new() -> Self {
        Self {
            next: IDS.with(IdState::random),
        }
    }

    /// The next id, never zero.
    #[inline]
    pub fn take(&mut self) -> SpanId {
        let id = self.next;
        self.next = id.wrapping_add(1).max(1);
        SpanId(id)
    }
}

impl Default for SpanIds {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    static IDS: IdState = const { IdState::new() };
}

/// Per-thread generator (wyrand), seeded by the operating system on first use.
struct IdState {
    random: Cell<u64>,
    span: Cell<u64>,
}

impl IdState {
    const fn new() -> Self {
        Self {
            random: Cell::new(0),
            span: Cell::new(0),
        }
    }

    fn reseed(&self) {
        self.random.set(seed());
        self.span.set(self.step());
    }

    fn random(&self) -> u64 {
        if self.random.get() == 0 {
            self.reseed();
        }
        self.step()
    }

    #[inline]
    fn next_span(&self) -> u64 {
        let id = self.span.get();
        if id == 0 {
            self.reseed();
            return self.next_span();
        }
        self.span.set(id.wrapping_add(1));
        id
    }

    fn step(&self) -> u64 {
        let state = self.random.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.random.set(state);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let (high, low) = ((product >> 64) as u64, product as u64);
        (high ^ low).max(1)
    }
}

/// Operating-system randomness; where that fails (a sandbox without it), the address and clock still differ by thread.
fn seed() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|_| {
            let here = 0_u8;
            std::ptr::from_ref(&here) as u64 ^ crate::time::Clock::unix_nanos().0.rotate_left(32)
        })
        .max(1)
}

macro_rules! hex_text {
    ($id:ty, $digits:literal, $to:expr, $from:expr) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = $to(*self);
                write!(f, concat!("{:0", $digits, "x}"), value)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $id {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                let parsed = (text.len() == $digits && text.bytes().all(lower_hex))
                    .then(|| $from(text))
                    .flatten();
                parsed
                    .filter(|id| id.is_valid())
                    .ok_or_else(|| ParseIdError {
                        text: text.chars().take(64).collect(),
                        digits: $digits,
                    })
            }
        }
    };
}

hex_text!(
    TraceId,
    32,
    |id: TraceId| u128::from_be_bytes(id.0),
    |text| u128::from_str_radix(text, 16)
        .ok()
        .map(|n| TraceId(n.to_be_bytes()))
);
hex_text!(SpanId, 16, |id: SpanId| id.0, |text| {
    u64::from_str_radix(text, 16).ok().map(SpanId)
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_print_and_parse_as_fixed_width_hex() {
        let trace: TraceId = "0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        assert_eq!(trace.0[0], 0x0a);
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!("00000000000000ff".parse::<SpanId>().unwrap(), SpanId(0xff));
    }

    #[test]
    fn zero_upper_case_and_wrong_length_are_refused() {
        for bad in [
            "",
            "0000000000000000",
            "00000000000000FF",
            "ff",
            "+0000000000000ff",
        ] {
            let error = bad.parse::<SpanId>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }

    #[test]
    fn span_ids_of_many_threads_and_sequences_do_not_repeat() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| {
                    let mut sequence = SpanIds::new();
                    (0..10_000)
                        .flat_map(|_| [SpanId::next(), sequence.take()])
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut seen = HashSet::new();
        for thread in threads {
            for id in thread.join().unwrap() {
                assert!(id.is_valid() && seen.insert(id), "{id} repeats");
            }
        }
    }
}
