//! What is SQLite's alone: files, their age and size, restarts, clocks. What every engine
//! does, `store::tests::conformance` says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::io::clock;
use crate::record::{Change, Reason, Stage};
use crate::store::tests::{PATIENCE, all, options, record};

mod damage;
mod room;
mod versions;

const DAY: u64 = 86_400_000;

/// The files of a folder that hold records, the oldest first.
fn record_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "sqlite")).collect();
    files.sort();
    files
}

/// Whether there was room for it.
fn add(store: &SqliteStore, record: &Record) -> bool {
    store.add(Entry::Record(Box::new(record.clone()))).is_none()
}

fn settle(store: &SqliteStore) {
    assert!(store.flush(PATIENCE), "{:?}", store.health());
}

#[test]
fn records_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::unix_ms();
    let mut ids = Vec::new();
    for round in 0..5 {
        let store = SqliteStore::start(options(folder.path()));
        for n in 0..30 {
            add(&store, &record(30 * round + n, now));
        }
        settle(&store);
        let (found, _) = all(&store, &Query::default());
        assert_eq!(found.len() as u64, 30 * (round + 1));
        assert_eq!(store.health().records, 30 * (round + 1));
        ids = found.into_iter().map(|stored| stored.id).collect();
    }
    assert!(ids.is_sorted_by(|a, b| a > b));
}

/// What the suite of every engine searches lies in several files here.
#[test]
fn the_records_of_the_suite_fill_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::unix_ms();
    let store = SqliteStore::start(options(folder.path()));
    for n in 0..400 {
        assert!(add(&store, &record(n, now)));
        if n % 50 == 49 {
            settle(&store);
        }
    }
    assert!(record_files(folder.path()).len() > 5);
    let (found, _) = all(&store, &Query::default());
    assert_eq!(found.len(), 400);
}

#[test]
fn what_is_old_or_too_much_goes() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let clock = || NOW.load(Ordering::Relaxed);
    // Days go by, and nobody sets the clock.
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { clock, steady, ..options(folder.path()) };
    let kept = |age: u64, bytes: u64| {
        let age = Duration::from_millis(age);
        let store = SqliteStore::start(Options { age, bytes, ..options.clone() });
        // A start after a day is a step, which must have stood for a while.
        NOW.fetch_add(2 * 3_600_000, Ordering::Relaxed);
        add(&store, &record(NOW.load(Ordering::Relaxed) / DAY, NOW.load(Ordering::Relaxed)));
        settle(&store);
        let found = all(&store, &Query::default()).0;
        found.into_iter().map(|stored| stored.record.time / DAY).collect::<Vec<_>>()
    };
    let first = NOW.load(Ordering::Relaxed) / DAY;
    let mut days = Vec::new();
    for day in 0..10 {
        NOW.store((first + day) * DAY + 1000, Ordering::Relaxed);
        days.insert(0, first + day);
        assert_eq!(kept(100 * DAY, u64::MAX), days);
    }
    let files = || fs::read_dir(folder.path()).unwrap().count();
    assert!(files() >= 10);
    NOW.store((first + 10) * DAY + 1000, Ordering::Relaxed);
    assert_eq!(kept(3 * DAY, u64::MAX), [first + 10, first + 9, first + 8, first + 7]);
    assert!(files() <= 15, "{}", files());
    NOW.store((first + 11) * DAY + 1000, Ordering::Relaxed);
    // What was there before goes at once; the newest file is never too much.
    assert_eq!(kept(100 * DAY, 1).first(), Some(&(first + 11)));
    NOW.store((first + 11) * DAY + 2000, Ordering::Relaxed);
    // It has its share, and another is begun; nobody has kept house since.
    assert_eq!(kept(100 * DAY, 1), [first + 11, first + 11]);
}

/// A clock that is set a year ahead, or a day back, and right again within the hour:
/// what was recorded before, meanwhile and afterwards is all there.
#[test]
fn a_wrong_clock_costs_no_record() {
    const START: u64 = 1_795_000_000_000;
    static STEADY: AtomicU64 = AtomicU64::new(START);
    static AHEAD: AtomicU64 = AtomicU64::new(START);
    // The sum is the time of day: AHEAD is more or less than START while it is wrong.
    let clock = || STEADY.load(Ordering::Relaxed) + AHEAD.load(Ordering::Relaxed) - START;
    let steady = || STEADY.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { clock, steady, ..options(folder.path()) };
    let mut store = SqliteStore::start(options.clone());
    let mut n = 0;
    let mut go_on = |store: &SqliteStore, minutes: u64| {
        for _ in 0..10 {
            STEADY.fetch_add(minutes * 6000, Ordering::Relaxed);
            add(store, &record(n, clock()));
            n += 1;
            settle(store);
        }
        n
    };
    for _ in 0..20 {
        go_on(&store, DAY / 60_000);
    }
    for (wrong, restarts) in
        [(START + 365 * DAY, false), (START + 365 * DAY, true), (START - DAY, true)]
    {
        AHEAD.store(wrong, Ordering::Relaxed);
        if restarts {
            drop(store);
            store = SqliteStore::start(options.clone());
        }
        let written = go_on(&store, 40);
        assert_eq!(all(&store, &Query::default()).0.len() as u64, written, "while it is wrong");
        AHEAD.store(START, Ordering::Relaxed);
        let written = go_on(&store, 40);
        assert_eq!(all(&store, &Query::default()).0.len() as u64, written, "afterwards");
    }
    // One that stays so is believed.
    AHEAD.store(START + 365 * DAY, Ordering::Relaxed);
    let written = go_on(&store, 90);
    STEADY.fetch_add(60_000, Ordering::Relaxed);
    add(&store, &record(0, clock()));
    settle(&store);
    assert!((all(&store, &Query::default()).0.len() as u64) < written);
}

