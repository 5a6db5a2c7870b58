//! Chrome's JSON from anybody: decoded, and what was understood is written again.
#![no_main]

use hiq_chrome::{ChromeDecoder, ChromeEncoder};
use hiq_fuzz::{decoded, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    encode(ChromeEncoder::new(), decoded(ChromeDecoder::new(), input));
});
