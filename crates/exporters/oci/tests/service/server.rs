//! The service: plain sockets, and a check of signatures that shares no code with ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// Listens on a free port of this machine and answers as it is told.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A request as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A reply: status, further headers, body.
pub(crate) type Answer = (u16, String, String);

impl Service {
    /// `answer` is told how many requests came before.
    pub(crate) fn start(
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (kept, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &kept, &*answer));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    stream: &TcpStream,
    kept: &Mutex<Vec<Request>>,
    answer: &(impl Fn(&Request, usize) -> Answer + ?Sized),
) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader) {
        let before = {
            let mut kept = kept.lock().unwrap();
            kept.push(request.clone());
            kept.len() - 1
        };
        // A check that fails must end the test, not have the client try for ever.
        let answered = catch_unwind(AssertUnwindSafe(|| answer(&request, before)));
        let (status, headers, body) =
            answered.unwrap_or_else(|_| (400, String::new(), "a check failed".to_owned()));
        let length = body.len();
        let reply = format!(
            "HTTP/1.1 {status} Whatever\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut stream = stream;
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

pub(crate) fn ok(body: impl Into<String>) -> Answer {
    (200, String::new(), body.into())
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut line = || {
            let mut line = String::new();
            (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
        };
        let first = line()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        while let Some((name, value)) = line()?.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut request = Self {
            method,
            target,
            headers,
            body: Vec::new(),
        };
        let length = request
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// What the service would find wrong with the signature; else who signed, and which headers.
    pub(crate) fn signer(&self, public_key: &[u8]) -> Result<(String, String), String> {
        let authorization = self.header("authorization").ok_or("no authorization")?;
        let fields = authorization
            .strip_prefix("Signature ")
            .ok_or("no signature")?;
        let field = |name: &str| {
            let begin = format!("{name}=\"");
            let from = fields.find(&begin)? + begin.len();
            fields[from..].split('"').next()
        };
        if field("algorithm") != Some("rsa-sha256") || field("version") != Some("1") {
            return Err("another algorithm or version".to_owned());
        }
        let names = field("headers").ok_or("no headers")?;
        let lines: Option<Vec<String>> = names
            .split(' ')
            .map(|name| self.signed_line(name))
            .collect();
        let text = lines.ok_or("a signed header is not there")?.join("\n");
        let signature = BASE64_STANDARD.decode(field("signature").ok_or("no signature")?);
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key)
            .verify(
                text.as_bytes(),
                &signature.map_err(|error| error.to_string())?,
            )
            .map_err(|_| format!("the signature is not of\n{text}"))?;
        self.check_date()?;
        self.check_digest(names)?;
        Ok((field("keyId").ok_or("no key")?.to_owned(), names.to_owned()))
    }

    fn signed_line(&self, name: &str) -> Option<String> {
        if name == "(request-target)" {
            let method = self.method.to_ascii_lowercase();
            return Some(format!("{name}: {method} {}", self.target));
        }
        Some(format!("{name}: {}", self.header(name)?))
    }

    fn check_date(&self) -> Result<(), String> {
        let date = self.header("date").ok_or("no date")?;
        let then = httpdate::parse_http_date(date).map_err(|_| format!("no date: {date}"))?;
        #[expect(clippy::disallowed_methods, reason = "the service's clock")]
        let now = SystemTime::now();
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        if seconds(now).abs_diff(seconds(then)) > 300 {
            return Err(format!("the date is too far off: {date}"));
        }
        Ok(())
    }

    fn check_digest(&self, names: &str) -> Result<(), String> {
        let own = BASE64_STANDARD.encode(digest(&SHA256, &self.body));
        match self.header("x-content-sha256") {
            Some(theirs) if theirs != own => Err("the digest is of another body".to_owned()),
            None if names.contains("x-content-sha256") => Err("no digest".to_owned()),
            _ => Ok(()),
        }
    }
}
