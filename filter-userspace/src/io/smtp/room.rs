//! Room in memory: where a limit stands, what does not fit under it is not begun, so that
//! the kernel has no reason to kill the daemon.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::io::memory::{Usage, usage};

/// What a session with a message takes at most, in bytes: lines, a header, what waits
/// for the backend, what is being read, and TLS on both sides.
const MESSAGE: u64 = 256 * 1024;

/// Messages may fill this part of the limit.
const FOR_MESSAGES: u64 = 2;

/// Nothing is begun in the last part of the limit.
const LAST: u64 = 8;

/// The memory that there is, and that is kept for messages.
#[derive(Debug)]
pub(super) struct Memory {
    /// The limit, in bytes.
    limit: AtomicU64,
    is_short: AtomicBool,
    seen: Mutex<Option<Usage>>,
    /// Sessions that may have a message under way.
    messages: AtomicU64,
}

impl Memory {
    pub(super) fn new() -> Arc<Self> {
        let memory = Self {
            limit: AtomicU64::new(u64::MAX),
            is_short: AtomicBool::new(false),
            seen: Mutex::default(),
            messages: AtomicU64::new(0),
        };
        memory.look();
        Arc::new(memory)
    }

    /// Looks how much there is, and takes.
    pub(super) fn look(&self) {
        self.see(usage());
    }

    fn see(&self, seen: Option<Usage>) {
        self.limit.store(seen.map_or(u64::MAX, |usage| usage.limit), Ordering::Relaxed);
        let is_short = seen.is_some_and(|usage| usage.used > usage.limit - usage.limit / LAST);
        self.is_short.store(is_short, Ordering::Relaxed);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Whether nothing more may begin.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// What is short, for people.
    pub(super) fn shortage(&self) -> Option<String> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Usage { used, limit } = seen.filter(|_| self.is_short())?;
        let mib = |bytes: u64| bytes >> 20;
        Some(format!(
            "memory is short: {} MiB of {} MiB; new sessions and messages are told to come again \
             (raise MemoryMax= in the unit, or lower smtp.connections)",
            mib(used),
            mib(limit)
        ))
    }

    /// Room for one more message; none where it might not fit.
    pub(super) fn room(self: &Arc<Self>) -> Option<Room> {
        let room = Room(self.clone());
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let most = self.limit.load(Ordering::Relaxed) / FOR_MESSAGES / MESSAGE;
        (messages <= most.max(1) && !self.is_short()).then_some(room)
    }
}

/// Room for a message, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room(Arc<Memory>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.messages.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fill_half_of_the_limit() {
        let memory = Memory::new();
        memory.see(Some(Usage { used: 0, limit: 8 * MESSAGE }));
        let mut rooms: Vec<_> = (0..4).map(|_| memory.room().unwrap()).collect();
        assert!(memory.room().is_none());
        rooms.pop();
        rooms.push(memory.room().unwrap());
        assert!(memory.room().is_none());
        memory.see(None);
        assert!(memory.room().is_some());
    }

    #[test]
    fn nothing_begins_near_the_limit() {
        let memory = Memory::new();
        memory.see(Some(Usage { used: 900 * MESSAGE, limit: 1000 * MESSAGE }));
        assert!(memory.room().is_none() && memory.is_short());
        assert!(memory.shortage().unwrap().starts_with("memory is short: 225 MiB of 250 MiB; "));
        memory.see(Some(Usage { used: 800 * MESSAGE, limit: 1000 * MESSAGE }));
        assert!(memory.room().is_some() && memory.shortage().is_none());
    }
}
