//! What went wrong, in one sentence, without a secret.

use hiq_core::config::Secret;
use hiq_core::transport::{TransportError, TransportErrorKind as Kind, one_line};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::reports::{Failure, Trouble};

/// librdkafka's words without secrets, and without what only its authors can use: `[thrd:main]: `, `(after 3ms in state CONNECT)`.
pub(crate) fn clean(words: &str, secrets: &[Secret]) -> String {
    let words = match words.split_once("]: ") {
        Some((head, rest)) if head.starts_with("[thrd:") => rest,
        _ => words,
    };
    let words = words.split(" (after ").next().unwrap_or(words);
    let words = without_place_in_openssl(words);
    let masked = secrets
        .iter()
        .fold(words, |words, secret| words.replace(secret.expose(), "***"));
    one_line(&masked)
}

/// `Receive failed: ssl/record/rec_layer_s3.c:918:ssl3_read_bytes error:0A000412:SSL routines::alert` without all between the colons.
fn without_place_in_openssl(words: &str) -> String {
    match (words.find(" ssl/"), words.find("SSL routines::")) {
        (Some(place), Some(routines)) if place < routines => {
            let (head, rest) = (&words[..=place], &words[routines..]);
            format!("{head}{}", rest.trim_start_matches("SSL routines::"))
        }
        _ => words.to_owned(),
    }
}

/// With one `write`, so that lines of several threads do not mix.
pub(crate) fn write_to_stderr(line: &str) {
    use std::io::Write as _;
    // Nobody is left to be told that nobody can be told.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says where and why a message was not delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explain<'a> {
    /// `kafka://host:port/topic`.
    pub(crate) target: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) max_message_bytes: usize,
    pub(crate) trouble: Option<&'a Trouble>,
}

impl Explain<'_> {
    /// The end of a message that came back.
    pub(crate) fn failure(&self, failure: Failure) -> TransportError {
        let Self { topic, .. } = self;
        match failure.code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => self.says(
                Kind::Connect,
                &format!("there is no topic `{topic}`; create it, or name another (HIQ_KAFKA_TOPIC)"),
            ),
            Code::TopicAuthorizationFailed => self.says(
                Kind::Invalid,
                &format!("not allowed to write to the topic `{topic}`; give this user the right to WRITE to it"),
            ),
            Code::ClusterAuthorizationFailed => self.says(
                Kind::Invalid,
                "not allowed to write with idempotence; give this user the right IDEMPOTENT_WRITE on the cluster",
            ),
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => self.says(
                Kind::TooLarge,
                &format!(
                    "a message is over the broker's limit; lower HIQ_KAFKA_MAX_MESSAGE_BYTES ({}), or raise the topic's max.message.bytes",
                    self.max_message_bytes
                ),
            ),
            code @ (Code::InvalidRecord | Code::PolicyViolation | Code::UnsupportedForMessageFormat) => {
                self.says(Kind::Invalid, &format!("the broker refuses what is in the topic `{topic}`: {code}"))
            }
            code => self.unanswered(code, failure.may_have_arrived),
        }
    }

    /// A message for which no room came up in time.
    pub(crate) fn no_room(&self) -> TransportError {
        self.says(
            Kind::Connect,
            &format!("too much waits for the broker; {}", self.cause()),
        )
    }

    /// A producer that could not be made.
    pub(crate) fn no_producer(&self, words: &str) -> TransportError {
        self.says(Kind::Tls, &format!("the producer cannot start: {words}"))
    }

    fn unanswered(&self, code: Code, may_have_arrived: bool) -> TransportError {
        let kind = match self.trouble.map(|trouble| trouble.code) {
            _ if may_have_arrived => match code {
                Code::PurgeQueue | Code::PurgeInflight => Kind::Reset,
                _ => Kind::Timeout,
            },
            Some(Code::Resolve) => Kind::Dns,
            Some(Code::SSL) => Kind::Tls,
            _ => Kind::Connect,
        };
        let is_ours = matches!(
            code,
            Code::MessageTimedOut | Code::PurgeQueue | Code::PurgeInflight
        );
        if is_ours {
            return self.says(kind, &self.cause());
        }
        self.says(kind, &format!("{code}"))
    }

    /// Why nothing gets through.
    fn cause(&self) -> String {
        match self.trouble {
            None => "no broker answers in time".to_owned(),
            Some(trouble) => match advice(trouble) {
                Some(advice) => format!("{}; {advice}", trouble.words),
                None => trouble.words.clone(),
            },
        }
    }

    fn says(&self, kind: Kind, what: &str) -> TransportError {
        TransportError::new(kind, format!("{}: {what}", self.target))
    }
}

/// What the user can do about it.
fn advice(trouble: &Trouble) -> Option<&'static str> {
    let words = trouble.words.to_ascii_lowercase();
    Some(match trouble.code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check HIQ_KAFKA_USERNAME, HIQ_KAFKA_PASSWORD and HIQ_KAFKA_SASL_MECHANISM"
        }
        Code::SSL if words.contains("verify failed") => {
            "name the authority's PEM file by HIQ_KAFKA_CERTIFICATE"
        }
        // What brokers answer to no certificate, and to one whose authority they do not know.
        _ if words.contains("alert")
            && (words.contains("certificate") || words.contains("unknown ca")) =>
        {
            "the broker wants a certificate that it trusts: name it and its key by HIQ_KAFKA_CLIENT_CERTIFICATE and HIQ_KAFKA_CLIENT_KEY"
        }
        Code::SSL => "does this port speak TLS? see HIQ_KAFKA_SECURITY_PROTOCOL",
        Code::Resolve => {
            "check HIQ_KAFKA_BROKERS, and what the broker calls itself (advertised.listeners)"
        }
        _ if words.contains("refused") => "is the broker running there?",
        _ if words.contains("disconnected") => {
            "does this port want TLS? see HIQ_KAFKA_SECURITY_PROTOCOL"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_without_threads_places_in_sources_and_secrets() {
        let said = "[thrd:ssl://b:1/bootstrap]: ssl://b:1/bootstrap: Receive failed: ssl/record/rec_layer_s3.c:918:ssl3_read_bytes error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42 for pass-word (after 3ms in state UP)";
        assert_eq!(
            clean(said, &[Secret::new("pass-word")]),
            "ssl://b:1/bootstrap: Receive failed: ssl/tls alert bad certificate: SSL alert number 42 for ***"
        );
        assert_eq!(clean("Connection refused", &[]), "Connection refused");
    }
}
