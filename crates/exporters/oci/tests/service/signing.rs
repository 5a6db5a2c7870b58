//! Requests that are signed, sent and verified.

use std::time::Duration;

use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{HttpReply, Payload, PayloadId, Reply, Transport, TransportError};
use hiq_http::{HttpOptions, HttpTransport};
use hiq_oci::{OciAuthorizer, OciSettings, Signed};

use crate::server::{Service, ok};
use crate::who::{FINGERPRINT, KEY, OTHER_KEY, TENANCY, USER, User, public_half};

fn transport(url: &str, settings: &OciSettings, signed: Signed) -> HttpTransport {
    let endpoint = Endpoint::parse("test", url).unwrap();
    let transport = HttpOptions::new(endpoint).build().unwrap();
    transport.with_authorizer(Box::new(OciAuthorizer::new(settings, signed)))
}

fn send(transport: &mut HttpTransport, body: &[u8]) -> Result<HttpReply, TransportError> {
    let deadline = Deadline::never().within(Duration::from_secs(20));
    let payload = Payload::new(body, "application/json", 1);
    transport.submit(PayloadId(1), &payload, &deadline);
    let mut outcomes = Vec::new();
    transport.poll(&deadline, &mut outcomes);
    match outcomes.pop().unwrap().result? {
        Reply::Http(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

fn name_with(fingerprint: &str) -> String {
    format!("{TENANCY}/{USER}/{fingerprint}")
}

#[test]
fn a_request_is_signed_so_that_the_public_key_verifies_it() {
    let service = Service::start(|_, _| ok("{}"));
    let url = format!("{}/a%20b?z=1&a=%2F", service.url());
    let settings = User::usual().settings();
    for signed in [Signed::WithBody, Signed::WithoutBody] {
        send(&mut transport(&url, &settings, signed), b"{\"a\": 1}").unwrap();
        send(&mut transport(&url, &settings, signed), b"").unwrap();
    }
    let short = "date (request-target) host";
    let long = "date (request-target) host content-length content-type x-content-sha256";
    let signers: Vec<_> = service
        .requests()
        .iter()
        .map(|request| request.signer(&public_half(KEY)).unwrap())
        .collect();
    let expected =
        [long, long, short, short].map(|names| (name_with(FINGERPRINT), names.to_owned()));
    assert_eq!(signers, expected);
    let other = service.requests()[0].signer(&public_half(OTHER_KEY));
    assert!(other.is_err(), "another key verifies nothing");
}

#[test]
fn a_key_that_was_changed_is_used_after_a_refusal_and_an_unchanged_one_is_not_tried_again() {
    let service = Service::start(|_, _| ok("{}"));
    let user = User::new("");
    let mut transport = transport(&service.url(), &user.settings(), Signed::WithBody);
    let deadline = Deadline::never();
    send(&mut transport, b"one").unwrap();
    assert!(!transport.renew_credentials(&deadline), "nothing is new");
    user.write("key.pem", OTHER_KEY);
    let config = std::fs::read_to_string(user.path("config")).unwrap();
    user.write(
        "config",
        &config.replace(
            FINGERPRINT,
            "b5:07:36:31:e8:2e:f8:b0:fc:62:e6:e1:ab:9c:8d:40",
        ),
    );
    assert!(
        !transport.renew_credentials(&deadline),
        "a fingerprint of no key"
    );
    let without = config.replace(&format!("fingerprint={FINGERPRINT}\n"), "");
    user.write("config", &without);
    assert!(transport.renew_credentials(&deadline));
    send(&mut transport, b"two").unwrap();
    let requests = service.requests();
    requests[0].signer(&public_half(KEY)).unwrap();
    let (name, _) = requests[1].signer(&public_half(OTHER_KEY)).unwrap();
    assert!(
        name.starts_with(&name_with("")) && !name.ends_with(FINGERPRINT),
        "{name}"
    );
}

#[test]
fn a_session_token_signs_until_it_ends_and_then_the_file_is_read_again() {
    // `{"exp": 4102444800}` and `{"exp": 1000000000}`
    let (good, ended) = (
        "x.eyJleHAiOiA0MTAyNDQ0ODAwfQ.y",
        "x.eyJleHAiOiAxMDAwMDAwMDAwfQ.y",
    );
    let service = Service::start(|_, _| ok("{}"));
    let user = User::new("security_token_file=~/.oci/token\n");
    user.write("token", ended);
    let mut transport = transport(&service.url(), &user.settings(), Signed::WithBody);
    let error = send(&mut transport, b"one").unwrap_err();
    assert!(error.message.contains("the token has ended"), "{error}");
    assert!(error.kind.is_temporary() && service.requests().is_empty());
    user.write("token", &format!("{good}\n"));
    send(&mut transport, b"one").unwrap();
    let (name, _) = service.requests()[0].signer(&public_half(KEY)).unwrap();
    assert_eq!(name, format!("ST${good}"));
    let by_key = user.settings_with(&[("OCI_CLI_AUTH", "api_key")]).unwrap();
    send(
        &mut self::transport(&service.url(), &by_key, Signed::WithBody),
        b"two",
    )
    .unwrap();
    let (name, _) = service.requests()[1].signer(&public_half(KEY)).unwrap();
    assert_eq!(name, name_with(FINGERPRINT));
}

#[test]
fn code_beats_environment_beats_profile_beats_the_default_profile() {
    let user = User::new("[OPS]\nregion=uk-london-1\n");
    let region = |more: &[(&str, &str)]| user.settings_with(more).unwrap().region.unwrap();
    assert_eq!(region(&[]), "eu-frankfurt-1");
    assert_eq!(region(&[("OCI_CLI_PROFILE", "OPS")]), "uk-london-1");
    assert_eq!(region(&[("OCI_REGION", "us-phoenix-1")]), "us-phoenix-1");
    let both = [
        ("OCI_REGION", "us-phoenix-1"),
        ("OCI_CLI_REGION", "us-ashburn-1"),
    ];
    assert_eq!(region(&both), "us-ashburn-1");
    let elsewhere = user.path("elsewhere");
    std::fs::copy(user.path("config"), &elsewhere).unwrap();
    std::fs::remove_file(user.path("config")).unwrap();
    assert_eq!(
        region(&[("OCI_CONFIG_FILE", elsewhere.to_str().unwrap())]),
        "eu-frankfurt-1"
    );
    let error = user.settings_with(&[]).unwrap_err();
    assert_eq!(error.place, "OCI_CONFIG_FILE");
}

#[test]
fn the_environment_alone_is_enough() {
    let user = User::new("");
    std::fs::remove_file(user.path("config")).unwrap();
    let key = user.path("key.pem");
    let all = [
        ("OCI_CLI_USER", USER),
        ("OCI_CLI_TENANCY", TENANCY),
        ("OCI_CLI_KEY_FILE", key.to_str().unwrap()),
        ("OCI_REGION", "us-gov-phoenix-1"),
    ];
    let settings = user.settings_with(&all).unwrap();
    assert_eq!(settings.realm_domain, "oraclegovcloud.com");
    let content = [all[0], all[1], ("OCI_CLI_KEY_CONTENT", KEY), all[3]];
    user.settings_with(&content).unwrap();
}

#[test]
fn what_is_wrong_with_a_profile_is_told_before_anything_is_sent_and_without_a_secret() {
    let told = |more: &str, change: &dyn Fn(&User)| {
        let user = User::new(more);
        change(&user);
        let error = user.settings_with(&[]).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("open-sesame") && !text.contains("MII"),
            "{text}"
        );
        error
    };
    let protected = include_str!("../keys/traditional_aes256.pem");
    let missing = told("", &|user| user.write("key.pem", protected));
    assert!(missing.problem.contains("passphrase"), "{missing}");
    let wrong = told("pass_phrase=open-sesame-street\n", &|user| {
        user.write("key.pem", protected);
    });
    assert!(wrong.problem.contains("does not open"), "{wrong}");
    let other = told("", &|user| user.write("key.pem", OTHER_KEY));
    assert_eq!(other.place, "fingerprint");
    let none = told("", &|user| {
        std::fs::remove_file(user.path("key.pem")).unwrap();
    });
    assert!(none.problem.contains("key.pem"), "{none}");
    assert_eq!(told("user=me\n", &|_| {}).place, "user");
    let good = User::new("pass_phrase=open-sesame\n");
    good.write("key.pem", protected);
    let shown = format!("{:?}", good.settings());
    assert!(
        !shown.contains("open-sesame") && !shown.contains("MII"),
        "{shown}"
    );
}
