//! Numbers and text as Python prints them.

use std::fmt::Write;

/// `value` as Python's `repr` prints a float: the shortest digits that read back as the same double, an exponent of at
/// least two digits below 1e-4 and from 1e16 on.
///
/// ```
/// use hiq_core::render::float_repr;
/// assert_eq!(float_repr(1e-7), "1e-07");
/// assert_eq!(float_repr(3.0), "3.0");
/// assert_eq!(float_repr(f64::INFINITY), "inf");
/// ```
pub fn float_repr(value: f64) -> String {
    let mut text = String::with_capacity(24);
    push_float(&mut text, value);
    text
}

/// `value` as C's and Python's `%.<decimals>f` print it: exact, halves to even. At most six decimals.
///
/// ```
/// use hiq_core::render::float_fixed;
/// assert_eq!(float_fixed(0.125, 2), "0.12");
/// assert_eq!(float_fixed(-0.0004, 3), "-0.000");
/// ```
pub fn float_fixed(value: f64, decimals: u32) -> String {
    let mut text = String::new();
    push_fixed(&mut text, value, 0, decimals.min(6));
    text
}

pub(super) fn push_float(out: &mut String, value: f64) {
    let mut digits = Digits::new();
    out.push_str(float_text(value, &mut digits));
}

/// Length in bytes of what [`push_float`] appends.
pub(super) fn float_len(value: f64) -> usize {
    float_text(value, &mut Digits::new()).len()
}

/// Appends `value` as C's `%.<decimals>f` prints it, on the right of `width` columns.
pub(super) fn push_fixed(out: &mut String, value: f64, width: usize, decimals: u32) {
    let mut digits = Digits::new();
    let text = fixed_text(value, decimals, &mut digits);
    match text {
        Some(text) => push_right(out, text, width),
        // From 2^53 on a double is an integer of up to 309 digits.
        None => push_right(out, &format!("{value:.*}", decimals as usize), width),
    }
}

pub(super) fn push_spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// `text` as Python's `repr` prints a str.
///
/// ```
/// use hiq_core::render::str_repr;
/// assert_eq!(str_repr("it's"), "\"it's\"");
/// assert_eq!(str_repr("tab\t"), "'tab\\t'");
/// ```
pub fn str_repr(text: &str) -> String {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        push_escaped(&mut out, c, quote);
    }
    out.push(quote);
    out
}

/// Whether Python takes the value whose `repr` is `repr` for false. Objects of unknown types count as true.
pub(super) fn is_falsy(repr: &str) -> bool {
    const EMPTY: [&str; 12] = [
        "",
        "None",
        "False",
        "''",
        "\"\"",
        "b''",
        "[]",
        "()",
        "{}",
        "set()",
        "frozenset()",
        "0j",
    ];
    EMPTY.contains(&repr) || (repr.starts_with(['0', '-']) && repr.parse::<f64>() == Ok(0.0))
}

/// The `repr` of a str, taken apart into the pieces that stand for one character each; `None` if `repr` is none.
pub(super) fn str_pieces(repr: &str) -> Option<Vec<&str>> {
    let quote = repr.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut rest = repr[1..].strip_suffix(quote)?;
    let mut pieces = Vec::new();
    while let Some(c) = rest.chars().next() {
        if c == quote {
            return None;
        }
        let length = if c == '\\' {
            escape_len(rest)
        } else {
            c.len_utf8()
        };
        let (piece, after) = rest.split_at_checked(length)?;
        pieces.push(piece);
        rest = after;
    }
    Some(pieces)
}

/// The `repr` of the str that `prefix` and then `pieces` of another `repr` make.
pub(super) fn str_repr_of_pieces(prefix: &str, pieces: &[&str]) -> String {
    let has = |quote: char| {
        pieces
            .iter()
            .any(|piece| piece.trim_start_matches('\\') == quote.to_string())
    };
    let quote = quote_for(has('\''), has('"'));
    let mut out = format!("{quote}{prefix}");
    for piece in pieces {
        match piece.trim_start_matches('\\') {
            "'" if quote == '\'' => out.push_str("\\'"),
            bare @ ("'" | "\"") => out.push_str(bare),
            _ => out.push_str(piece),
        }
    }
    out.push(quote);
    out
}

