//! Measures the mail log: how fast entries are accepted, found and paged through.
//!
//! `cargo xtask bench record [--records N] [--seconds N] [--folder DIR] [--json]`.
//! N records (ten million) of thirty days are written as fast as they are taken. Then
//! each kind of search is asked with values that are frequent, rare and absent, pages
//! are turned, and at last 20,000 records a second are written for some seconds (20)
//! while searches run.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mxdp::record::{Direction, Query, Reason, Record, Stage, Status};
use mxdp::store::{self, Entry, Opened, Options};
use mxdp_tests::random::SplitMix;
use serde_json::json;

/// The simulated time: milliseconds of the Unix epoch.
static NOW: AtomicU64 = AtomicU64::new(0);

const START: u64 = 1_792_800_000_000;
const DAYS: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(120);

/// Entries per second that must be accepted while searches run.
const PACE: u64 = 20_000;

/// The values of each kind of search.
const VALUES: usize = 40;

struct Arguments {
    records: u64,
    seconds: u64,
    folder: Option<PathBuf>,
    json: bool,
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.unwrap_or_else(|| temporary.path().to_owned());
    let options = Options { clock: || NOW.load(Ordering::Relaxed), ..Options::new(folder) };
    let store = store::open(&options);

    let filled = fill(&store, arguments.records)?;
    let health = store.sink.health();
    let bytes = health.bytes / health.records.max(1);
    let searches = search_all(&store, arguments.records)?;
    let pages = turn_pages(&store)?;
    let paced = pace(&store, arguments.records, arguments.seconds)?;

    if arguments.json {
        let searches: Vec<_> = searches.iter().map(|(name, times)| times.json(name)).collect();
        let pages: Vec<_> =
            pages.iter().map(|(depth, ms)| json!({"records_before": depth, "ms": ms})).collect();
        let report = json!({
            "records": arguments.records, "taken_per_second": filled, "bytes_per_record": bytes,
            "searches": searches, "pages": pages,
            "paced": {"asked_per_second": PACE, "taken_per_second": paced.rate,
                      "lost": paced.lost, "search_median_ms": paced.search_ms,
                      "searches": paced.searches, "flush_ms": paced.flush_ms},
        });
        println!("{report:#}");
        return Ok(());
    }
    println!("{} records, {bytes} bytes each", arguments.records);
    println!("taken as fast as they come       {filled:>9.0} a second");
    println!("\n| search | median ms | 95 % | longest | found | cut short |");
    println!("|---|---|---|---|---|---|");
    for (name, times) in &searches {
        let (median, late, longest) = (times.at(50), times.at(95), times.at(100));
        println!(
            "| {name} | {median:.1} | {late:.1} | {longest:.1} | {} | {} |",
            times.found, times.partial
        );
    }
    println!("\n| records before the page | median ms |");
    println!("|---|---|");
    for (depth, ms) in &pages {
        println!("| {depth} | {ms:.1} |");
    }
    println!("\n{PACE} a second asked for, with searches beside");
    println!("  taken        {:>9.0} a second, {} lost", paced.rate, paced.lost);
    println!("  searches     {:>9} with a median of {:.1} ms", paced.searches, paced.search_ms);
    println!("  written      {:>9.0} ms after the last", paced.flush_ms);
    Ok(())
}

fn arguments() -> Result<Arguments> {
    let mut parsed = Arguments { records: 10_000_000, seconds: 20, folder: None, json: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--records" => parsed.records = value()?.parse()?,
            "--seconds" => parsed.seconds = value()?.parse()?,
            "--folder" => parsed.folder = Some(value()?.into()),
            "--json" => parsed.json = true,
            _ => bail!("unknown argument {word}; see the head of bench-record.rs"),
        }
    }
    ensure!(parsed.records >= 100_000, "--records must be at least 100000");
    Ok(parsed)
}

/// Something of `count`, the first ones more often than the last.
fn skewed(random: &mut SplitMix, count: u64) -> u64 {
    let product = u128::from(random.below(count)) * u128::from(random.below(count));
    u64::try_from(product / u128::from(count)).unwrap_or(0)
}

