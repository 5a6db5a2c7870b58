//! Reading a report of `VizTracer`, as `hiq convert` does.
//!
//! Nothing is measured before every call of the report has been found again.

use std::fmt::Write as _;

use hiq_chrome::ChromeDecoder;

use crate::clock::thread_cpu;
use crate::worker::Worker;

/// Calls in the report.
const CALLS: usize = 500_000;

/// Until the runner closes the pipe.
pub fn main() {
    let report = report(CALLS);
    assert_eq!(calls_in(&report), CALLS, "every call of the report");
    let mut worker = Worker::default();
    worker.value("megabytes_a_second", || {
        let start = thread_cpu();
        calls_in(&report);
        report.len() as f64 * 1e3 / (thread_cpu() - start) as f64
    });
    worker.serve();
}

fn calls_in(mut report: &[u8]) -> usize {
    let mut calls = 0;
    let read = ChromeDecoder::new().read(&mut report, &mut |tree| calls += tree.len());
    read.expect("a whole report");
    calls
}

/// What `VizTracer` 1.1 writes of a function that calls three others: each when it ends, digits as Python prints them.
fn report(calls: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(20);
    let mut text = String::from(
        "{\"traceEvents\": [{\"ph\": \"M\", \"pid\": 5093, \"tid\": 5093, \"name\": \"process_name\", \"args\": {\"name\": \"MainProcess\"}}, \
         {\"ph\": \"M\", \"pid\": 5093, \"tid\": 5093, \"name\": \"thread_name\", \"args\": {\"name\": \"MainThread\"}}",
    );
    let mut micros = 36_544_492_647.776;
    for group in 0..calls / 5 {
        let start = micros;
        for _ in 0..3 {
            micros += 0.7 + random.f64();
            call(
                &mut text,
                micros,
                random.f64() * 0.3,
                "leaf (/srv/shop/prices.py:3)",
            );
        }
        micros += 0.9;
        call(&mut text, micros, 0.11 + random.f64() * 0.1, "builtins.len");
        micros += 0.8;
        let name = [
            "step (/srv/shop/orders.py:5)",
            "Cart.total (/srv/shop/cart.py:41)",
        ][group % 2];
        call(&mut text, start, micros - start, name);
        micros += 0.5;
    }
    text.push_str(
        "], \"viztracer_metadata\": {\"overflow\": false, \"version\": \"1.1.1\", \"baseTimeNanoseconds\": 1700000000000000000}, \
         \"file_info\": {\"files\": {}, \"functions\": {}}}",
    );
    text.into_bytes()
}

fn call(text: &mut String, start: f64, duration: f64, name: &str) {
    write!(
        text,
        ", {{\"pid\": 5093, \"tid\": 5093, \"ts\": {start:.3}, \"ph\": \"X\", \"dur\": {duration}, \"name\": \"{name}\", \"cat\": \"FEE\"}}"
    )
    .expect("memory");
}
