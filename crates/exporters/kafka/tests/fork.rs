//! A forked child has a producer of its own, whatever its parent has open. In a process of its own, because it is forked.
#![allow(unsafe_code, reason = "fork, wait and exit have no safe form")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::time::Duration;

use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Reply, Transport};
use hiq_kafka::KafkaTransport;

use support::{Broker, settings};

fn send(transport: &mut KafkaTransport, body: &str) -> bool {
    let deadline = Deadline::never().within(Duration::from_secs(20));
    let mut outcomes = Vec::new();
    let payload = Payload::new(body.as_bytes(), "text/plain", 1);
    transport.submit(PayloadId(1), &payload, &deadline);
    transport.poll(&deadline, &mut outcomes);
    matches!(&outcomes[..], [outcome] if matches!(outcome.result, Ok(Reply::Acknowledged)))
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
fn parent_and_child_each_deliver_by_a_producer_of_their_own() {
    let broker = Broker::with_topic("spans", 1);
    let settings = settings(&broker.options("spans"));
    let mut parents = KafkaTransport::new(settings.clone(), "text").unwrap();
    assert!(send(&mut parents, "parent"));
    assert!(in_a_child(|| send(
        &mut KafkaTransport::new(settings, "text").unwrap(),
        "its own"
    )));
    assert!(in_a_child(|| send(&mut parents, "inherited")));
    assert!(in_a_child(|| {
        parents.shutdown(&Deadline::never());
        true
    }));
    assert!(send(&mut parents, "parent again"));

    let mut read: Vec<_> = broker
        .read("spans", 4)
        .into_iter()
        .map(|read| read.value)
        .collect();
    read.sort();
    assert_eq!(read, ["inherited", "its own", "parent", "parent again"]);
}
