//! What a server said, fit for one line of a log.

use std::fmt::Write as _;

use super::{GrpcReply, HttpReply};

impl HttpReply {
    /// Who was asked, for messages.
    pub fn asked(&self) -> &str {
        asked(&self.url)
    }

    /// `http://host/path answered 404 not found: words`. Of `words`, the server's own, what fits into a line.
    pub fn said(&self, words: &str) -> String {
        let mut said = format!("{} answered {}", self.asked(), self.status);
        if let Some(reason) = reason(self.status) {
            let _ = write!(said, " {reason}");
        }
        let words = one_line(words);
        if !words.is_empty() {
            let _ = write!(said, ": {words}");
        }
        said
    }
}

impl GrpcReply {
    /// Who was asked, for messages.
    pub fn asked(&self) -> &str {
        asked(&self.url)
    }

    /// `http://host:4317 answered UNAVAILABLE: words`. Of the server's own words, what fits into a line.
    pub fn said(&self) -> String {
        let mut said = format!("{} answered {}", self.asked(), self.code_name());
        let words = one_line(&self.message);
        if !words.is_empty() {
            let _ = write!(said, ": {words}");
        }
        said
    }

    /// True when the server's limit on messages is lower than ours. There is no code for that: Go, C++ and Python, Java, and
    /// Rust each have their words for it, under `RESOURCE_EXHAUSTED` and, in Rust, `OUT_OF_RANGE`.
    pub fn says_too_large(&self) -> bool {
        let says = [
            "larger than max",
            "exceeds maximum size",
            "length too large",
        ];
        let is_code = matches!(self.code, 8 | 11) && self.retry_delay.is_none();
        is_code && says.iter().any(|words| self.message.contains(words))
    }

    /// The code's name in gRPC's own list, `UNAVAILABLE`; `UNKNOWN` for codes that are not on it.
    pub const fn code_name(&self) -> &'static str {
        match self.code {
            0 => "OK",
            1 => "CANCELLED",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            _ => "UNKNOWN",
        }
    }
}

fn asked(url: &str) -> &str {
    if url.is_empty() { "the server" } else { url }
}

fn reason(status: u16) -> Option<&'static str> {
    Some(match status {
        300..=399 => "redirect",
        400 => "bad request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not found",
        405 => "method not allowed",
        407 => "proxy authentication required",
        408 => "request timeout",
        413 => "content too large",
        415 => "unsupported media type",
        429 => "too many requests",
        500 => "internal server error",
        501 => "not implemented",
        502 => "bad gateway",
        503 => "service unavailable",
        504 => "gateway timeout",
        _ => return None,
    })
}

const MAX_WORDS_CHARS: usize = 200;

/// A server's words without control characters, line breaks and changes of direction, at most 200 characters of them.
pub fn one_line(words: &str) -> String {
    let may_show = |c: &char| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let spaced = words.split(|c: char| c.is_control() || c.is_whitespace());
    let words: Vec<&str> = spaced.filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    let mut shown: String = line
        .chars()
        .filter(may_show)
        .take(MAX_WORDS_CHARS)
        .collect();
    if shown.len() < line.len() && line.chars().filter(may_show).count() > MAX_WORDS_CHARS {
        shown.push('…');
    }
    shown
}
