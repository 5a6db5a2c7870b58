//! An encoder that has seen its resources, threads and tracks asks the allocator for nothing.

use hiq_chrome::{ChromeEncoder, PerfettoEncoder};
use hiq_testkit::allocations::{Counting, assert_second_pass_allocates_nothing};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_second_pass_allocates_nothing() {
    assert_second_pass_allocates_nothing(&[
        || Box::new(ChromeEncoder::new()),
        || Box::new(PerfettoEncoder::new()),
    ]);
}
