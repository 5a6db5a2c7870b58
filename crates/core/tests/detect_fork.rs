//! A forked child is another process and another instance of the service.

#![allow(unsafe_code, reason = "fork, the case under test, is unsafe to call")]
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use hiq_core::config::ResourceSettings;
use hiq_core::detect::resource;
use hiq_core::value::Value;

fn pid_and_instance() -> String {
    let here = resource(&ResourceSettings::default(), []);
    let value = |key| here.attribute(key).unwrap().to_value();
    let (Value::Int(pid), Value::Str(id)) = (value("process.pid"), value("service.instance.id"))
    else {
        panic!("pid is a number, the id a text");
    };
    format!("{pid} {id}")
}

#[test]
fn a_forked_child_says_its_own_pid_and_instance() {
    let before = pid_and_instance();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    // SAFETY: the child only reads files, writes to its end of the pair and ends without unwinding or exit handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let written = theirs.write_all(pid_and_instance().as_bytes());
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(written.is_err())) };
    }
    drop(theirs);
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    let mut status = 0;
    // SAFETY: the child was made above and is waited for once.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);

    let (own_pid, own_id) = before.split_once(' ').unwrap();
    let (pid, id) = said.split_once(' ').unwrap();
    assert_eq!(pid, child.to_string());
    assert_ne!(pid, own_pid);
    assert_ne!(id, own_id);
    assert_eq!(id.len(), 36);
    assert_eq!(pid_and_instance(), before, "the parent stays who it was");
}