fn quote_for(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn escape_len(escape: &str) -> usize {
    match escape.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        _ => 1 + escape[1..].chars().next().map_or(1, char::len_utf8),
    }
}

fn push_escaped(out: &mut String, c: char, quote: char) {
    let code = u32::from(c);
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c == quote => out.extend(['\\', c]),
        ' '..='~' => out.push(c),
        c if !c.is_ascii() && is_printable(c) => out.push(c),
        _ if code < 0x100 => push_hex(out, 'x', 2, code),
        _ if code < 0x1_0000 => push_hex(out, 'u', 4, code),
        _ => push_hex(out, 'U', 8, code),
    }
}

fn push_hex(out: &mut String, letter: char, digits: usize, code: u32) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\{letter}{code:0digits$x}");
}

/// Rust escapes the same categories as Python, and, at the start of a text only, combining characters: so not alone.
fn is_printable(c: char) -> bool {
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().count() == 2
}

/// Room for the longest `repr` of a double (24), a fixed number below 2^53 with six decimals (24), two moments (55).
pub(super) struct Digits {
    bytes: [u8; Digits::ROOM],
    length: usize,
}

impl Digits {
    const ROOM: usize = 64;

    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; Self::ROOM],
            length: 0,
        }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text);
            self.length += text.len();
        }
    }

    /// At least `width` digits. Formatting by `write!` takes three times as long, and a tree has ten numbers a span.
    pub(super) fn push_integer(&mut self, mut value: u64, width: usize) {
        const MOST: usize = 20;
        let mut digits = [b'0'; MOST];
        let mut start = MOST;
        while value > 0 {
            start -= 1;
            digits[start] += u8::try_from(value % 10).unwrap_or_default();
            value /= 10;
        }
        self.push(&digits[start.min(MOST.saturating_sub(width))..]);
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

fn float_text(value: f64, out: &mut Digits) -> &str {
    if !value.is_finite() {
        return not_finite(value);
    }
    // The shortest digits, the even ones of two equally near: the standard library picks the upper ones.
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value);
    let (sign, unsigned) = shortest.split_at(usize::from(shortest.starts_with('-')));
    out.push(sign.as_bytes());
    match (unsigned.split_once('e'), unsigned.strip_prefix("0.0000")) {
        (Some((mantissa, exponent)), _) => push_scientific(out, mantissa, exponent),
        (None, Some(digits)) => push_scientific_from_fraction(out, digits),
        (None, None) => out.push(unsigned.as_bytes()),
    }
    out.text()
}

fn push_scientific(out: &mut Digits, mantissa: &str, exponent: &str) {
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    let digits = exponent.trim_start_matches(['-', '+']);
    out.push(mantissa.strip_suffix(".0").unwrap_or(mantissa).as_bytes());
    // Writing to the buffer cannot fail.
    let _ = write!(out, "e{sign}{digits:0>2}");
}

