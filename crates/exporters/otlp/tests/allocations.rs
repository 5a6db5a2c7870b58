//! An encoder that has seen its resources, scopes and sites asks the allocator for nothing.

use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use hiq_testkit::allocations::{Counting, assert_second_pass_allocates_nothing};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_second_pass_allocates_nothing() {
    assert_second_pass_allocates_nothing(&[
        || Box::new(OtlpProtoEncoder::new()),
        || Box::new(OtlpJsonEncoder::new()),
    ]);
}