/// Files stay open between looks; the time of one look is not that of the next.
#[test]
fn each_look_has_a_time_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(500);
    let options = Options { patience, file_rows: 10_000, ..options(folder.path()) };
    let store = SqliteStore::start(options);
    let now = clock::unix_ms();
    for n in 0..3_000 {
        add(&store, &record(n, now));
        let (who, what) = ("anna".to_owned(), format!("change {n}"));
        store.add(Entry::Change(Change { time: now, who, what, outcome: "done".to_owned() }));
        if n % 1_000 == 999 {
            settle(&store);
        }
    }
    assert_eq!(
        store.search(&Query { limit: 1_000, ..Query::default() }).unwrap().records.len(),
        1_000
    );
    thread::sleep(patience * 2);
    assert_eq!(store.changes(3_000).unwrap().changes.len(), 3_000);
    thread::sleep(patience * 2);
    let summary = store.summary(now - DAY, now + 60_000).unwrap();
    assert_eq!(summary.decisions.iter().map(|decided| decided.count).sum::<u64>(), 3_000);
}

#[test]
fn a_look_that_takes_too_long_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { patience: Duration::ZERO, file_rows: 10_000, ..options(folder.path()) };
    let store = SqliteStore::start(options);
    for n in 0..3_000 {
        add(&store, &record(n, clock::unix_ms()));
    }
    settle(&store);
    let found = store.search(&Query { limit: 1_000, ..Query::default() });
    assert!(matches!(found, Err(StoreError::TooLong(_))), "{found:?}");
    let summary = store.summary(clock::unix_ms() - DAY, clock::unix_ms() + 60_000);
    assert!(matches!(summary, Err(StoreError::TooLong(_))), "{summary:?}");
}

#[test]
fn a_damaged_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::unix_ms();
    let write = |n| {
        let store = SqliteStore::start(options(folder.path()));
        add(&store, &record(n, now));
        settle(&store);
        all(&store, &Query::default()).0.len()
    };
    assert_eq!(write(0), 1);
    let file = record_files(folder.path()).remove(0);
    fs::write(&file, "no database at all, but long enough to be looked at".repeat(100)).unwrap();
    assert_eq!(write(1), 1);
    assert_eq!(write(2), 2);
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().ends_with(".damaged")));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_alarm_until_it_can() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("record");
    // A file where the folder should be stops root too.
    fs::write(&folder, "").unwrap();
    let store = SqliteStore::start(Options { queue: 10, ..options(&folder) });
    let wait_for = |is_broken| {
        let start = Instant::now();
        while store.health().error.is_some() != is_broken {
            assert!(start.elapsed() < PATIENCE, "{:?}", store.health());
            thread::sleep(Duration::from_millis(20));
        }
        store.health()
    };
    add(&store, &record(0, clock::unix_ms()));
    assert!(wait_for(true).error.is_some_and(|error| error.contains("record")));
    // The writer may still gather when the first of them come, and then waits with those.
    let mut sent = 1;
    while store.health().lost == 0 {
        assert!(sent < 10_000, "the queue has room for any number");
        assert!(add(&store, &record(sent, clock::unix_ms())), "what is lost does not come back");
        sent += 1;
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!store.flush(Duration::from_millis(100)));
    let lost = store.health().lost;
    fs::remove_file(&folder).unwrap();
    wait_for(false);
    settle(&store);
    assert_eq!(all(&store, &Query::default()).0.len() as u64, sent - lost);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn changes_are_kept_and_a_newer_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::start(options(folder.path()));
    for n in 0..100 {
        let who = format!("uid {n}");
        let (what, outcome) = ("block 192.0.2.1".to_owned(), "done".to_owned());
        store.add(Entry::Change(Change { time: clock::unix_ms(), who, what, outcome }));
        add(&store, &record(n, clock::unix_ms()));
    }
    settle(&store);
    let changes = store.changes(3).unwrap().changes;
    assert_eq!(
        changes.iter().map(|change| change.who.as_str()).collect::<Vec<_>>(),
        ["uid 99", "uid 98", "uid 97"]
    );
    drop(store);
    let file = record_files(folder.path()).remove(0);
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = schema::open(&file).unwrap_err().to_string();
    assert!(error.ends_with("of a newer mxdp: version 99, and this one knows 1"), "{error}");
    let store = SqliteStore::start(options(folder.path()));
    add(&store, &record(0, clock::unix_ms()));
    settle(&store);
    assert!(file.exists());
}
