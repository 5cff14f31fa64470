//! Several sinks behind one: every entry goes to all of them.
//!
//! The first sink is called directly, and its shares decide what is folded. Each further sink
//! has a bounded queue and a thread of its own: if it is slow, blocks or panics, its queue
//! fills and its entries are lost and counted, and nobody else notices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::losses::Losses;
use super::options::Options;
use super::traits::{Health, Sink, SinkHealth};
use crate::io::weighed::{self, Receiver, Sender};
use crate::record::Record;

/// How often a lane reads the health of its sink.
const EVERY: Duration = Duration::from_secs(1);

/// How long the end of the fan-out waits for all lanes.
const LAST: Duration = Duration::from_secs(2);

/// How often it looks whether they have ended.
const POLL: Duration = Duration::from_millis(5);

/// Several sinks.
#[derive(Debug)]
pub(super) struct FanOut {
    first: Arc<dyn Sink>,
    lanes: Vec<Lane>,
}

/// The way to one further sink.
#[derive(Debug)]
struct Lane {
    name: &'static str,
    queue: Option<Sender<Job>>,
    state: Arc<State>,
    thread: JoinHandle<()>,
    steady: fn() -> u64,
}

/// What a lane's thread reports.
#[derive(Debug, Default)]
struct State {
    losses: Losses,
    /// The health of the sink, as it was last.
    known: Mutex<Health>,
}

#[derive(Debug)]
enum Job {
    Entry(Entry),
    /// Flush until a time, and report whether that was done.
    Flush(Instant, SyncSender<bool>),
}

impl FanOut {
    /// Starts a lane for each sink but the first; `options` bound their queues.
    pub(super) fn new(
        first: Arc<dyn Sink>,
        others: Vec<(&'static str, Arc<dyn Sink>)>,
        options: &Options,
    ) -> Self {
        let lane = |(name, sink)| Lane::start(name, sink, options);
        Self { first, lanes: others.into_iter().map(lane).collect() }
    }
}

impl Sink for FanOut {
    fn add(&self, entry: Entry) -> Option<Record> {
        if self.lanes.is_empty() {
            return self.first.add(entry);
        }
        let copy = entry.clone();
        let back = self.first.add(entry);
        // What comes back comes again, folded.
        if back.is_none() {
            self.lanes.iter().for_each(|lane| lane.add(copy.clone()));
        }
        back
    }

    fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let waiting: Vec<_> = self.lanes.iter().map(|lane| lane.flush(deadline)).collect();
        let mut is_flushed = self.first.flush(patience);
        for done in waiting {
            let left = deadline.saturating_duration_since(Instant::now());
            is_flushed &= done.is_some_and(|done| done.recv_timeout(left).unwrap_or(false));
        }
        is_flushed
    }

    fn health(&self) -> Health {
        let others = self.lanes.iter().map(Lane::health).collect();
        Health { others, ..self.first.health() }
    }
}

impl Drop for FanOut {
    /// Lets the lanes hand over what waits, for a short while: a sink that blocks does not keep
    /// the process.
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            lane.queue = None;
        }
        let start = Instant::now();
        let is_running = |lane: &Lane| !lane.thread.is_finished();
        while start.elapsed() < LAST && self.lanes.iter().any(is_running) {
            thread::sleep(POLL);
        }
    }
}

impl Lane {
    fn start(name: &'static str, sink: Arc<dyn Sink>, options: &Options) -> Self {
        let (queue, jobs) = weighed::queue(options.queue, options.queue_bytes);
        let state = Arc::<State>::default();
        let (reported, steady) = (state.clone(), options.steady);
        let thread = thread::spawn(move || run(&*sink, &jobs, &reported, steady));
        Self { name, queue: Some(queue), state, thread, steady }
    }

    /// Queues an entry, or counts it as lost.
    fn add(&self, entry: Entry) {
        let owner = match &entry {
            Entry::Record(record) => record.owner(),
            Entry::Change(_) | Entry::Frames(..) => None,
        };
        let weight = entry.weight();
        let send = |queue: &Sender<Job>| queue.try_send(Job::Entry(entry), weight, owner).is_ok();
        if !self.queue.as_ref().is_some_and(send) {
            self.state.losses.add(1, (self.steady)());
        }
    }

    /// Asks for a flush; none if there is no place for the request in the queue.
    fn flush(&self, deadline: Instant) -> Option<mpsc::Receiver<bool>> {
        let (sender, done) = sync_channel(1);
        self.queue.as_ref()?.try_send(Job::Flush(deadline, sender), 0, None).ok()?;
        Some(done)
    }

    fn health(&self) -> SinkHealth {
        let (lost, is_losing) = self.state.losses.so_far((self.steady)());
        let known = self.state.known();
        SinkHealth {
            name: self.name,
            error: known.error.clone(),
            lost: lost + known.lost,
            is_losing: is_losing || known.is_losing,
        }
    }
}

impl State {
    fn known(&self) -> MutexGuard<'_, Health> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands entries to a sink until no more can come.
fn run(sink: &dyn Sink, jobs: &Receiver<Job>, state: &State, steady: fn() -> u64) {
    let mut read: Option<Instant> = None;
    loop {
        match jobs.recv_timeout(EVERY) {
            Ok((Job::Entry(entry), _)) => {
                // A record that comes back cannot be folded here.
                let is_taken = guarded(|| sink.add(entry).is_none()).unwrap_or(false);
                if !is_taken {
                    state.losses.add(1, steady());
                }
            }
            Ok((Job::Flush(deadline, done), _)) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // The caller may have gone.
                _ = done.send(guarded(|| sink.flush(left)).unwrap_or(false));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if read.is_none_or(|read| read.elapsed() >= EVERY) {
            read = Some(Instant::now());
            if let Some(health) = guarded(|| sink.health()) {
                *state.known() = health;
            }
        }
    }
}

/// The result of a call; none if it panicked, which the panic's message has told the log.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}
