//! An encoder that has seen its resources, scopes and sites asks the allocator for nothing.

use hiq_jaeger::{
    JaegerBinaryEncoder, JaegerCompactEncoder, JaegerMessageEncoder, JaegerProtoEncoder,
};
use hiq_testkit::allocations::{Counting, assert_second_pass_allocates_nothing};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_second_pass_allocates_nothing() {
    assert_second_pass_allocates_nothing(&[
        || Box::new(JaegerCompactEncoder::new()),
        || Box::new(JaegerBinaryEncoder::calls()),
        || Box::new(JaegerProtoEncoder::new()),
        || Box::new(JaegerMessageEncoder::new()),
    ]);
}
