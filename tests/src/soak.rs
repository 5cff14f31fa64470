//! An hour of a busy mail edge, compressed: as much of everything as in that hour, in
//! sixty steps without the pauses between.
//!
//! What an hour has is in [`MINUTE`]'s terms, sixty times: 12,000 messages of 4 KB and
//! 600 of 100 KB, 600 over STARTTLS, 6,000 refused sessions, 600 temporary blocks that
//! lapse, 3,000 dropped SYNs, 60 reloads of two lists in turn (every tenth a large one),
//! 360 searches and as many sums. That is 5 messages and sessions a second, around the
//! clock a quarter of a million a day and a half.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mxdp::control::client;
use mxdp::control::protocol::{Reloaded, Request, TemporaryEntry};
use mxdp::record::{Page, Summary};

use crate::dialogue::Dialogue;
use crate::mail::{Host, backend, domain};
use crate::netns::connect;
use crate::peers::clients::{said, smtp_source};
use crate::peers::relays::Sink;
use crate::resources::Held;
use crate::tls;

/// Where the sink listens.
const SINK: u16 = 2600;

/// What a step, a minute's worth, does of each.
struct Minute {
    messages: u32,
    large: u32,
    secure: u32,
    refused: u32,
    blocks: u32,
    syns: u32,
    searches: u32,
}

const MINUTE: Minute = Minute {
    messages: 200,
    large: 10,
    secure: 10,
    refused: 100,
    blocks: 10,
    syns: 50,
    searches: 6,
};

/// Steps of an hour.
pub const HOUR: usize = 60;

/// The sources of refused sessions and of blocks; after so many they come again, as they
/// do in life.
const SOURCES: u32 = 1500;

const HEAD: &str = "[smtp]\nconnections_per_address = 20000\n[tls]\nself_signed = true\n\
    [senders]\nblocked = [\"*@spam.example\"]\n[reload]\nwatch = false\n\
    [blocked]\nfiles = [{ path = \"blocked.txt\", may_shrink = true }]\n";

/// What was done and what the daemon held after each step.
pub struct Report {
    /// One a step.
    pub samples: Vec<Held>,
    /// How long it took.
    pub time: Duration,
    /// The records that were written.
    pub records: u64,
    /// The SYNs that the filter dropped.
    pub dropped: u64,
}

impl Report {
    /// The mean resident memory of a part of the steps, in bytes.
    #[must_use]
    pub fn mean(&self, part: std::ops::Range<usize>) -> u64 {
        let samples = &self.samples[part];
        samples.iter().map(|held| held.resident).sum::<u64>() / samples.len() as u64
    }

    /// The mean of the third quarter and of the last, in bytes: what the first half grows
    /// by is caches and pools that fill.
    #[must_use]
    pub fn second_half(&self) -> (u64, u64) {
        let steps = self.samples.len();
        (self.mean(steps / 2..steps * 3 / 4), self.mean(steps * 3 / 4..steps))
    }
}

/// Runs steps as long as `goes_on` says of their number and the time.
///
/// # Panics
///
/// When anything does not go as it should: mail that is not taken, a SYN that gets
/// through or is lost, a reload or a search that fails.
#[must_use]
pub fn run(mut goes_on: impl FnMut(usize, Duration) -> bool) -> Report {
    let host = Host::new();
    let _sink = Sink::start(&host.namespace, SINK, &[]);
    let rest = domain("example.org", "sink", "") + &backend("sink", SINK, "");
    host.home.write("blocked.txt", list(0));
    host.configure("", &format!("{HEAD}{rest}"));
    let daemon = host.start();
    fill_the_record(&host);
    let start = Instant::now();
    let mut samples = Vec::new();
    while goes_on(samples.len(), start.elapsed()) {
        step(&host, u32::try_from(samples.len()).expect("a number of steps"));
        samples.push(Held::by(daemon.pid()));
    }
    let time = start.elapsed();
    let status = host.home.json(&["status"]);
    assert_eq!(status["alarms"], serde_json::json!([]), "{status}");
    assert_eq!(status["record"]["lost"], 0, "{status}");
    let dropped = daemon.frames("temporary_block") + daemon.frames("blocked_ip");
    let records = status["record"]["records"].as_u64().expect("records");
    Report { samples, time, records, dropped }
}

