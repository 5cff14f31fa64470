//! Counts over time, in bounded memory: rates of messages, invalid recipients.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// The number of keys that are remembered; the least recently used is forgotten first.
const KEYS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// A rate per minute for each key, as a token bucket that holds a minute's worth (the generic cell
/// rate algorithm).
#[derive(Debug)]
pub struct Rate<K: Hash + Eq> {
    per_minute: u32,
    /// When each key's bucket will be full again.
    full_at: LruCache<K, Instant>,
}

impl<K: Hash + Eq> Rate<K> {
    /// A rate; 0 is no limit.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, full_at: LruCache::new(KEYS) }
    }

    /// Whether one more is within the rate; if so, it is counted.
    pub fn take(&mut self, key: K, now: Instant) -> bool {
        let Some(next) = self.next(&key, now) else { return false };
        if self.per_minute > 0 {
            self.full_at.put(key, next);
        }
        true
    }

    /// Whether one more would be within the rate.
    #[must_use]
    pub fn has_room(&self, key: &K, now: Instant) -> bool {
        self.next(key, now).is_some()
    }

    fn next(&self, key: &K, now: Instant) -> Option<Instant> {
        const MINUTE: Duration = Duration::from_secs(60);
        if self.per_minute == 0 {
            return Some(now);
        }
        let full_at = self.full_at.peek(key).copied().unwrap_or(now).max(now);
        let next = full_at + MINUTE / self.per_minute;
        (next <= now + MINUTE).then_some(next)
    }

    /// Sets another limit, after a reload. The counts stay.
    pub const fn set(&mut self, per_minute: u32) {
        self.per_minute = per_minute;
    }
}

/// Keys that are remembered for a short time.
#[derive(Debug)]
pub struct Remembered<K: Hash + Eq> {
    until: LruCache<K, Instant>,
}

impl<K: Hash + Eq> Remembered<K> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { until: LruCache::new(KEYS) }
    }

    /// Remembers a key.
    pub fn add(&mut self, key: K, until: Instant) {
        self.until.put(key, until);
    }

    /// Whether a key is remembered.
    #[must_use]
    pub fn has<Q>(&self, key: &Q, now: Instant) -> bool
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.until.peek(key).is_some_and(|until| *until > now)
    }
}

impl<K: Hash + Eq> Default for Remembered<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_one_at_a_time() {
        let mut rate = Rate::new(60);
        let start = Instant::now();
        let passed = (0..100).filter(|_| rate.take("a", start)).count();
        assert_eq!(passed, 60);
        assert!(!rate.has_room(&"a", start));
        assert!(rate.take("b", start), "each key has its own");
        let later = start + Duration::from_secs(3);
        assert_eq!((0..10).filter(|_| rate.take("a", later)).count(), 3);
        rate.set(0);
        assert!(rate.take("a", later));
    }
}
