//! A forked child calls on its own, whatever its parent has open. In a process of its own, because it is forked.
#![allow(unsafe_code, reason = "fork, wait and exit have no safe form")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "wire/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "wire/grpc_server.rs"]
mod grpc_server;

use hiq_core::transport::Transport;
use hiq_grpc::GrpcTransport;

use client::{options, send_within, within};
use grpc_server::GrpcServer;

fn send(transport: &mut GrpcTransport, body: &str) -> bool {
    send_within(transport, body.as_bytes(), &within(20_000)).is_ok_and(|reply| reply.code == 0)
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

#[test]
fn parent_and_child_never_share_a_connection() {
    let server = GrpcServer::answering(b"");
    // By name, so that the parent has a thread for names.
    let options = options(&format!("http://localhost:{}", server.address.port()));
    let mut parents = options.build().unwrap();
    assert!(send(&mut parents, "parent"));
    assert!(in_a_child(|| send(
        &mut options.build().unwrap(),
        "its own"
    )));
    assert!(in_a_child(|| send(&mut parents, "inherited")));
    assert!(in_a_child(|| {
        parents.shutdown(&within(1_000));
        true
    }));
    assert!(send(&mut parents, "parent again"));

    let seen: Vec<_> = (0..4).map(|_| server.call().message).collect();
    let expected = ["parent", "its own", "inherited", "parent again"];
    assert_eq!(seen, expected.map(|body| body.as_bytes().to_vec()));
    assert_eq!(
        server.connections(),
        3,
        "one each, and the parent kept its own"
    );
}
