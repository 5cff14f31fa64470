//! The suite that every engine passes: what a [`Sink`] takes, its [`Archive`] finds.
//!
//! To have another engine tested, add it to [`ENGINES`].

use std::sync::Arc;

use filter_common::Family;
use proptest::prelude::*;

use super::memory::Memory;
use super::{PATIENCE, all, options, record};
use crate::io::clock;
use crate::record::{Change, Direction, Kind, Query, Reason, Record, Stage, Status};
use crate::store::Opened;
use crate::store::entry::{Entry, Frames};
use crate::store::fan_out::FanOut;
use crate::store::options::Options;
use crate::store::sqlite::SqliteStore;
use crate::store::traits::{Archive, Sink};

type Start = fn(Options) -> Opened;

/// The engines: the name of each, and how it is started.
const ENGINES: [(&str, Start); 3] = [
    ("memory", |_| opened(Arc::new(Memory::default()))),
    ("SQLite", |options| opened(Arc::new(SqliteStore::start(options)))),
    ("the further sink of a fan-out", |options| {
        let (first, further) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
        let sink = FanOut::new(first, vec![("further", further.clone())], &options);
        Opened { sink: Arc::new(sink), archive: further }
    }),
];

fn opened<E: Sink + Archive + 'static>(engine: Arc<E>) -> Opened {
    Opened { sink: engine.clone(), archive: engine }
}

/// Runs a test with each engine, and names the one that fails.
fn every_engine(test: impl Fn(&Opened)) {
    for (name, start) in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        println!("engine: {name}");
        test(&start(options(folder.path())));
    }
}

impl Opened {
    /// Whether there was room for it.
    fn add(&self, record: &Record) -> bool {
        self.sink.add(Entry::Record(Box::new(record.clone()))).is_none()
    }

    fn change(&self, n: u64) {
        let change = Change {
            time: clock::unix_ms(),
            who: format!("uid {n}"),
            what: "block 192.0.2.1".to_owned(),
            outcome: "done".to_owned(),
        };
        self.sink.add(Entry::Change(change));
    }

