//! Who signs without a user: instances, and resources such as functions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Reply, Transport};
use hiq_http::{HttpOptions, HttpTransport};
use hiq_oci::{OciAuthorizer, OciSettings, Signed};

use crate::server::{Request, Service, ok};
use crate::who::{KEY, TENANCY, User, public_half};

/// `openssl x509 -in instance.pem -noout -fingerprint -sha1`
const CERTIFICATE: &str = "24:8A:59:79:85:35:35:E0:F9:D2:95:77:80:33:B0:DA:24:4D:00:A8";

/// `{"exp": 4102444800}`
const TOKEN: &str = "x.eyJleHAiOiA0MTAyNDQ0ODAwfQ.y";

fn transport(url: &str, settings: &OciSettings) -> HttpTransport {
    let transport = HttpOptions::new(Endpoint::parse("test", url).unwrap())
        .build()
        .unwrap();
    transport.with_authorizer(Box::new(OciAuthorizer::new(settings, Signed::WithBody)))
}

fn send(transport: &mut HttpTransport) -> Result<Reply, String> {
    let deadline = Deadline::never().within(Duration::from_secs(60));
    transport.submit(
        PayloadId(1),
        &Payload::new(b"{}", "application/json", 1),
        &deadline,
    );
    let mut outcomes = Vec::new();
    transport.poll(&deadline, &mut outcomes);
    outcomes
        .pop()
        .unwrap()
        .result
        .map_err(|error| error.message)
}

/// A metadata service, a service that gives tokens, and one that is asked with them; keeps the session's public key.
fn instance(token: &'static str, session: &Arc<Mutex<Vec<u8>>>) -> Service {
    let session = Arc::clone(session);
    Service::start(move |request, _| match request.target.as_str() {
        "/opc/v2/identity/cert.pem" => metadata(request, include_str!("../keys/instance.pem")),
        "/opc/v2/identity/key.pem" => metadata(request, KEY),
        "/opc/v2/identity/intermediate.pem" => {
            metadata(request, include_str!("../keys/intermediate.pem"))
        }
        "/v1/x509" => {
            let (signer, names) = request.signer(&public_half(KEY)).unwrap();
            assert_eq!(signer, format!("{TENANCY}/fed-x509/{CERTIFICATE}"));
            assert_eq!(
                names,
                "date (request-target) content-length content-type x-content-sha256"
            );
            let body = request.json();
            let text = |name: &str| body[name].as_str().unwrap().to_owned();
            assert_eq!(
                text("certificate"),
                one_line(include_str!("../keys/instance.pem"))
            );
            let intermediate = one_line(include_str!("../keys/intermediate.pem"));
            assert_eq!(
                body["intermediateCertificates"],
                serde_json::json!([intermediate])
            );
            let public = BASE64_STANDARD.decode(text("publicKey")).unwrap();
            // SubjectPublicKeyInfo of a key of 2048 bits: 24 bytes, then PKCS#1.
            *session.lock().unwrap() = public[24..].to_vec();
            ok(format!(r#"{{"token": "{token}"}}"#))
        }
        _ => ok("{}"),
    })
}

fn metadata(request: &Request, text: &str) -> crate::server::Answer {
    assert_eq!(
        (request.method.as_str(), request.header("authorization")),
        ("GET", Some("Bearer Oracle"))
    );
    ok(text)
}

fn one_line(pem: &str) -> String {
    pem.lines()
        .filter(|line| !line.starts_with("-----"))
        .collect()
}

fn settings(service: &Service) -> OciSettings {
    let base = format!("{}/opc/v2", service.url());
    let env = [
        ("OCI_CLI_AUTH", "instance_principal"),
        ("OCI_METADATA_BASE_URL", base.as_str()),
        ("OCI_SDK_AUTH_CLIENT_REGION_URL", &service.url()),
    ];
    User::usual().settings_with(&env).unwrap()
}

#[test]
fn an_instance_shows_its_certificate_and_signs_with_a_key_that_the_token_names() {
    let session = Arc::default();
    let service = instance(TOKEN, &session);
    let mut transport = transport(&service.url(), &settings(&service));
    for _ in 0..2 {
        send(&mut transport).unwrap();
    }
    let requests = service.requests();
    assert_eq!(
        requests.len(),
        6,
        "four for the token, which serves both requests"
    );
    for request in &requests[4..] {
        let (signer, _) = request.signer(&session.lock().unwrap()).unwrap();
        assert_eq!(signer, format!("ST${TOKEN}"));
    }
    assert!(
        transport.renew_credentials(&Deadline::never()),
        "a refusal is worth another token"
    );
}

#[test]
fn a_token_that_has_ended_is_replaced_before_the_next_request() {
    // `{"exp": 1000000000}`
    let session = Arc::default();
    let service = instance("x.eyJleHAiOiAxMDAwMDAwMDAwfQ.y", &session);
    let mut transport = transport(&service.url(), &settings(&service));
    for _ in 0..2 {
        send(&mut transport).unwrap();
    }
    let asked = service
        .requests()
        .iter()
        .filter(|request| request.target == "/v1/x509")
        .count();
    assert_eq!(asked, 2);
}

#[test]
fn elsewhere_than_on_an_instance_there_is_a_clear_word() {
    let service = Service::start(|_, _| (404, String::new(), "no such thing".to_owned()));
    let error = send(&mut transport(&service.url(), &settings(&service))).unwrap_err();
    assert!(
        error.contains("404 not found: no such thing; instance principals work on OCI compute"),
        "{error}"
    );
}

#[test]
fn a_resource_signs_with_the_token_and_key_of_its_environment_or_of_their_files() {
    let service = Service::start(|_, _| ok("{}"));
    let user = User::new("");
    user.write("rpst", TOKEN);
    user.write("passphrase", "open-sesame\n");
    user.write("key.pem", include_str!("../keys/pkcs8_aes256.pem"));
    let paths =
        ["rpst", "key.pem", "passphrase"].map(|name| user.path(name).to_str().unwrap().to_owned());
    let own = [
        ("OCI_CLI_AUTH", "resource_principal"),
        ("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2"),
        ("OCI_RESOURCE_PRINCIPAL_REGION", "eu-frankfurt-1"),
    ];
    let in_files = [
        ("OCI_RESOURCE_PRINCIPAL_RPST", paths[0].as_str()),
        ("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", &paths[1]),
        ("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM_PASSPHRASE", &paths[2]),
    ];
    let in_environment = [
        ("OCI_RESOURCE_PRINCIPAL_RPST", TOKEN),
        ("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", KEY),
    ];
    for more in [&in_files[..], &in_environment] {
        let all: Vec<_> = own.iter().chain(more).copied().collect();
        let settings = user.settings_with(&all).unwrap();
        assert_eq!(settings.region.as_deref(), Some("eu-frankfurt-1"));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("eyJ") && !shown.contains("MII"), "{shown}");
        send(&mut transport(&service.url(), &settings)).unwrap();
    }
    for request in service.requests() {
        let (signer, _) = request.signer(&public_half(KEY)).unwrap();
        assert_eq!(signer, format!("ST${TOKEN}"));
    }
    let old = [own[0], ("OCI_RESOURCE_PRINCIPAL_VERSION", "1.1")];
    let error = user.settings_with(&old).unwrap_err();
    assert!(error.problem.contains("`1.1`"), "{error}");
}
