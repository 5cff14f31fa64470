//! Entries that a sink could not take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::traits::LATELY;

/// How many entries were lost, and when the last one was.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: AtomicU64,
    /// By the steady clock, in nanoseconds.
    last: AtomicU64,
}

impl Losses {
    /// Counts entries that are lost, at a time of the steady clock.
    pub(super) fn add(&self, entries: usize, steady: u64) {
        self.last.store(steady, Ordering::Relaxed);
        // Whoever sees the number sees the time.
        self.count.fetch_add(entries as u64, Ordering::Release);
    }

    /// How many there were, and whether one of them was within [`LATELY`].
    pub(super) fn so_far(&self, steady: u64) -> (u64, bool) {
        let count = self.count.load(Ordering::Acquire);
        let last = self.last.load(Ordering::Relaxed);
        let since = Duration::from_nanos(steady.saturating_sub(last));
        (count, count > 0 && since < LATELY)
    }
}
