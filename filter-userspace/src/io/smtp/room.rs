//! Memory for messages: under a limit, a message that does not fit is not begun, so that the kernel
//! has no reason to kill the daemon.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::io::memory::{Usage, usage};

/// The maximum memory of a session with a message, in bytes: lines, recipients, a header, what
/// waits for the backend, what is being read, and TLS on both sides.
const MESSAGE: u64 = 320 * 1024;

/// Messages may use one part in this number of the limit.
const FOR_MESSAGES: u64 = 2;

/// Nothing is begun when only one part in this number of the limit is left.
const LAST: u64 = 8;

/// Memory usage and limit, and reservations for messages.
#[derive(Debug)]
pub(super) struct Memory {
    /// The limit, in bytes.
    limit: AtomicU64,
    is_short: AtomicBool,
    seen: Mutex<Option<Usage>>,
    /// Sessions that may have a message under way, by their owners.
    messages: Mutex<HashMap<IpAddr, u64>>,
}

impl Memory {
    pub(super) fn new() -> Arc<Self> {
        let memory = Self {
            limit: AtomicU64::new(u64::MAX),
            is_short: AtomicBool::new(false),
            seen: Mutex::default(),
            messages: Mutex::default(),
        };
        memory.look();
        Arc::new(memory)
    }

    /// Reads the current limit and usage.
    pub(super) fn look(&self) {
        self.see(usage());
    }

    fn see(&self, seen: Option<Usage>) {
        self.limit.store(seen.map_or(u64::MAX, |usage| usage.limit), Ordering::Relaxed);
        let is_short = seen.is_some_and(|usage| usage.used > usage.limit - usage.limit / LAST);
        self.is_short.store(is_short, Ordering::Relaxed);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Whether it is time to return free memory: three quarters of the limit are in use.
    pub(super) fn is_scarce(&self) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|usage| usage.used > usage.limit / 4 * 3)
    }

    /// Whether nothing more may begin.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// The shortage, for people.
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

    /// Reserves memory for one more message; none if it might not fit. An owner may not reserve
    /// more than is left free, so that owners of little find some.
    pub(super) fn room(self: &Arc<Self>, owner: IpAddr) -> Option<Room> {
        let most = (self.limit.load(Ordering::Relaxed) / FOR_MESSAGES / MESSAGE).max(1);
        let mut messages = self.messages();
        let free = most.checked_sub(messages.values().sum::<u64>() + 1)?;
        let own = messages.get(&owner).copied().unwrap_or(0) + 1;
        if own > free.max(1) || self.is_short() {
            return None;
        }
        messages.insert(owner, own);
        drop(messages);
        Some(Room { memory: self.clone(), owner })
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory reserved for a message, released when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    memory: Arc<Memory>,
    owner: IpAddr,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut messages = self.memory.messages();
        if let Some(own) = messages.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                messages.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn messages_fill_half_of_the_limit() {
        let memory = Memory::new();
        memory.see(Some(Usage { used: 0, limit: 8 * MESSAGE }));
        let client = |last| IpAddr::from([192, 0, 2, last]);
        let mut rooms: Vec<_> = (0..4).map(|last| memory.room(client(last)).unwrap()).collect();
        assert!(memory.room(client(4)).is_none());
        rooms.pop();
        rooms.push(memory.room(client(4)).unwrap());
        assert!(memory.room(client(5)).is_none());
        memory.see(None);
        assert!(memory.room(client(5)).is_some());
        drop(rooms);
        assert!(memory.messages().is_empty());
    }

    #[test]
    fn whoever_has_little_finds_room_beside_one_that_takes_all_it_can() {
        let memory = Memory::new();
        memory.see(Some(Usage { used: 0, limit: 200 * MESSAGE }));
        let all = |owner| std::iter::from_fn(|| memory.room(owner)).collect::<Vec<_>>();
        let greedy = all(CLIENT);
        assert_eq!(greedy.len(), 50);
        assert_eq!(all([192, 0, 2, 1].into()).len(), 25);
        drop(greedy);
        assert_eq!(all(CLIENT).len(), 50);
    }

    #[test]
    fn nothing_begins_near_the_limit() {
        let memory = Memory::new();
        memory.see(Some(Usage { used: 900 * MESSAGE, limit: 1000 * MESSAGE }));
        assert!(memory.room(CLIENT).is_none() && memory.is_short());
        assert!(memory.shortage().unwrap().starts_with("memory is short: 281 MiB of 312 MiB; "));
        memory.see(Some(Usage { used: 800 * MESSAGE, limit: 1000 * MESSAGE }));
        assert!(memory.room(CLIENT).is_some() && memory.shortage().is_none());
    }
}
