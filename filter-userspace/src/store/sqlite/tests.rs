//! The store against what it stands for: all records in memory, gone through one by
//! one.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use filter_common::Family;
use proptest::prelude::*;

use super::*;
use crate::io::clock;
use crate::record::{Change, Kind, Reason, Stage, Status, Stored};
use crate::store::entry::Frames;

mod damage;
mod room;
mod versions;

const PATIENCE: Duration = Duration::from_secs(10);

const DAY: u64 = 86_400_000;

fn options(folder: &Path) -> Options {
    Options { file_rows: 40, ..Options::new(folder.to_owned()) }
}

/// A record of the test's small world.
fn record(n: u64, time: u64) -> Record {
    let ip = IpAddr::V4(u32::try_from(0xc000_0200 + n % 300).unwrap_or(0).into());
    let (status, stage, reason) = match n % 5 {
        0 => (Status::Delivered, "backend", "accepted"),
        1 => (Status::Permanent, "connection", "blocked_ip"),
        2 => (Status::Temporary, "reputation", "dynamic_reputation"),
        3 => (Status::Permanent, "backend", "backend_refused"),
        _ => (Status::Permanent, "data", "too_large"),
    };
    Record {
        country: (!n.is_multiple_of(3))
            .then(|| ["DE", "AT"][usize::from(n.is_multiple_of(2))].to_owned()),
        sender: (!n.is_multiple_of(7)).then(|| format!("User{}@mail{}.Example.org", n % 11, n % 4)),
        recipient: (!n.is_multiple_of(6)).then(|| format!("box{}@example.com", n % 13)),
        subject: n.is_multiple_of(2).then(|| format!("Invoice number {}", n % 17)),
        message_id: n.is_multiple_of(2).then(|| format!("{n}.abc@mail.example.org")),
        reference: Some(format!("{n:04}-1")),
        session: Some(format!("{n:04}")),
        reply: Some("550 5.7.1 no".to_owned()),
        size: n,
        ..Record::new(time, ip, status, Stage::read(stage), Reason::read(reason))
    }
}

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

/// All pages of a query, and how many there were.
fn all(store: &SqliteStore, query: &Query) -> (Vec<Stored>, usize) {
    let mut found = Vec::new();
    let mut query = query.clone();
    for pages in 1.. {
        let page = store.search(&query).unwrap();
        assert!(page.records.len() <= query.limit);
        found.extend(page.records);
        let Some(next) = page.next else { return (found, pages) };
        query.before = Some(next);
    }
    unreachable!("pages do not end")
}

fn parts() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let known = [
        ("type", "blocked"),
        ("type", "accepted"),
        ("status", "temporary,delivered"),
        ("stage", "backend"),
        ("reason", "blocked_ip,too_large"),
        ("ip", "192.0.2.0/28"),
        ("ip", "192.0.2.7"),
        ("country", "de"),
        ("country", "none,at"),
        ("sender", "*@mail1.example.org"),
        ("sender", "*.example.org"),
        ("sender", "user3@*"),
        ("sender", "user3@mail3.example.org"),
        ("sender", "*r1*"),
        ("recipient", "box1@example.com"),
        ("recipient", "*x1*"),
        ("reference", "0042"),
        ("text", "invoice 12"),
        ("text", "nothing"),
        ("direction", "inbound"),
        ("direction", "outgoing"),
        ("limit", "7"),
        ("limit", "1"),
    ];
    proptest::sample::subsequence(known.to_vec(), 0..4)
}

#[test]
fn a_search_finds_what_going_through_all_records_finds() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::start(options(folder.path()));
    let now = clock::unix_ms();
    // Two records a millisecond, and a clock that is set back in the middle.
    let times = |n: u64| now - 100_000 + n / 2 - if n >= 200 { 5_000 } else { 0 };
    let records: Vec<_> = (0..400).map(|n| record(n, times(n))).collect();
    for part in records.chunks(50) {
        part.iter().for_each(|record| assert!(add(&store, record)));
        settle(&store);
    }
    assert!(fs::read_dir(folder.path()).unwrap().count() > 5);
    let newest_first: Vec<_> = records.iter().rev().cloned().collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let cases = (parts(), 0..4_u64, 0..3_u64);
    runner
        .run(&cases, |(parts, since, until)| {
            let query = Query::read(parts, now).unwrap();
            let query = Query {
                since: (since > 0).then(|| times(100 * since)),
                until: (until > 0).then(|| times(150 * until)),
                ..query
            };
            let (found, pages) = all(&store, &query);
            let found: Vec<_> = found.into_iter().map(|stored| stored.record).collect();
            let meant: Vec<_> =
                newest_first.iter().filter(|record| query.matches(record)).cloned().collect();
            prop_assert_eq!(pages, meant.len().div_ceil(query.limit).max(1));
            prop_assert_eq!(found, meant);
            Ok(())
        })
        .unwrap();
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

