//! What a server said, fit for one line of a log.

use std::fmt::Write as _;

use super::HttpReply;

impl HttpReply {
    /// Who was asked, for messages.
    pub fn asked(&self) -> &str {
        if self.url.is_empty() {
            "the server"
        } else {
            &self.url
        }
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
