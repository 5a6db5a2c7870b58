#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde::Deserialize;

use super::*;

/// What Oracle's SDK signs; made by `crates/testkit/oracle/oci_golden.py`.
#[derive(Deserialize)]
struct Golden {
    date: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    method: String,
    url: String,
    body: String,
    signed: String,
    by: String,
    authorization: String,
    #[serde(rename = "x-content-sha256")]
    digest: Option<String>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/golden/signed.json")).unwrap()
}

fn key() -> SigningKey {
    let pem = include_bytes!("../../tests/keys/plain_pkcs8.pem");
    SigningKey::from_pem("key_file", pem, None).unwrap()
}

impl Case {
    fn signed_by_us(&self, date: &str) -> Vec<(String, Secret)> {
        let method = match self.method.as_str() {
            "GET" => Method::Get,
            "PUT" => Method::Put,
            _ => Method::Post,
        };
        let signed = match self.signed.as_str() {
            "with_body" => Signed::WithBody,
            _ => Signed::WithoutBody,
        };
        let body = BASE64_STANDARD.decode(&self.body).unwrap();
        let request = Request {
            method,
            url: &self.url,
            content_type: "application/json",
            body: &body,
        };
        let key_id = match self.by.as_str() {
            "token" => "ST$a.b.c".to_owned(),
            _ => format!(
                "ocid1.tenancy.oc1..aaaatenancy/ocid1.user.oc1..aaaauser/{}",
                key().fingerprint()
            ),
        };
        let now = httpdate::parse_http_date(date).unwrap();
        let lines = Lines::new(&request, signed, now).unwrap();
        lines.headers(&Secret::new(key_id), &key()).unwrap()
    }
}

#[test]
fn signatures_are_those_of_oracles_sdk_to_the_last_byte() {
    let golden = golden();
    assert_eq!(golden.cases.len(), 10);
    for case in &golden.cases {
        let headers = case.signed_by_us(&golden.date);
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.expose())
        };
        assert_eq!(
            header("authorization"),
            Some(case.authorization.as_str()),
            "{}",
            case.url
        );
        assert_eq!(
            header("x-content-sha256"),
            case.digest.as_deref(),
            "{}",
            case.url
        );
        assert_eq!(header("date"), Some(golden.date.as_str()));
    }
}

/// Section 7.4 of the wire formats, which was verified with the public key there.
#[test]
fn the_text_that_is_signed_is_known() {
    let request = Request {
        method: Method::Post,
        url: "https://h.example/20180401/metrics",
        content_type: "application/json",
        body: b"{\"a\": 1}",
    };
    let now = httpdate::parse_http_date("Thu, 05 Jan 2023 21:31:40 GMT").unwrap();
    let text = "date: Thu, 05 Jan 2023 21:31:40 GMT\n(request-target): post /20180401/metrics\nhost: h.example\n\
                content-length: 8\ncontent-type: application/json\nx-content-sha256: +dhgKMbg1k4iUYb5astpM4ssWXZN95FiEH9cS7NNExA=";
    assert_eq!(
        Lines::new(&request, Signed::WithBody, now).unwrap().text(),
        text
    );
    let without_host = text.replace("host: h.example\n", "");
    assert_eq!(
        Lines::new(&request, Signed::WithoutHost, now)
            .unwrap()
            .text(),
        without_host
    );
}