const COUNTRIES: [&str; 16] = [
    "US", "DE", "CN", "RU", "BR", "IN", "FR", "NL", "GB", "VN", "PL", "JP", "SE", "AT", "IS", "LI",
];

const WORDS: [&str; 24] = [
    "invoice", "order", "your", "meeting", "offer", "free", "update", "report", "payment", "re",
    "account", "security", "news", "hello", "draft", "contract", "holiday", "question", "delivery",
    "ticket", "weekly", "project", "minutes", "reminder",
];

const REFUSED: [(&str, &str, Status); 8] = [
    ("syn", "blocked_country", Status::Dropped),
    ("syn", "blocked_ip", Status::Dropped),
    ("reputation", "standard_reputation", Status::Permanent),
    ("reputation", "dynamic_reputation", Status::Temporary),
    ("recipient", "unknown_recipient", Status::Permanent),
    ("spf", "spf_refused", Status::Permanent),
    ("sender", "blocked_sender", Status::Permanent),
    ("data", "too_large", Status::Permanent),
];

fn word(random: &mut SplitMix) -> &'static str {
    WORDS[usize::try_from(skewed(random, WORDS.len() as u64)).unwrap_or(0)]
}

fn address(random: &mut SplitMix, people: u64, domains: u64, top: &str) -> String {
    let (name, number) = (word(random), skewed(random, people));
    format!("{name}.{number}@mail{}.{top}", skewed(random, domains))
}

/// The `n`th record of the world that is measured: the same for each run.
fn record(n: u64, time: u64) -> Record {
    let random = &mut SplitMix::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6d78_6470);
    let host = skewed(random, 400_000).wrapping_mul(2_654_435_761) & 0xffff_ffff;
    let ip = match random.below(8) {
        0 => IpAddr::V6(((0x2001_0db8_u128 << 96) | (u128::from(host) << 64) | 1).into()),
        _ => IpAddr::V4(u32::try_from(host).unwrap_or(0).into()),
    };
    let country = usize::try_from(skewed(random, COUNTRIES.len() as u64)).unwrap_or(0);
    let country = Some(COUNTRIES[country].to_owned());
    let accepted = random.below(3) == 0;
    let (stage, reason, status) = if accepted {
        ("backend", "accepted", Status::Delivered)
    } else {
        REFUSED[usize::try_from(skewed(random, REFUSED.len() as u64)).unwrap_or(0)]
    };
    let base = Record {
        country,
        ..Record::new(time, ip, status, Stage::read(stage), Reason::read(reason))
    };
    if status == Status::Dropped {
        return Record { rule: Some("/etc/mxdp/blocked.txt:4711".to_owned()), count: 3, ..base };
    }
    let session = format!("1M{:011}", n / 2);
    let reply = match status {
        Status::Delivered => "250 2.0.0 Ok: queued as 4XyZ".to_owned(),
        _ => format!("550 5.7.1 {ip} is refused; reference {session}-1"),
    };
    let outgoing = n.is_multiple_of(1_000);
    Record {
        direction: Direction::read(if outgoing { "outgoing" } else { "inbound" }),
        sender: Some(address(random, 2_000, 50_000, "example.com")),
        recipient: Some(address(random, 200, 40, "example.org")),
        reply: Some(reply),
        helo: Some("mail.example.com".to_owned()),
        tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384".to_owned()),
        spf: Some("pass".to_owned()),
        size: 4_096,
        duration_ms: 120,
        reference: Some(format!("{session}-1")),
        session: Some(session),
        backend: accepted.then(|| "main at 192.0.2.10:25".to_owned()),
        message_id: accepted.then(|| format!("{:016x}.{n:x}@mail.example.com", random.next())),
        from: accepted.then(|| "someone@example.com".to_owned()),
        subject: accepted.then(|| {
            let words = [word(random), word(random), word(random), word(random)];
            format!("{} {}", words.join(" "), random.below(1_000_000))
        }),
        ..base
    }
}