    fn settle(&self) {
        assert!(self.sink.flush(PATIENCE), "{:?}", self.sink.health());
    }
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
    every_engine(|store| {
        let now = clock::unix_ms();
        // Two records a millisecond, and a clock that is set back in the middle.
        let times = |n: u64| now - 100_000 + n / 2 - if n >= 200 { 5_000 } else { 0 };
        let records: Vec<_> = (0..400).map(|n| record(n, times(n))).collect();
        for part in records.chunks(50) {
            part.iter().for_each(|record| assert!(store.add(record)));
            store.settle();
        }
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
                let (found, pages) = all(&*store.archive, &query);
                let found: Vec<_> = found.into_iter().map(|stored| stored.record).collect();
                let meant: Vec<_> =
                    newest_first.iter().filter(|record| query.matches(record)).cloned().collect();
                prop_assert_eq!(pages, meant.len().div_ceil(query.limit).max(1));
                prop_assert_eq!(found, meant);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn dropped_syns_of_a_minute_are_one_record() {
    every_engine(|store| {
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
            store.add(&dropped(minute + second * 1000, "192.0.2.1", "blocked_ip", 10));
            store.add(&dropped(minute + second * 1000, "2001:db8::1", "blocked_ip", 1));
            if second % 30 == 0 {
                store.add(&dropped(minute + second * 1000, "192.0.2.1", "rate_limit", 3));
                store.settle();
            }
        }
        store.settle();
        let (found, _) = all(&*store.archive, &Query::default());
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
    });
}

#[test]
fn a_summary_is_what_adding_up_all_records_gives() {
    every_engine(|store| {
        const MINUTE: u64 = 60_000;
        let until = clock::unix_ms() / MINUTE * MINUTE;
        let records: Vec<_> = (0..300).map(|n| record(n, until - (300 - n) * MINUTE)).collect();
        for record in &records {
            store.add(record);
            let frames =
                Frames { reason: filter_common::Reason::Unlisted, family: Family::V4, frames: 3 };
            store.sink.add(Entry::Frames(record.time, vec![frames]));
        }
        store.settle();
        let summary = store.archive.summary(until - 180 * MINUTE, until).unwrap();
        let within =
            || records.iter().filter(|one| (summary.since..summary.until).contains(&one.time));
        assert_eq!(within().count(), 180);
        let step = summary.step_minutes * MINUTE;
        for n in 0..summary.steps() {
            let starts = summary.since + n * step;
            for reason in ["accepted", "blocked_ip", "dynamic_reputation", "too_large"] {
                let alike = |one: &&Record| {
                    one.reason.code() == reason && (starts..starts + step).contains(&one.time)
                };
                let sum =
                    summary.decisions.iter().filter(|d| d.step == n && d.reason.code() == reason);
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
        let of =
            |ip| within().filter(|one| one.ip == ip && one.kind == Kind::Blocked).count() as u64;
        assert_eq!(summary.sources.len(), 20);
        assert!(summary.sources.iter().all(|source| source.blocked == of(source.ip)));
        assert!(summary.sources.is_sorted_by_key(|source| std::cmp::Reverse(source.blocked)));
    });
}

/// As its other parts: neither what came later nor what only has a later number, since
/// the clock was set back.
#[test]
fn the_sources_of_a_summary_are_those_of_its_time() {
    every_engine(|store| {
        const MINUTE: u64 = 60_000;
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
            store.add(&blocked(minute, address));
        }
        store.settle();
        for (since, until, meant) in [
            (0, 10, &["192.0.2.1", "192.0.2.4"][..]),
            (10, 20, &["192.0.2.2"]),
            (20, 30, &["192.0.2.3"]),
            (30, 40, &["192.0.2.5"]),
            (40, 50, &[]),
            (5, 6, &["192.0.2.1"]),
            (0, 60, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]),
        ] {
            let summary =
                store.archive.summary(begin + since * MINUTE, begin + until * MINUTE).unwrap();
            let found: Vec<_> = summary.sources.iter().map(|one| one.ip.to_string()).collect();
            assert_eq!(found, meant, "minutes {since} to {until}");
            let decided: u64 = summary.decisions.iter().map(|decided| decided.count).sum();
            assert_eq!(decided, meant.len() as u64, "minutes {since} to {until}");
        }
    });
}

/// The greatest number is a valid cursor, and nothing is newer.
#[test]
fn nothing_is_newer_than_the_greatest_number() {
    every_engine(|store| {
        (0..125).for_each(|n| _ = store.add(&record(n, clock::unix_ms())));
        store.settle();
        for (after, before) in [(u64::MAX, None), (u64::MAX - 1, None), (u64::MAX, Some(0))] {
            let page =
                store.archive.search(&Query { after: Some(after), before, ..Query::default() });
            assert!(page.unwrap().records.is_empty());
        }
        let all = Query { before: Some(u64::MAX), limit: 1_000, ..Query::default() };
        assert_eq!(store.archive.search(&all).unwrap().records.len(), 125);
        let far = Query { since: Some(u64::MAX), ..Query::default() };
        assert!(store.archive.search(&far).unwrap().records.is_empty());
        let far = Query { until: Some(u64::MAX), limit: 1_000, ..Query::default() };
        assert_eq!(store.archive.search(&far).unwrap().records.len(), 125);
    });
}

#[test]
fn the_newest_changes_come_first() {
    every_engine(|store| {
        (0..100).for_each(|n| store.change(n));
        store.add(&record(0, clock::unix_ms()));
        store.settle();
        let who = |limit| {
            let changes = store.archive.changes(limit).unwrap().changes;
            changes.into_iter().map(|change| change.who).collect::<Vec<_>>()
        };
        assert_eq!(who(3), ["uid 99", "uid 98", "uid 97"]);
        assert_eq!(who(1_000).len(), 100);
        assert_eq!(all(&*store.archive, &Query::default()).0.len(), 1);
    });
}

#[test]
fn health_counts_what_was_written() {
    every_engine(|store| {
        (0..90).for_each(|n| assert!(store.add(&record(n, clock::unix_ms()))));
        store.settle();
        let health = store.sink.health();
        assert_eq!((health.records, health.written, health.lost), (90, 90, 0), "{health:?}");
        assert!(health.error.is_none() && !health.is_losing && health.unreadable.is_empty());
    });
}

/// Whatever an entry says comes back: each fact, and codes of another version.
#[test]
fn an_entry_comes_back_as_it_was() {
    every_engine(|store| {
        let plain = record(0, clock::unix_ms());
        let full = Record {
            direction: Direction::Other("internal".into()),
            stage: Stage::Other("greylist".into()),
            reason: Reason::Other("greylisted".into()),
            rule: Some("blocked.txt:7 (192.0.2.0/24)".to_owned()),
            helo: Some("ü\"\n'".to_owned()),
            tls: Some("TLSv1.3".to_owned()),
            spf: Some("pass".to_owned()),
            reputation: Some(String::new()),
            duration_ms: 7,
            customer: Some("acme".to_owned()),
            backend: Some("main at 192.0.2.10:25".to_owned()),
            from: Some("anna@example.org".to_owned()),
            ip: "2001:db8::1".parse().unwrap(),
            ..plain.clone()
        };
        store.add(&plain);
        store.add(&full);
        store.settle();
        let found = all(&*store.archive, &Query::default()).0;
        let found: Vec<_> = found.into_iter().map(|stored| stored.record).collect();
        assert_eq!(found, [full, plain]);
    });
}

/// The engine and its twin, given the same entries, give the same answers: with entries that
/// are counted, too.
#[test]
fn every_engine_agrees_with_its_twin() {
    every_engine(|store| {
        let twin = Memory::default();
        let now = clock::unix_ms() / 60_000 * 60_000;
        let entries = (0..600_u64).map(|n| {
            let time = now - 600_000 + n * 1_000;
            let plain = record(n, time);
            // A client has one country.
            let counted = |host: u8| Record {
                ip: [198, 51, 100, host].into(),
                country: Some("DE".to_owned()),
                session: None,
                count: n,
                ..plain.clone()
            };
            match n % 4 {
                0 => Record {
                    status: Status::Dropped,
                    kind: Kind::Blocked,
                    stage: Stage::PacketFilter,
                    ..counted(1)
                },
                1 => Record { folds: true, ..counted(2) },
                _ => plain,
            }
        });
        for (n, record) in entries.enumerate() {
            let reason = filter_common::Reason::ALL[n % filter_common::Reason::COUNT];
            let frames = vec![Frames { reason, family: Family::V6, frames: n as u64 }];
            let frames = Entry::Frames(record.time, frames);
            for entry in [Entry::Record(Box::new(record)), frames] {
                twin.add(entry.clone());
                assert!(store.sink.add(entry).is_none());
            }
        }
        store.settle();
        let records = |archive: &dyn Archive, parts: &[(&str, &str)]| {
            let query = Query::read(parts.iter().copied(), now).unwrap();
            let (found, pages) = all(archive, &query);
            (found.into_iter().map(|stored| stored.record).collect::<Vec<_>>(), pages)
        };
        for parts in [&[][..], &[("limit", "7")], &[("status", "dropped")], &[("since", "5m")]] {
            assert_eq!(records(&*store.archive, parts), records(&twin, parts), "{parts:?}");
        }
        for (since, until) in
            [(now - 600_000, now), (now - 300_000, now - 60_000), (0, now), (now, now)]
        {
            let (found, meant) = (store.archive.summary(since, until), twin.summary(since, until));
            assert_eq!(found.unwrap(), meant.unwrap(), "{since} to {until}");
        }
    });
}
