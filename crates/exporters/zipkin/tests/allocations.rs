//! An encoder that has seen its resources, scopes and sites asks the allocator for nothing.

use hiq_testkit::allocations::{Counting, assert_second_pass_allocates_nothing};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinJsonV1Encoder, ZipkinProtoEncoder};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_second_pass_allocates_nothing() {
    assert_second_pass_allocates_nothing(&[
        || Box::new(ZipkinJsonEncoder::new()),
        || Box::new(ZipkinJsonV1Encoder::new()),
        || Box::new(ZipkinProtoEncoder::new()),
    ]);
}