/// Python writes 0.000012 as 1.2e-05; `digits` are those behind the four zeros.
fn push_scientific_from_fraction(out: &mut Digits, digits: &str) {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    // Writing to the buffer cannot fail.
    let _ = write!(out, "{first}{point}{rest}e-05");
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "nan"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

/// Exact, halves to even, as C does it; `None` from 2^53 on.
fn fixed_text(value: f64, decimals: u32, out: &mut Digits) -> Option<&str> {
    if !value.is_finite() {
        return Some(not_finite(value));
    }
    let scale = 10_u64.pow(decimals);
    let scaled = scaled_to_integer(value.abs(), scale)?;
    if value.is_sign_negative() {
        out.push(b"-");
    }
    let (whole, part) = whole_and_part(scaled, scale);
    out.push_integer(whole, 1);
    if decimals > 0 {
        out.push(b".");
        out.push_integer(part, decimals as usize);
    }
    Some(out.text())
}

fn whole_and_part(scaled: u128, scale: u64) -> (u64, u64) {
    if let Ok(scaled) = u64::try_from(scaled) {
        return (scaled / scale, scaled % scale);
    }
    // Division of 128 bits is slow, and seldom needed. Both results fit: whole is below 2^53.
    let low = |wide: u128| u64::try_from(wide).unwrap_or(u64::MAX);
    (
        low(scaled / u128::from(scale)),
        low(scaled % u128::from(scale)),
    )
}

fn scaled_to_integer(magnitude: f64, scale: u64) -> Option<u128> {
    const MANTISSA_BITS: u64 = 52;
    let bits = magnitude.to_bits();
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let exponent = bits >> MANTISSA_BITS;
    // value = mantissa / 2^shift
    let (mantissa, shift) = match exponent {
        0 => (fraction, 1074),
        1..1075 => (fraction | (1 << MANTISSA_BITS), 1075 - exponent),
        _ => return None,
    };
    // Below 2^53 * 10^6 < 2^73: what is shifted by more is less than a half.
    let scaled = u128::from(mantissa) * u128::from(scale);
    if shift >= 100 {
        return Some(0);
    }
    let (quotient, remainder, half) = (
        scaled >> shift,
        scaled & ((1 << shift) - 1),
        1 << (shift - 1),
    );
    let up = remainder > half || (remainder == half && quotient & 1 == 1);
    Some(quotient + u128::from(up))
}

fn push_right(out: &mut String, text: &str, width: usize) {
    push_spaces(out, width.saturating_sub(text.len()));
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_str_is_quoted_and_escaped_as_python_does() {
        // From CPython 3.11: [repr(s) for s in (...)].
        for (text, repr) in [
            ("", "''"),
            ("a'b", "\"a'b\""),
            ("a\"b", "'a\"b'"),
            ("a'b\"c", "'a\\'b\"c'"),
            (
                "\\\n\r\t\0\x7f\u{80}\u{a0}",
                "'\\\\\\n\\r\\t\\x00\\x7f\\x80\\xa0'",
            ),
            (
                "é e\u{301} 🦉 \u{200b} \u{ad}",
                "'é e\u{301} 🦉 \\u200b \\xad'",
            ),
            ("\u{e000}\u{f0000}\u{2028}", "'\\ue000\\U000f0000\\u2028'"),
        ] {
            assert_eq!(str_repr(text), repr);
        }
    }

    #[test]
    fn the_tail_of_a_str_is_quoted_anew() {
        let pieces = str_pieces(r#"'a\'b"c\n\x00\U000f0000é'"#).unwrap();
        assert_eq!(
            pieces,
            [
                "a",
                "\\'",
                "b",
                "\"",
                "c",
                "\\n",
                "\\x00",
                "\\U000f0000",
                "é"
            ]
        );
        assert_eq!(str_repr_of_pieces("...", &pieces[1..3]), "\"...'b\"");
        assert_eq!(str_repr_of_pieces("...", &pieces[1..4]), "'...\\'b\"'");
        assert_eq!(str_repr_of_pieces("", &pieces[3..4]), "'\"'");
    }

    #[test]
    fn what_is_no_str_has_no_pieces() {
        for repr in [
            "",
            "'",
            "'a",
            "1",
            "b'x'",
            "'a' + 'b'",
            "'\\'",
            "'\\x'",
            "'\\u12'",
        ] {
            assert_eq!(str_pieces(repr), None, "{repr}");
        }
    }

    #[test]
    fn false_values_are_known_by_their_text() {
        for repr in [
            "None", "False", "0", "0.0", "-0.0", "''", "[]", "()", "{}", "set()", "b''",
        ] {
            assert!(is_falsy(repr), "{repr}");
        }
        for repr in [
            "True", "1", "0.1", "-1", "'0'", "[0]", "nan", "<object>", "-x",
        ] {
            assert!(!is_falsy(repr), "{repr}");
        }
    }
}
