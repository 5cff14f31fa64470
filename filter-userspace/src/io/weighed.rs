//! A queue that is bounded in items and in bytes: where strangers choose the size of what
//! waits, a number of items is no bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The end that puts items in.
#[derive(Debug)]
pub struct Sender<T> {
    queue: SyncSender<(T, u64)>,
    held: Arc<AtomicU64>,
    bytes: u64,
}

/// The end that takes items out.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: mpsc::Receiver<(T, u64)>,
    held: Arc<AtomicU64>,
}

/// A queue for so many items and so many bytes.
#[must_use]
pub fn queue<T>(items: usize, bytes: u64) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = sync_channel(items);
    let held = Arc::new(AtomicU64::new(0));
    (Sender { queue: sender, held: held.clone(), bytes }, Receiver { queue: receiver, held })
}

impl<T> Sender<T> {
    /// Puts an item in that takes so many bytes, now or never; says whether it did.
    pub fn try_send(&self, item: T, weight: u64) -> bool {
        let add = |held: u64| held.checked_add(weight).filter(|held| *held <= self.bytes);
        if self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
            return false;
        }
        let is_in = self.queue.try_send((item, weight)).is_ok();
        if !is_in {
            self.held.fetch_sub(weight, Ordering::Relaxed);
        }
        is_in
    }
}

impl<T> Receiver<T> {
    /// Waits for an item; with it comes what it takes.
    ///
    /// # Errors
    ///
    /// If nothing comes in time, or nothing can come any more.
    pub fn recv_timeout(&self, patience: Duration) -> Result<(T, u64), RecvTimeoutError> {
        self.queue.recv_timeout(patience).inspect(|(_, weight)| self.release(*weight))
    }

    /// Waits for an item, for as long as one can come.
    ///
    /// # Errors
    ///
    /// If nothing can come any more.
    pub fn recv(&self) -> Result<T, RecvError> {
        let (item, weight) = self.queue.recv()?;
        self.release(weight);
        Ok(item)
    }

    fn release(&self, weight: u64) {
        self.held.fetch_sub(weight, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_in_items_or_bytes_stays_out() {
        let (sender, receiver) = queue(3, 100);
        assert!(sender.try_send(1, 60));
        assert!(!sender.try_send(2, 41), "too many bytes");
        assert!(sender.try_send(3, 40));
        assert!(sender.try_send(4, 0));
        assert!(!sender.try_send(5, 0), "too many items");
        assert_eq!(receiver.recv(), Ok(1));
        assert!(sender.try_send(6, 60), "there is room again");
        assert!(!sender.try_send(7, u64::MAX));
        let soon = Duration::from_secs(1);
        let rest: Vec<_> = (0..3).map(|_| receiver.recv_timeout(soon).unwrap()).collect();
        assert_eq!(rest, [(3, 40), (4, 0), (6, 60)]);
        drop(sender);
        assert_eq!(receiver.recv(), Err(RecvError));
    }
}
