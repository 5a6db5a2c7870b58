//! Streaming's REST interface: payloads become messages, several of them one call, and each has a fate of its own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::export::Deadline;
use hiq_core::transport::{
    HttpReply, Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};
use hiq_http::HttpTransport;
use serde::Deserialize;
use serde_json::Value;

use crate::Entry;

/// Bytes of one call, keys and values together, before base64.
const MAX_CALL_BYTES: usize = 1 << 20;

/// Bytes of a key.
const MAX_KEY_BYTES: usize = 256;

/// Messages of one call. The service names no limit.
const MAX_CALL_MESSAGES: usize = 256;

/// A message of a stream.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a key and a value")]
pub struct Message<'a> {
    /// What decides about the partition, at most 256 bytes; `None`: the service chooses.
    pub key: Option<&'a str>,
    /// What is in it.
    pub value: &'a [u8],
}

impl Message<'_> {
    fn bytes(&self) -> usize {
        self.key.map_or(0, str::len) + self.value.len()
    }
}

/// What came back to a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PutReply {
    /// The reply.
    pub reply: HttpReply,
    /// What the service says of each message, in their order; `None` where the reply is no success.
    entries: Option<Vec<Value>>,
}

impl PutReply {
    /// What became of each message, in their order; `None` where the reply is no success.
    pub fn entries(&self) -> Option<Vec<Entry>> {
        let entry = |entry: &Value| Entry::deserialize(entry).unwrap_or_default();
        Some(self.entries.as_ref()?.iter().map(entry).collect())
    }

    /// The reply, for message `at` alone.
    fn of(&self, at: usize) -> HttpReply {
        let mut reply = self.reply.clone();
        if let Some(entry) = self.entries.as_ref().and_then(|entries| entries.get(at)) {
            reply.body = entry.to_string().into_bytes();
        }
        reply
    }
}

/// `PutMessages`: each payload is a message, with the payload's key. Messages that are submitted one after the other share a
/// call; each is settled by what the service says of it alone, as an HTTP reply whose body is that
/// [`Entry`](crate::Entry).
#[derive(Debug)]
pub struct StreamTransport {
    http: HttpTransport,
    /// Submitted, and not sent yet.
    group: Vec<Waiting>,
    settled: Vec<Outcome>,
}

#[derive(Debug)]
struct Waiting {
    id: PayloadId,
    key: Option<String>,
    value: Vec<u8>,
    deadline: Deadline,
}

impl Waiting {
    fn message(&self) -> Message<'_> {
        Message {
            key: self.key.as_deref(),
            value: &self.value,
        }
    }
}

impl StreamTransport {
    /// Sends over `http`, whose address is that of `PutMessages`, and which signs.
    pub fn new(http: HttpTransport) -> Self {
        Self {
            http,
            group: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// One call with `messages`, which must fit into one.
    pub fn put(
        &mut self,
        messages: &[Message<'_>],
        deadline: &Deadline,
    ) -> Result<PutReply, TransportError> {
        let body = body(messages);
        let payload = Payload::new(&body, "application/json", messages.len());
        self.http.submit(PayloadId(0), &payload, deadline);
        let mut outcomes = Vec::new();
        self.http.poll(deadline, &mut outcomes);
        let broken = |what: String| TransportError::new(TransportErrorKind::Protocol, what);
        let outcome = outcomes
            .pop()
            .ok_or_else(|| broken("no outcome".to_owned()))?;
        let Reply::Http(reply) = outcome.result? else {
            return Err(broken("no HTTP reply".to_owned()));
        };
        if !(200..300).contains(&reply.status) || reply.content_type == "text/html" {
            return Ok(PutReply {
                reply,
                entries: None,
            });
        }
        match serde_json::from_slice::<PutResult>(&reply.body) {
            Ok(result) if result.entries.len() == messages.len() => Ok(PutReply {
                reply,
                entries: Some(result.entries),
            }),
            _ => Err(broken(format!(
                "{} does not say what became of each message; is it a messages endpoint of OCI Streaming?",
                reply.asked()
            ))),
        }
    }

    fn send_group(&mut self, deadline: &Deadline) {
        let group = std::mem::take(&mut self.group);
        let Some(first) = group.first() else { return };
        let deadline = match first.deadline.remaining() {
            Some(left) => deadline.within(left),
            None => deadline.clone(),
        };
        let messages: Vec<Message<'_>> = group.iter().map(Waiting::message).collect();
        let asked = self.put(&messages, &deadline);
        for (at, waiting) in group.iter().enumerate() {
            let result = match &asked {
                Ok(answer) => Ok(Reply::Http(answer.of(at))),
                Err(error) => Err(TransportError::new(error.kind, error.message.clone())),
            };
            self.settled.push(Outcome::new(waiting.id, result));
        }
    }

    fn has_room_for(&self, message: Message<'_>) -> bool {
        let bytes: usize = self
            .group
            .iter()
            .map(|waiting| waiting.message().bytes())
            .sum();
        self.group.len() < MAX_CALL_MESSAGES && bytes + message.bytes() <= MAX_CALL_BYTES
    }
}

impl Transport for StreamTransport {
    fn limits(&self) -> TransportLimits {
        let mut limits = TransportLimits::one_at_a_time(MAX_CALL_BYTES - MAX_KEY_BYTES);
        limits.max_in_flight = MAX_CALL_MESSAGES;
        limits.max_payloads_per_call = MAX_CALL_MESSAGES;
        limits
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        let message = Message {
            key: payload.key.map(key),
            value: payload.body,
        };
        if !self.has_room_for(message) {
            self.send_group(deadline);
        }
        self.group.push(Waiting {
            id,
            key: message.key.map(str::to_owned),
            value: message.value.to_vec(),
            deadline: deadline.clone(),
        });
    }

    /// Sends what was submitted, unless there is no time to wait for an answer: more may be submitted first.
    fn poll(&mut self, deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        if self.settled.is_empty() && !deadline.is_over() {
            self.send_group(deadline);
        }
        outcomes.append(&mut self.settled);
    }

    fn renew_credentials(&mut self, deadline: &Deadline) -> bool {
        self.http.renew_credentials(deadline)
    }

    fn shutdown(&mut self, deadline: &Deadline) {
        if !deadline.is_over() {
            self.send_group(deadline);
        }
        self.http.shutdown(deadline);
    }
}

#[derive(Deserialize)]
struct PutResult {
    entries: Vec<Value>,
}

fn key(text: &str) -> &str {
    let mut end = text.len().min(MAX_KEY_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `PutMessagesDetails`.
fn body(messages: &[Message<'_>]) -> Vec<u8> {
    let bytes: usize = messages.iter().map(Message::bytes).sum();
    let mut body = String::with_capacity(bytes / 3 * 4 + messages.len() * 32 + 16);
    body.push_str("{\"messages\":[");
    for (at, message) in messages.iter().enumerate() {
        body.push_str(if at == 0 { "{" } else { ",{" });
        if let Some(key) = message.key {
            body.push_str("\"key\":\"");
            BASE64_STANDARD.encode_string(key, &mut body);
            body.push_str("\",");
        }
        body.push_str("\"value\":\"");
        BASE64_STANDARD.encode_string(message.value, &mut body);
        body.push_str("\"}");
    }
    body.push_str("]}");
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_too_long_is_cut_between_characters() {
        assert_eq!(key("short"), "short");
        assert_eq!(key(&"ä".repeat(200)).len(), 256);
        assert_eq!(key(&format!("x{}", "ä".repeat(200))).len(), 255);
    }
}