fn time_of(n: u64, records: u64) -> u64 {
    START + DAYS * 86_400_000 * n / records
}

/// Writes the entries, and returns how many per second were accepted.
fn fill(store: &Opened, records: u64) -> Result<f64> {
    let start = Instant::now();
    for n in 0..records {
        let time = time_of(n, records);
        NOW.store(time, Ordering::Relaxed);
        store.sink.add(Entry::Record(Box::new(record(n, time))));
        if n % 10_000 == 9_999 {
            // No more than the queue holds, so that none is lost.
            while n + 1 - store.sink.health().written > 40_000 {
                ensure!(store.sink.health().error.is_none(), "{:?}", store.sink.health());
                thread::sleep(Duration::from_millis(2));
            }
            if n % 1_000_000 == 999_999 {
                eprintln!("  {} records", n + 1);
            }
        }
    }
    while !store.sink.flush(PATIENCE) {
        ensure!(start.elapsed() < 1_000 * PATIENCE, "{:?}", store.sink.health());
    }
    let health = store.sink.health();
    ensure!(health.lost == 0 && health.error.is_none(), "{health:?}");
    Ok(per_second(records, start.elapsed()))
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

/// How long searches took.
#[derive(Default)]
struct Times {
    ms: Vec<f64>,
    found: usize,
    partial: usize,
}

impl Times {
    fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1)).copied().unwrap_or(0.0)
    }

    fn json(&self, name: &str) -> serde_json::Value {
        json!({"search": name, "median_ms": self.at(50), "late_ms": self.at(95),
               "longest_ms": self.at(100), "found": self.found, "cut_short": self.partial})
    }
}

/// A kind of search, and its values by number: of a record that there is, or of none.
type Kind = (&'static str, &'static str, fn(&Record, usize) -> Option<String>);

const KINDS: [Kind; 18] = [
    ("type", "type", |record, _| Some(record.kind.name().to_owned())),
    ("time range", "until", |record, _| Some(mxdp::record::when::show(record.time))),
    ("direction", "direction", |_, n| Some(["inbound", "outgoing"][n % 2].to_owned())),
    ("status", "status", |record, _| Some(record.status.name().to_owned())),
    ("stage", "stage", |record, _| Some(record.stage.to_string())),
    ("reason, frequent", "reason", |record, _| Some(record.reason.to_string())),
    ("reason, absent", "reason", |_, _| Some("null_mx".to_owned())),
    ("country", "country", |record, _| record.country.clone()),
    ("country, absent", "country", |_, _| Some("VA".to_owned())),
    ("address", "ip", |record, _| Some(record.ip.to_string())),
    ("address, absent", "ip", |_, n| Some(format!("198.51.100.{n}"))),
    ("network /20", "ip", |record, _| match record.ip {
        IpAddr::V4(ip) => Some(format!("{ip}/20")),
        IpAddr::V6(ip) => Some(format!("{ip}/56")),
    }),
    ("sender", "sender", |record, _| record.sender.clone()),
    ("sender *@domain", "sender", |record, _| {
        Some(format!("*@{}", record.sender.as_ref()?.split_once('@')?.1))
    }),
    ("sender local@*", "sender", |record, _| {
        Some(format!("{}@*", record.sender.as_ref()?.split_once('@')?.0))
    }),
    ("sender *part*", "sender", |record, n| {
        let sender = record.sender.as_ref()?;
        // Half of them are nowhere.
        Some(format!("*{}{}*", sender.get(3..11)?, if n.is_multiple_of(2) { "" } else { "q" }))
    }),
    ("reference", "reference", |record, _| record.reference.clone()),
    ("text", "text", |record, n| match &record.subject {
        Some(subject) if n.is_multiple_of(2) => Some(subject.clone()),
        _ => record.message_id.clone(),
    }),
];

fn values(records: u64, kind: Kind) -> Vec<String> {
    let mut random = SplitMix::new(42);
    let mut values = Vec::new();
    while values.len() < VALUES {
        let n = random.below(records);
        values.extend((kind.2)(&record(n, time_of(n, records)), values.len()));
    }
    values
}

