//! Memory that is on its way before it is looked at.
#![allow(unsafe_code, reason = "a hint to the processor, argued there")]

use std::ptr;

/// A line of the cache, as most processors have it.
const LINE: usize = 64;

/// Has what `it` is made of, though not what it points to, on its way into the cache. Costs no wait. Does nothing on
/// processors that have no stable hint for it.
#[inline]
pub(super) fn fetch<T>(it: &T) {
    let first = ptr::from_ref(it).cast::<i8>();
    let last = size_of::<T>().saturating_sub(1);
    for offset in (0..last).step_by(LINE).chain([last]) {
        fetch_line(first.wrapping_add(offset));
    }
}

#[inline]
#[cfg(target_arch = "x86_64")]
fn fetch_line(line: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint reads nothing, whatever the address is.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line) }
}

#[inline]
#[cfg(not(target_arch = "x86_64"))]
fn fetch_line(_line: *const i8) {}
