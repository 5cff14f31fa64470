//! A queue that is bounded in items and in bytes: if strangers choose the size of items, their
//! number is not a bound.
//!
//! An owner of items may not have more waiting than is left free (the dynamic threshold of
//! Choudhury and Hahne, 1998): one alone gets half of the queue, ten together leave a tenth, and an
//! owner of few items always finds space.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The end that puts items in.
#[derive(Debug)]
pub struct Sender<T> {
    queue: SyncSender<Waiting<T>>,
    held: Arc<Mutex<Held>>,
    most: Load,
}

/// The end that takes items out.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: mpsc::Receiver<Waiting<T>>,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    weight: u64,
    owner: Option<IpAddr>,
}

/// A number of items, and their size in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    items: usize,
    bytes: u64,
}

impl Load {
    const fn plus(self, weight: u64) -> Self {
        Self { items: self.items + 1, bytes: self.bytes.saturating_add(weight) }
    }

    const fn minus(self, weight: u64) -> Self {
        Self { items: self.items - 1, bytes: self.bytes - weight }
    }

    const fn is_within(self, most: Self) -> bool {
        self.items <= most.items && self.bytes <= most.bytes
    }
}

/// The waiting items.
#[derive(Debug, Default)]
struct Held {
    all: Load,
    owners: HashMap<IpAddr, Load>,
}

impl Held {
    fn add(&mut self, owner: Option<IpAddr>, weight: u64, most: Load) -> bool {
        let all = self.all.plus(weight);
        if !all.is_within(most) {
            return false;
        }
        if let Some(owner) = owner {
            let free = Load { items: most.items - all.items, bytes: most.bytes - all.bytes };
            let own = self.owners.get(&owner).copied().unwrap_or_default().plus(weight);
            if !own.is_within(free) {
                return false;
            }
            self.owners.insert(owner, own);
        }
        self.all = all;
        true
    }

    fn remove(&mut self, owner: Option<IpAddr>, weight: u64) {
        self.all = self.all.minus(weight);
        if let Some(owner) = owner
            && let Some(own) = self.owners.get_mut(&owner)
        {
            *own = own.minus(weight);
            if own.items == 0 {
                self.owners.remove(&owner);
            }
        }
    }
}

/// A queue with a maximum number of items and bytes.
#[must_use]
pub fn queue<T>(items: usize, bytes: u64) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = sync_channel(items);
    let held = Arc::<Mutex<Held>>::default();
    let most = Load { items, bytes };
    (Sender { queue: sender, held: held.clone(), most }, Receiver { queue: receiver, held })
}

impl<T> Sender<T> {
    /// Adds an item of the given size, without waiting. An `owner` may not have more than is left
    /// free.
    ///
    /// # Errors
    ///
    /// Returns the item if it does not fit.
    pub fn try_send(&self, item: T, weight: u64, owner: Option<IpAddr>) -> Result<(), T> {
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held().add(owner, weight, self.most) {
            return Err(item);
        }
        self.queue.try_send(Waiting { item, weight, owner }).map_err(|error| {
            held().remove(owner, weight);
            match error {
                mpsc::TrySendError::Full(waiting) | mpsc::TrySendError::Disconnected(waiting) => {
                    waiting.item
                }
            }
        })
    }
}

impl<T> Receiver<T> {
    /// Waits for an item; returns it with its size.
    ///
    /// # Errors
    ///
    /// When no item arrives in time, or none can arrive any more.
    pub fn recv_timeout(&self, patience: Duration) -> Result<(T, u64), RecvTimeoutError> {
        self.queue.recv_timeout(patience).map(|waiting| self.release(waiting))
    }

    /// Waits for an item, as long as one can arrive.
    ///
    /// # Errors
    ///
    /// When no item can arrive any more.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.queue.recv().map(|waiting| self.release(waiting).0)
    }

    fn release(&self, waiting: Waiting<T>) -> (T, u64) {
        let Waiting { item, weight, owner } = waiting;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(owner, weight);
        (item, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_in_items_or_bytes_stays_out() {
        let (sender, receiver) = queue(3, 100);
        assert_eq!(sender.try_send(1, 60, None), Ok(()));
        assert_eq!(sender.try_send(2, 41, None), Err(2), "too many bytes");
        assert_eq!(sender.try_send(3, 40, None), Ok(()));
        assert_eq!(sender.try_send(4, 0, None), Ok(()));
        assert_eq!(sender.try_send(5, 0, None), Err(5), "too many items");
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(sender.try_send(6, 60, None), Ok(()), "there is room again");
        assert_eq!(sender.try_send(7, u64::MAX, None), Err(7));
        let soon = Duration::from_secs(1);
        let rest: Vec<_> = (0..3).map(|_| receiver.recv_timeout(soon).unwrap()).collect();
        assert_eq!(rest, [(3, 40), (4, 0), (6, 60)]);
        drop(sender);
        assert_eq!(receiver.recv(), Err(RecvError));
    }

    /// Adds as much as fits for a number of owners that each want everything.
    fn fill(sender: &Sender<u8>, owners: u8, weight: u64) -> usize {
        let mut count = 0;
        loop {
            let before = count;
            for owner in 0..owners {
                let owner = Some(IpAddr::from([192, 0, 2, owner]));
                count +=
                    usize::from(sender.try_send(owner.is_some().into(), weight, owner).is_ok());
            }
            if count == before {
                return count;
            }
        }
    }

    #[test]
    fn whoever_sends_little_finds_room_beside_those_who_send_all_they_can() {
        for (owners, share) in [(1, 500), (4, 200), (9, 100)] {
            for (items, weight) in [(1000, 1), (1_000_000, 1000)] {
                let (sender, receiver) = queue(items, 1_000_000);
                assert_eq!(fill(&sender, owners, weight), share * usize::from(owners));
                let other = Some(IpAddr::from([203, 0, 113, 1]));
                for _ in 0..share / 2 {
                    assert_eq!(sender.try_send(0, weight, other), Ok(()));
                }
                // Items without an owner are accepted as long as there is any space.
                assert_eq!(sender.try_send(0, weight, None), Ok(()));
                drop(sender);
                while receiver.recv().is_ok() {}
                let held = receiver.held.lock().unwrap();
                assert_eq!((held.all.items, held.all.bytes, held.owners.len()), (0, 0, 0));
            }
        }
    }
}
