//! One slow or failing sink harms neither the others nor those that have entries.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::memory::Memory;
use super::{PATIENCE, record};
use crate::record::{Query, Record};
use crate::store::entry::Entry;
use crate::store::fan_out::FanOut;
use crate::store::options::Options;
use crate::store::traits::{Archive as _, Health, Sink, SinkHealth};

const QUEUE: usize = 16;

fn options() -> Options {
    Options { queue: QUEUE, ..Options::new(PathBuf::new()) }
}

fn entry(n: u64) -> Entry {
    Entry::Record(Box::new(record(n, 1_795_000_000_000 + n)))
}

/// A sink whose calls do not return until the sender of its gate is gone.
#[derive(Debug)]
struct Stuck(Mutex<Receiver<()>>);

impl Stuck {
    fn new() -> (Arc<Self>, Sender<()>) {
        let (gate, closed) = channel();
        (Arc::new(Self(Mutex::new(closed))), gate)
    }

    fn wait(&self) {
        _ = self.0.lock().unwrap().recv();
    }
}

impl Sink for Stuck {
    fn add(&self, _: Entry) -> Option<Record> {
        self.wait();
        None
    }

    fn flush(&self, _: Duration) -> bool {
        self.wait();
        true
    }

    fn health(&self) -> Health {
        self.wait();
        Health::default()
    }
}

/// A sink that panics at every entry.
#[derive(Debug)]
struct Panicking;

impl Sink for Panicking {
    fn add(&self, _: Entry) -> Option<Record> {
        panic!("this sink panics in a test")
    }

    fn flush(&self, _: Duration) -> bool {
        false
    }

    fn health(&self) -> Health {
        Health { error: Some("it is broken".to_owned()), lost: 5, ..Health::default() }
    }
}

/// A sink that gives every second record back.
#[derive(Debug, Default)]
struct Full(AtomicU64);

impl Sink for Full {
    fn add(&self, entry: Entry) -> Option<Record> {
        let Entry::Record(record) = entry else { return None };
        (self.0.fetch_add(1, Ordering::Relaxed) % 2 == 1).then_some(*record)
    }

    fn flush(&self, _: Duration) -> bool {
        true
    }

    fn health(&self) -> Health {
        Health::default()
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
}

fn of(sinks: &FanOut, name: &str) -> SinkHealth {
    sinks.health().others.into_iter().find(|other| other.name == name).unwrap()
}

#[test]
fn a_sink_that_blocks_or_panics_harms_nobody() {
    const ENTRIES: u64 = 200;
    let (stuck, gate) = Stuck::new();
    let (first, good) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    let others: Vec<(&str, Arc<dyn Sink>)> =
        vec![("stuck", stuck), ("panicking", Arc::new(Panicking)), ("good", good.clone())];
    let sinks = FanOut::new(first.clone(), others, &options());
    let start = Instant::now();
    for n in 0..ENTRIES {
        assert!(sinks.add(entry(n)).is_none());
        // As fast as the good one takes them, so that its queue has room.
        wait_until(|| good.health().written > n);
    }
    assert!(!sinks.flush(Duration::from_millis(50)), "not all of them wrote");
    assert!(start.elapsed() < PATIENCE);
    let query = Query { limit: 1_000, ..Query::default() };
    for sink in [&first, &good] {
        assert_eq!(sink.search(&query).unwrap().records.len() as u64, ENTRIES);
    }
    let health = sinks.health();
    assert_eq!((health.written, health.lost, health.error), (ENTRIES, 0, None));
    // All but those in its queue and the one in its hands.
    let lost = of(&sinks, "stuck").lost;
    assert!((ENTRIES - QUEUE as u64 - 1..=ENTRIES).contains(&lost), "{lost}");
    assert!(of(&sinks, "stuck").is_losing);
    wait_until(|| of(&sinks, "panicking").lost >= ENTRIES + 5);
    assert_eq!(of(&sinks, "panicking").error.as_deref(), Some("it is broken"));
    assert_eq!(of(&sinks, "good"), SinkHealth { name: "good", ..SinkHealth::default() });
    // The end does not wait for the one that blocks.
    let start = Instant::now();
    drop(sinks);
    assert!(start.elapsed() < PATIENCE);
    drop(gate);
}

#[test]
fn what_the_first_sink_gives_back_goes_to_no_other() {
    let other = Arc::new(Memory::default());
    let others: Vec<(&str, Arc<dyn Sink>)> =
        vec![("other", other.clone()), ("full", Arc::new(Full::default()))];
    let sinks = FanOut::new(Arc::new(Full::default()), others, &options());
    let back: Vec<_> = (0..10).filter_map(|n| sinks.add(entry(n))).map(|one| one.size).collect();
    assert_eq!(back, [1, 3, 5, 7, 9]);
    assert!(sinks.flush(PATIENCE));
    assert_eq!(other.health().records, 5);
    // What another gives back nobody can fold.
    assert_eq!((of(&sinks, "full").lost, of(&sinks, "other").lost), (2, 0));
}

#[test]
fn a_flush_and_an_end_hand_over_what_waits() {
    let other = Arc::new(Memory::default());
    let others: Vec<(&str, Arc<dyn Sink>)> = vec![("other", other.clone())];
    let sinks = FanOut::new(Arc::new(Memory::default()), others, &options());
    (0..10).for_each(|n| _ = sinks.add(entry(n)));
    assert!(sinks.flush(PATIENCE));
    assert_eq!(other.health().records, 10);
    (10..20).for_each(|n| _ = sinks.add(entry(n)));
    drop(sinks);
    assert_eq!(other.health().records, 20);
}
