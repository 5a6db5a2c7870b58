//! JSON without a tree: where a value ends, and the fields of one event. As lenient as what writes reports: control characters in
//! texts, `NaN` and `Infinity` are let through.

use super::window::is_blank;

/// Why a look at some bytes came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes end before the value does.
    Short,
    /// This is no JSON, at this place.
    Bad(usize, &'static str),
}

type Scan<T> = Result<T, Stop>;

/// The place behind white space.
#[inline]
pub(crate) fn skip_blanks(bytes: &[u8], mut at: usize) -> Scan<usize> {
    while let Some(byte) = bytes.get(at) {
        if !is_blank(*byte) {
            return Ok(at);
        }
        at += 1;
    }
    Err(Stop::Short)
}

/// The place of the quote that ends the text which begins at `at`, behind its first quote.
#[inline]
pub(crate) fn end_of_text(bytes: &[u8], mut at: usize) -> Scan<usize> {
    loop {
        // Eight bytes at a time: a quote or backslash makes its byte's top bit.
        while let Some(block) = bytes.get(at..at + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(block);
            let word = u64::from_le_bytes(word);
            let found = zero_bytes(word ^ repeat(b'"')) | zero_bytes(word ^ repeat(b'\\'));
            if found != 0 {
                at += (found.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            None => return Err(Stop::Short),
            Some(b'"') => return Ok(at),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(1)) & !word & repeat(0x80)
}

/// The place behind the value that begins at `at`, whatever it is. Texts inside may be anything, brackets must match in number.
pub(crate) fn end_of_value(bytes: &[u8], at: usize) -> Scan<usize> {
    match bytes.get(at) {
        None => Err(Stop::Short),
        Some(b'"') => Ok(end_of_text(bytes, at + 1)? + 1),
        Some(b'{' | b'[') => end_of_brackets(bytes, at),
        Some(_) => end_of_word(bytes, at),
    }
}

fn end_of_brackets(bytes: &[u8], mut at: usize) -> Scan<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::Short),
            Some(b'"') => at = end_of_text(bytes, at + 1)?,
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            Some(_) => {}
        }
        at += 1;
    }
}

/// A number, `true`, `false`, `null`, `NaN`, `Infinity`.
#[inline]
fn end_of_word(bytes: &[u8], start: usize) -> Scan<usize> {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        if !IN_WORD[usize::from(*byte)] {
            if at == start {
                return Err(Stop::Bad(at, "a value is missing"));
            }
            return Ok(at);
        }
        at += 1;
    }
    Err(Stop::Short)
}

/// The bytes of numbers and names.
static IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
        byte += 1;
    }
    table
};

/// One event: the bytes of its fields, texts without their quotes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventBytes<'a> {
    pub(crate) ph: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) cat: &'a [u8],
    pub(crate) ts: &'a [u8],
    pub(crate) dur: &'a [u8],
    /// With quotes, where it has them: a text is another process than the number.
    pub(crate) pid: &'a [u8],
    pub(crate) tid: &'a [u8],
    pub(crate) id: &'a [u8],
    pub(crate) scope: &'a [u8],
    /// The whole value.
    pub(crate) args: &'a [u8],
}

/// Reads the object that `bytes` begin with. Returns its fields and its length.
#[inline]
pub(crate) fn event(bytes: &[u8]) -> Scan<(EventBytes<'_>, usize)> {
    if bytes.first() != Some(&b'{') {
        return Err(Stop::Bad(0, "an event is not an object"));
    }
    let mut event = EventBytes::default();
    let mut at = skip_blanks(bytes, 1)?;
    if bytes[at] == b'}' {
        return Ok((event, at + 1));
    }
    loop {
        if bytes[at] != b'"' {
            return Err(Stop::Bad(at, "a field's name is missing"));
        }
        let key_end = end_of_text(bytes, at + 1)?;
        let key = &bytes[at + 1..key_end];
        at = skip_blanks(bytes, key_end + 1)?;
        if bytes[at] != b':' {
            return Err(Stop::Bad(at, "a colon is missing"));
        }
        at = skip_blanks(bytes, at + 1)?;
        // Most values are texts and numbers.
        let end = match bytes[at] {
            b'"' => end_of_text(bytes, at + 1)? + 1,
            b'{' | b'[' => end_of_brackets(bytes, at)?,
            _ => end_of_word(bytes, at)?,
        };
        event.set(key, &bytes[at..end]);
        at = skip_blanks(bytes, end)?;
        match bytes[at] {
            b'}' => return Ok((event, at + 1)),
            b',' => at = skip_blanks(bytes, at + 1)?,
            _ => return Err(Stop::Bad(at, "a comma or bracket is missing")),
        }
        if bytes[at] == b'}' {
            return Ok((event, at + 1));
        }
    }
}

impl<'a> EventBytes<'a> {
    #[inline]
    fn set(&mut self, key: &[u8], value: &'a [u8]) {
        // Byte by byte: against whole texts, each pattern would be a call that compares memory.
        match key {
            [b'p', b'h'] => self.ph = unquoted(value),
            [b't', b's'] => self.ts = unquoted(value),
            [b'd', b'u', b'r'] => self.dur = unquoted(value),
            [b'p', b'i', b'd'] => self.pid = value,
            [b't', b'i', b'd'] => self.tid = value,
            [b'c', b'a', b't'] => self.cat = unquoted(value),
            [b'n', b'a', b'm', b'e'] => self.name = unquoted(value),
            [b'a', b'r', b'g', b's'] => self.args = value,
            [b's'] => self.scope = unquoted(value),
            [b'i', b'd'] | [b'i', b'd', b'2'] => self.id = value,
            _ if key == b"bind_id" => self.id = value,
            _ => {}
        }
    }
}

/// A text without its quotes; anything else as it is.
#[inline]
pub(crate) fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', text @ .., b'"'] => text,
        other => other,
    }
}

/// Microseconds, as digits with or without decimals, in nanoseconds. `None` for what is no finite number.
#[inline]
pub(crate) fn nanos(digits: &[u8]) -> Option<i64> {
    let (is_negative, rest) = match digits {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // A sign, a point and the digits of the largest time.
    if rest.is_empty() || rest.len() > 20 {
        return rounded(digits);
    }
    let (mut value, mut decimals, mut in_decimals) = (0_u64, 0, false);
    for byte in rest {
        match byte {
            b'0'..=b'9' if decimals < 3 => {
                value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                decimals += usize::from(in_decimals);
            }
            b'0'..=b'9' => {}
            b'.' if !in_decimals => in_decimals = true,
            _ => return rounded(digits),
        }
    }
    if rest.len() == 20 && !in_decimals {
        return rounded(digits);
    }
    let value = value.checked_mul([1_000, 100, 10, 1][decimals])?;
    let value = i64::try_from(value).ok()?;
    Some(if is_negative { -value } else { value })
}

#[cold]
#[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn rounded(digits: &[u8]) -> Option<i64> {
    let micros: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let nanos = (micros * 1_000.0).round();
    (nanos.abs() < 9.2e18).then_some(nanos as i64)
}
