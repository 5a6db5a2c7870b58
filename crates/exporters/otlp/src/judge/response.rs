//! The bodies of replies: `ExportTraceServiceResponse` and its like for metrics, and `Status` with a server's words.

use std::borrow::Cow;

use hiq_core::encode::Encoding;
use hiq_core::transport::HttpReply;
use serde::Deserialize;

use hiq_core::decode::proto::{Fields, ReadError};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Proto,
    Json,
}

impl Form {
    /// By the reply's content type; by the request's where there is none. `None`: in neither of OTLP's forms.
    pub(super) fn of(reply: &HttpReply, encoding: Encoding) -> Option<Self> {
        match reply.content_type.as_str() {
            "application/x-protobuf" | "application/protobuf" => Some(Self::Proto),
            "application/json" => Some(Self::Json),
            "" if looks_like_html(&reply.body) => None,
            "" => Some(match encoding.content_type {
                "application/json" => Self::Json,
                _ => Self::Proto,
            }),
            _ => None,
        }
    }
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// What an `ExportTraceServiceResponse` or `ExportMetricsServiceResponse` says: they differ in a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) rejected: i64,
    pub(super) message: String,
}

impl Response {
    pub(super) fn parse(body: &[u8], form: Form) -> Result<Self, String> {
        match form {
            Form::Proto => Self::parse_proto(body).map_err(|error| error.to_string()),
            Form::Json => Self::parse_json(body).map_err(|error| error.to_string()),
        }
    }

    fn parse_proto(body: &[u8]) -> Result<Self, ReadError> {
        let mut response = Self::default();
        for field in Fields::new(body, 0) {
            let field = field?;
            if field.number == 1 {
                response.read_partial_success(field.message()?)?;
            }
        }
        Ok(response)
    }

    fn read_partial_success(&mut self, fields: Fields<'_>) -> Result<(), ReadError> {
        for field in fields {
            let field = field?;
            match field.number {
                1 => self.rejected = field.varint()?.cast_signed(),
                2 => self.message = text(field.bytes()?),
                _ => {}
            }
        }
        Ok(())
    }

    fn parse_json(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body: JsonResponse = serde_json::from_slice(body)?;
        let partial = body.partial_success.unwrap_or_default();
        Ok(Self {
            rejected: partial.rejected_spans.map_or(0, |number| number.0),
            message: partial.error_message.unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResponse {
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonPartialSuccess {
    #[serde(alias = "rejectedDataPoints")]
    rejected_spans: Option<crate::json::Int64>,
    error_message: Option<String>,
}

/// What the server says about an error: of a `Status` its message, else the text itself.
pub(super) fn words(reply: &HttpReply, encoding: Encoding) -> Option<String> {
    match Form::of(reply, encoding) {
        // Servers without a content type often send plain text.
        Some(Form::Proto) => {
            status_message(&reply.body).unwrap_or_else(|_| Some(text(&reply.body)))
        }
        Some(Form::Json) => json_message(&reply.body),
        None if reply.content_type == "text/html" || looks_like_html(&reply.body) => {
            Some("an HTML page".to_owned())
        }
        None => Some(text(&reply.body)),
    }
}

/// The message of a `google.rpc.Status`.
fn status_message(body: &[u8]) -> Result<Option<String>, ReadError> {
    let mut message = None;
    for field in Fields::new(body, 0) {
        let field = field?;
        if field.number == 2 {
            message = Some(text(field.bytes()?));
        }
    }
    Ok(message)
}

fn json_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Status<'a> {
        #[serde(borrow)]
        message: Option<Cow<'a, str>>,
    }
    match serde_json::from_slice::<Status<'_>>(body) {
        Ok(status) => status.message.map(Cow::into_owned),
        Err(_) => Some(text(body)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
