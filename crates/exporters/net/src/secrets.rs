//! Servers that send our secrets back: what they echo must not get into the messages that are made of their words.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use url::Url;

/// A value shorter than this is no secret, and would be found everywhere.
const MIN_SECRET_BYTES: usize = 6;

/// What a request held that nobody else may see.
#[derive(Default)]
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Those of a request with `headers`: values of sensitive ones, with and without their scheme.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut secrets = Self::default();
        for value in headers.values().filter(|value| value.is_sensitive()) {
            secrets.add_header(value.as_bytes());
        }
        secrets
    }

    /// And those of its address: the query, as a whole and by values.
    #[must_use]
    pub fn and_query_of(mut self, url: &Url) -> Self {
        self.add(url.query().unwrap_or_default().as_bytes());
        for (_, value) in url.query_pairs() {
            self.add(value.as_bytes());
        }
        self
    }

    fn add_header(&mut self, value: &[u8]) {
        self.add(value);
        let Some(space) = value.iter().position(|byte| *byte == b' ') else {
            return;
        };
        let (scheme, credentials) = (&value[..space], &value[space + 1..]);
        self.add(credentials);
        let pair = BASE64_STANDARD.decode(credentials).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"basic")
            && let Some(colon) = pair.iter().position(|byte| *byte == b':')
        {
            self.add(&pair[colon + 1..]);
        }
    }

    fn add(&mut self, secret: &[u8]) {
        if secret.len() >= MIN_SECRET_BYTES {
            self.0.push(secret.to_vec());
        }
    }

    /// Puts asterisks over the secrets in `body`. Its length, and so the form of a protobuf message, stays.
    pub fn mask(&self, body: &mut [u8]) {
        for secret in &self.0 {
            let mut from = 0;
            while let Some(found) = find(&body[from..], secret) {
                let end = from + found + secret.len();
                body[from + found..end].fill(b'*');
                from = end;
            }
        }
    }
}

/// By hand: it must not show what it hides.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn masked(header: &str, url: &str, body: &str) -> String {
        let mut value = HeaderValue::from_str(header).unwrap();
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value);
        headers.insert("user-agent", HeaderValue::from_static("everybody may know"));
        let mut body = body.as_bytes().to_vec();
        let url = Url::parse(url).unwrap();
        Secrets::of(&headers).and_query_of(&url).mask(&mut body);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn a_token_is_masked_with_and_without_its_scheme() {
        let url = "http://localhost/";
        let body = "bad token s3cr3t-t0ken, or Bearer s3cr3t-t0ken; everybody may know";
        let expected = "bad token ************, or *******************; everybody may know";
        assert_eq!(masked("Bearer s3cr3t-t0ken", url, body), expected);
    }

    #[test]
    fn a_password_is_masked_even_when_the_server_has_decoded_it() {
        // user:open-sesame
        let header = "Basic dXNlcjpvcGVuLXNlc2FtZQ==";
        let body = "user has another password than open-sesame";
        let expected = "user has another password than ***********";
        assert_eq!(masked(header, "http://localhost/", body), expected);
    }

    #[test]
    fn a_query_is_masked() {
        let url = "http://localhost/v1/traces?api_key=k3y%2Dk3y&x=1";
        let body = "cannot POST /v1/traces?api_key=k3y%2Dk3y&x=1 with k3y-k3y";
        let expected = "cannot POST /v1/traces?********************* with *******";
        assert_eq!(masked("none", url, body), expected);
    }

    #[test]
    fn short_values_hide_nothing() {
        assert_eq!(masked("t1", "http://localhost/?a=b", "t1 a=b"), "t1 a=b");
    }
}
