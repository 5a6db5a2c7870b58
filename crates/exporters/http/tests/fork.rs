//! A forked child sends on its own, whatever its parent has open. In a process of its own, because it is forked.
#![allow(unsafe_code, reason = "fork, wait and exit have no safe form")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "wire/authority.rs"]
mod authority;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "wire/server.rs"]
mod server;

use std::time::Duration;

use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Reply, Transport};
use hiq_http::{HttpOptions, HttpTransport};

use authority::{Authority, Identity};
use server::{Conversation, Server, response};

fn answers(talk: &mut Conversation) {
    while talk.request().is_some() {
        talk.say(response("200 OK", "", ""));
    }
}

fn send(transport: &mut HttpTransport, body: &str) -> bool {
    let deadline = Deadline::never().within(Duration::from_secs(20));
    let mut outcomes = Vec::new();
    transport.submit(
        PayloadId(1),
        &Payload::new(body.as_bytes(), "text/plain", 1),
        &deadline,
    );
    transport.poll(&deadline, &mut outcomes);
    matches!(&outcomes[..], [outcome] if matches!(&outcome.result, Ok(Reply::Http(reply)) if reply.status == 200))
}

/// Runs `child` in a forked process, and says whether it returned true.
fn in_a_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs nothing that another thread of the parent could hold a lock of, apart from the allocator,
    // which is made ready for a fork by libc; it leaves without running anything of the test harness.
    match unsafe { libc::fork() } {
        -1 => panic!("no fork"),
        // SAFETY: ends this process at once.
        0 => unsafe { libc::_exit(i32::from(!child())) },
        pid => {
            let mut status = 0;
            // SAFETY: our own child, and a place for its status.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

/// Everything that a child may do with its own transport and with the parent's.
fn parent_and_child_never_share_a_connection(server: &Server, options: &HttpOptions) {
    let mut parents = options.build().unwrap();
    assert!(send(&mut parents, "parent"));
    let made_in_child = in_a_child(|| send(&mut options.build().unwrap(), "its own"));
    assert!(made_in_child);
    let open_in_parent = in_a_child(|| send(&mut parents, "inherited"));
    assert!(open_in_parent);
    let closed_in_child = in_a_child(|| {
        parents.shutdown(&Deadline::never());
        true
    });
    assert!(closed_in_child);
    assert!(send(&mut parents, "parent again"));

    let seen: Vec<_> = (0..4).map(|_| server.request().body).collect();
    let expected = ["parent", "its own", "inherited", "parent again"];
    assert_eq!(seen, expected.map(|body| body.as_bytes().to_vec()));
    assert_eq!(
        server.connections(),
        3,
        "one each, and the parent kept its own"
    );
}

#[test]
fn a_child_leaves_its_parents_wires_alone() {
    let server = Server::start(answers);
    // By name, so that the parent has a thread for names.
    let url = format!("http://localhost:{}/", server.address.port());
    let options = HttpOptions::new(Endpoint::parse("test", &url).unwrap());
    parent_and_child_never_share_a_connection(&server, &options);

    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("localhost", |_| ())).serve(answers);
    let url = format!("https://localhost:{}/", server.address.port());
    let mut options = HttpOptions::new(Endpoint::parse("test", &url).unwrap());
    options.certificate = Some(authority.certificate_file());
    parent_and_child_never_share_a_connection(&server, &options);
}
