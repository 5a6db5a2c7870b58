//! A forked child sends on its own, whatever its parent has open. One test, one process: only this thread may be forked.
#![allow(unsafe_code, reason = "fork, wait and exit have no safe form")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Reply, Transport};
use hiq_http::{HttpOptions, HttpTransport};

/// The body of each request, and the number of the connection that it came by.
fn start_server() -> (SocketAddr, Receiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some(body) = request(&mut stream) {
                    tell.send((number, body)).unwrap();
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer).unwrap();
                }
            });
        }
    });
    (address, told)
}

fn request(stream: &mut impl BufRead) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.to_ascii_lowercase().strip_prefix("content-length: ") {
            Some(value) => length = value.trim().parse().unwrap(),
            None if line == "\r\n" => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
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

#[test]
fn parent_and_child_never_share_a_connection() {
    let (address, told) = start_server();
    // By name, so that the parent has a thread for names.
    let url = format!("http://localhost:{}/", address.port());
    let options = HttpOptions::new(Endpoint::parse("test", &url).unwrap());
    let mut parents = options.build().unwrap();
    assert!(send(&mut parents, "parent"));

    assert!(
        in_a_child(|| send(&mut options.build().unwrap(), "its own")),
        "a transport made in the child"
    );
    assert!(
        in_a_child(|| send(&mut parents, "inherited")),
        "a transport that was open in the parent"
    );
    assert!(in_a_child(|| {
        parents.shutdown(&Deadline::never());
        true
    }));
    assert!(send(&mut parents, "parent again"));

    let seen: Vec<(usize, String)> = told.try_iter().collect();
    let expected = [
        (0, "parent"),
        (1, "its own"),
        (2, "inherited"),
        (0, "parent again"),
    ];
    assert_eq!(
        seen,
        expected.map(|(number, body)| (number, body.to_owned()))
    );
}
