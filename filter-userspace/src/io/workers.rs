//! Runs work that takes longer than a session may be kept waiting: on threads beside those that
//! move bytes, as many pieces at once as there are processors, and one client network after the
//! other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::io::networks::wide;

/// The workers.
#[derive(Debug)]
pub struct Workers {
    all: Arc<Semaphore>,
    /// One piece at a time for each network with work now.
    networks: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

impl Default for Workers {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { all: Arc::new(Semaphore::new(processors)), networks: Mutex::default() }
    }
}

impl Workers {
    /// Runs work for a client; none if the work panics. The client's network (for IPv6 its /48,
    /// which has 65,536 client networks) has one position in the queue, however much work it has:
    /// so nobody waits for more than one piece of work of each other network.
    pub async fn run<T: Send + 'static>(
        &self,
        client: IpAddr,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Turn::of(self, wide(client)).await?;
        let place = self.all.clone().acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Even if nobody waits for the result any more.
            drop(place);
            done
        });
        let done = done.await.ok();
        drop(turn);
        done
    }

    fn networks(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network's turn, until it is dropped.
struct Turn<'a> {
    workers: &'a Workers,
    network: IpAddr,
    permit: Option<OwnedSemaphorePermit>,
}

impl<'a> Turn<'a> {
    async fn of(workers: &'a Workers, network: IpAddr) -> Option<Self> {
        let queue = workers.networks().entry(network).or_insert_with(one).clone();
        // Created before waiting, so that it is removed when waiting ends.
        let mut turn = Self { workers, network, permit: None };
        turn.permit = Some(queue.acquire_owned().await.ok()?);
        Some(turn)
    }
}

fn one() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut networks = self.workers.networks();
        // Other waiting callers of this network hold it too.
        if networks.get(&self.network).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            networks.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_network_has_its_turn() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let workers = Arc::new(Workers { all: Arc::new(Semaphore::new(1)), ..Workers::default() });
        let done = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let (greedy, modest) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
            let mut tasks = Vec::new();
            for _ in 0..50 {
                let (workers, done) = (workers.clone(), done.clone());
                tasks.push(tokio::spawn(async move {
                    let work = move || {
                        thread::sleep(Duration::from_millis(10));
                        done.fetch_add(1, Ordering::Relaxed);
                    };
                    workers.run(greedy, work).await
                }));
            }
            while done.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let before = done.load(Ordering::Relaxed);
            let seen = done.clone();
            let after = workers.run(modest, move || seen.load(Ordering::Relaxed)).await.unwrap();
            assert!(after < before + 10, "{before} to {after} of the other's 50");
            for task in tasks {
                assert!(task.await.unwrap().is_some());
            }
            assert_eq!(workers.run(modest, || panic!("on purpose")).await, None::<()>);
        });
        assert!(workers.networks().is_empty());
    }
}