fn search_all(store: &Opened, records: u64) -> Result<Vec<(&'static str, Times)>> {
    let mut all = Vec::new();
    for kind in KINDS {
        let mut times = Times::default();
        for value in values(records, kind) {
            let query = query(&[(kind.1, &value)])?;
            let start = Instant::now();
            let page = store.archive.search(&query)?;
            times.ms.push(start.elapsed().as_secs_f64() * 1e3);
            times.found += page.records.len();
            times.partial += usize::from(page.partial);
        }
        all.push((kind.0, times));
    }
    let now = NOW.load(Ordering::Relaxed);
    for (name, days) in [("sums of a day", 1), ("sums of 30 days", 30)] {
        let mut times = Times::default();
        for _ in 0..5 {
            let start = Instant::now();
            let summary = store.archive.summary(now - days * 86_400_000, now)?;
            times.ms.push(start.elapsed().as_secs_f64() * 1e3);
            times.found += summary.decisions.len();
        }
        all.push((name, times));
    }
    Ok(all)
}

fn query(parts: &[(&str, &str)]) -> Result<Query> {
    Query::read(parts.iter().copied(), NOW.load(Ordering::Relaxed)).map_err(|wrong| {
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(wrong.join("; "))
    })
}

/// Turns pages of a search with many results, and gives the time of a page at depths.
fn turn_pages(store: &Opened) -> Result<Vec<(usize, f64)>> {
    let mut query = query(&[("type", "blocked"), ("limit", "1000")])?;
    let mut depths = Vec::new();
    for page in 0..2_000 {
        if [0, 1, 10, 100, 1_000, 1_900].contains(&page) {
            let small = Query { limit: 50, ..query.clone() };
            let mut times = Times::default();
            for _ in 0..11 {
                let start = Instant::now();
                store.archive.search(&small)?;
                times.ms.push(start.elapsed().as_secs_f64() * 1e3);
            }
            depths.push((page * 1_000, times.at(50)));
        }
        let Some(next) = store.archive.search(&query)?.next else { break };
        query.before = Some(next);
    }
    Ok(depths)
}

struct Paced {
    rate: f64,
    lost: u64,
    searches: usize,
    search_ms: f64,
    flush_ms: f64,
}

/// Writes at a steady pace while searches run.
fn pace(store: &Opened, records: u64, seconds: u64) -> Result<Paced> {
    let ended = AtomicBool::new(false);
    let kinds: Vec<_> = KINDS.iter().map(|kind| (kind.1, values(records, *kind))).collect();
    thread::scope(|scope| {
        let searcher = scope.spawn(|| -> Result<Times> {
            let mut times = Times::default();
            for round in 0.. {
                for (name, values) in &kinds {
                    if ended.load(Ordering::Relaxed) {
                        return Ok(times);
                    }
                    let query = query(&[(name, &values[round % values.len()])])?;
                    let start = Instant::now();
                    store.archive.search(&query)?;
                    times.ms.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
            Ok(times)
        });
        let before = store.sink.health();
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < Duration::from_secs(seconds) {
            // A hundredth of a second at a time.
            for _ in 0..PACE / 100 {
                let n = records + sent;
                let time = time_of(n, records);
                NOW.store(time, Ordering::Relaxed);
                store.sink.add(Entry::Record(Box::new(record(n, time))));
                sent += 1;
            }
            let due = Duration::from_micros(sent * 1_000_000 / PACE);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let took = start.elapsed();
        let last = Instant::now();
        ensure!(store.sink.flush(PATIENCE), "{:?}", store.sink.health());
        let flush_ms = last.elapsed().as_secs_f64() * 1e3;
        ended.store(true, Ordering::Relaxed);
        let times = searcher.join().map_err(|_| anyhow::anyhow!("the searcher panicked"))??;
        let after = store.sink.health();
        Ok(Paced {
            rate: per_second(after.written - before.written, took),
            lost: after.lost - before.lost,
            searches: times.ms.len(),
            search_ms: times.at(50),
            flush_ms,
        })
    })
}