/// Records of an earlier day: the writer of the record keeps 16 MB of pages, and what
/// fills them is not a leak.
fn fill_the_record(host: &Host) {
    let messages = ["-s", "10", "-m", "800", "-r", "50", "-l", "100"];
    let envelope = ["-f", "a@b.example", "-t", "bob@example.org", "127.0.0.1:25"];
    let output = smtp_source(&host.namespace, &[&messages[..], &envelope].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
}

/// The list of a step: two small ones in turn, and now and then a large one.
fn list(step: u32) -> String {
    let size = if step % 10 == 9 { 20_000 } else { 200 };
    let mut text = "127.66.0.0/16\n".to_owned();
    for n in 0..size {
        let address = Ipv4Addr::from(0xb000_0000 + (step % 2) + n * 514);
        writeln!(text, "{address}").expect("written");
    }
    text
}

fn step(host: &Host, step: u32) {
    let namespace = &host.namespace;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (messages, bytes) in [(MINUTE.messages, "4096"), (MINUTE.large, "102400")] {
                let messages = messages.to_string();
                let common = ["-s", "10", "-f", "a@b.example", "-t", "bob@example.org"];
                let rest = ["-m", &messages, "-l", bytes, "127.0.0.1:25"];
                let output = smtp_source(namespace, &[&common[..], &rest].concat());
                assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
            }
            let config = Arc::new(tls::trusting_everybody());
            let secure = || (0..MINUTE.secure).try_for_each(|_| tls::send(25, &config, 4096));
            namespace.run(secure).expect("mail over STARTTLS");
        });
        scope.spawn(|| refuse(host, step));
        scope.spawn(|| operate(host, step));
    });
}

/// An address of the step: `127.NET.x.y`.
fn source(net: u32, step: u32, n: u32, of: u32) -> IpAddr {
    let number = (step * of + n) % SOURCES;
    Ipv4Addr::from(0x7f00_0000 | net << 16 | (number / 250) << 8 | (number % 250 + 1)).into()
}

/// Sessions that are refused, each of another client.
fn refuse(host: &Host, step: u32) {
    let mxdp: SocketAddr = (Ipv4Addr::LOCALHOST, 25).into();
    for n in 0..MINUTE.refused {
        let client = source(1, step, n, MINUTE.refused);
        let mut dialogue = Dialogue::open(&host.namespace, client, mxdp).expect("a connection");
        assert!(dialogue.line().expect("a greeting").starts_with("220 "));
        assert!(dialogue.told("EHLO client.example").starts_with("250 "));
        let (sender, recipient) = match n % 2 {
            0 => ("x@spam.example", "bob@example.org"),
            _ => ("a@b.example", "bob@elsewhere.example"),
        };
        assert!(dialogue.told(&format!("MAIL FROM:<{sender}>")).starts_with('2'));
        assert!(dialogue.told(&format!("RCPT TO:<{recipient}>")).starts_with('5'));
        assert!(dialogue.told("QUIT").starts_with("221 "));
    }
}

/// What operators do, and SYNs of blocked addresses.
fn operate(host: &Host, step: u32) {
    let socket = host.home.path("mxdp.sock");
    let mxdp: SocketAddr = (Ipv4Addr::LOCALHOST, 25).into();
    host.home.write("blocked.txt", list(step));
    let _: Reloaded =
        client::call(&socket, &Request::Reload { accept: Vec::new() }).expect("reloaded");
    let blocked: Vec<_> = (0..MINUTE.blocks).map(|n| source(3, step, n, MINUTE.blocks)).collect();
    for &address in &blocked {
        let request = Request::TemporaryAdd { address, seconds: 20, force: true };
        let _: TemporaryEntry = client::call(&socket, &request).expect("blocked");
    }
    host.namespace.run(|| {
        for n in 0..MINUTE.syns {
            let listed = source(66, step, n, MINUTE.syns);
            let temporarily = blocked[n as usize % blocked.len()];
            let client = if n % 2 == 0 { listed } else { temporarily };
            let connected = connect(client, mxdp, Duration::from_millis(5));
            assert!(connected.is_err(), "a SYN of {client} came through");
        }
    });
    let queries = [("type", "blocked"), ("sender", "*@spam.example"), ("text", "postfix")];
    for n in 0..MINUTE.searches {
        let (name, value) = queries[n as usize % queries.len()];
        let query = vec![(name.to_owned(), value.to_owned())];
        let _: Page = client::call(&socket, &Request::Traffic { query }).expect("records");
        let sum = Request::Summary { since: Some("1h".to_owned()), until: None };
        let _: Summary = client::call(&socket, &sum).expect("a sum");
    }
}