#[test]
fn dropped_syns_of_a_minute_are_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::start(options(folder.path()));
    let minute = clock::unix_ms() / 60_000 * 60_000 - 120_000;
    let dropped = |time, address: &str, reason, count| Record {
        count,
        ..Record::new(
            time,
            address.parse().unwrap(),
            Status::Dropped,
            Stage::PacketFilter,
            Reason::read(reason),
        )
    };
    for second in 0..90_u64 {
        add(&store, &dropped(minute + second * 1000, "192.0.2.1", "blocked_ip", 10));
        add(&store, &dropped(minute + second * 1000, "2001:db8::1", "blocked_ip", 1));
        if second % 30 == 0 {
            add(&store, &dropped(minute + second * 1000, "192.0.2.1", "rate_limit", 3));
            settle(&store);
        }
    }
    settle(&store);
    let (found, _) = all(&store, &Query::default());
    let counts: Vec<_> =
        found.iter().map(|stored| (stored.record.reason.code(), stored.record.count)).collect();
    assert_eq!(
        counts,
        [
            ("rate_limit", 3),
            ("blocked_ip", 30),
            ("blocked_ip", 300),
            ("rate_limit", 6),
            ("blocked_ip", 60),
            ("blocked_ip", 600),
        ]
    );
    assert_eq!(found[0].record.kind, Kind::Blocked);
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

#[test]
fn a_summary_is_what_adding_up_all_records_gives() {
    const MINUTE: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::start(options(folder.path()));
    let until = clock::unix_ms() / MINUTE * MINUTE;
    let records: Vec<_> = (0..300).map(|n| record(n, until - (300 - n) * MINUTE)).collect();
    for record in &records {
        add(&store, record);
        let frames =
            Frames { reason: filter_common::Reason::Unlisted, family: Family::V4, frames: 3 };
        store.add(Entry::Frames(record.time, vec![frames]));
    }
    settle(&store);
    let summary = store.summary(until - 180 * MINUTE, until).unwrap();
    let within = || records.iter().filter(|one| (summary.since..summary.until).contains(&one.time));
    assert_eq!(within().count(), 180);
    let step = summary.step_minutes * MINUTE;
    for n in 0..summary.steps() {
        let starts = summary.since + n * step;
        for reason in ["accepted", "blocked_ip", "dynamic_reputation", "too_large"] {
            let alike = |one: &&Record| {
                one.reason.code() == reason && (starts..starts + step).contains(&one.time)
            };
            let sum = summary.decisions.iter().filter(|d| d.step == n && d.reason.code() == reason);
            let sum: u64 = sum.map(|decided| decided.count).sum();
            assert_eq!(sum, within().filter(alike).count() as u64, "{reason} of step {n}");
        }
    }
    assert_eq!(summary.frames.iter().map(|counted| counted.frames).sum::<u64>(), 3 * 180);
    let count = |country: Option<&str>, kind: Kind| {
        let alike = |one: &&Record| one.country.as_deref() == country && one.kind == kind;
        within().filter(alike).count() as u64
    };
    assert_eq!(summary.countries.len(), 3);
    for country in &summary.countries {
        let code = country.country.as_deref();
        let expected = (count(code, Kind::Blocked), count(code, Kind::Accepted));
        assert_eq!((country.blocked, country.accepted), expected, "{code:?}");
    }
    let of = |ip| within().filter(|one| one.ip == ip && one.kind == Kind::Blocked).count() as u64;
    assert_eq!(summary.sources.len(), 20);
    assert!(summary.sources.iter().all(|source| source.blocked == of(source.ip)));
    assert!(summary.sources.is_sorted_by_key(|source| std::cmp::Reverse(source.blocked)));
}

/// As its other parts: neither what came later nor what only has a later number, since
/// the clock was set back.
#[test]
fn the_sources_of_a_summary_are_those_of_its_time() {
    const MINUTE: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::start(options(folder.path()));
    let begin = clock::unix_ms() / MINUTE * MINUTE - 60 * MINUTE;
    let blocked = |minute: u64, address: &str| {
        let ip = address.parse().unwrap();
        let time = begin + minute * MINUTE;
        Record::new(
            time,
            ip,
            Status::Permanent,
            Stage::read("connection"),
            Reason::read("blocked_ip"),
        )
    };
    for (minute, address) in [
        (5, "192.0.2.1"),
        (15, "192.0.2.2"),
        (25, "192.0.2.3"),
        // By now its number is of the minute 25.
        (6, "192.0.2.4"),
        (35, "192.0.2.5"),
    ] {
        add(&store, &blocked(minute, address));
    }
    settle(&store);
    for (since, until, meant) in [
        (0, 10, &["192.0.2.1", "192.0.2.4"][..]),
        (10, 20, &["192.0.2.2"]),
        (20, 30, &["192.0.2.3"]),
        (30, 40, &["192.0.2.5"]),
        (40, 50, &[]),
        (5, 6, &["192.0.2.1"]),
        (0, 60, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]),
    ] {
        let summary = store.summary(begin + since * MINUTE, begin + until * MINUTE).unwrap();
        let found: Vec<_> = summary.sources.iter().map(|one| one.ip.to_string()).collect();
        assert_eq!(found, meant, "minutes {since} to {until}");
        let decided: u64 = summary.decisions.iter().map(|decided| decided.count).sum();
        assert_eq!(decided, meant.len() as u64, "minutes {since} to {until}");
    }
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
