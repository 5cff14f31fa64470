//! How slow the machine is that the tests run on.
//!
//! `MXDP_TEST_SLOWNESS` says how many times slower than a processor of today; without it
//! there is no difference. An emulated machine is told so by `cargo xtask kernels`. Every
//! time that a test grants, and every amount of work that it does, is asked of here, so
//! that what a test claims stays the same.

use std::env;
use std::sync::LazyLock;
use std::time::Duration;

/// How many times slower.
fn slowness() -> u32 {
    static SLOWNESS: LazyLock<u32> = LazyLock::new(|| match env::var("MXDP_TEST_SLOWNESS") {
        Ok(text) => match text.parse() {
            Ok(times @ 1..=1000) => times,
            _ => panic!("MXDP_TEST_SLOWNESS is a number from 1 to 1000, not '{text}'"),
        },
        Err(_) => 1,
    });
    *SLOWNESS
}

/// A time that is granted, or that something lasts, on this machine.
#[must_use]
pub fn lasting(time: Duration) -> Duration {
    time * slowness()
}

/// As many of `count` as this machine does in the time in which another does all.
#[must_use]
pub fn share(count: usize) -> usize {
    count.div_ceil(slowness() as usize)
}
