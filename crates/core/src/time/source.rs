//! The counters of the machine. The only `unsafe` of the clock.
#![allow(
    unsafe_code,
    reason = "one instruction and one libc call, argued at each"
)]

/// Reads the time-stamp counter. Only meaningful after [`tsc_is_trusted`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC; it reads a register and touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn tsc() -> u64 {
    monotonic_nanos()
}

/// True when the kernel keeps its own time by the TSC: it has then checked that the counter is invariant,
/// runs on through sleep states and agrees between cores.
pub(super) fn tsc_is_trusted() -> bool {
    cfg!(target_arch = "x86_64")
        && std::fs::read_to_string(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
        .is_ok_and(|name| name.trim() == "tsc")
}

#[inline]
pub(super) fn monotonic_nanos() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

#[inline]
pub(super) fn realtime_nanos() -> u64 {
    read(libc::CLOCK_REALTIME)
}

#[inline]
#[expect(
    clippy::cast_sign_loss,
    reason = "neither clock is negative after 1970"
)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result, and both clock ids exist on every supported system.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
