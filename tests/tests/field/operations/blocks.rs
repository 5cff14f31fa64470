//! Temporary blocks in large numbers, and the state that is kept of them.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::dialogue::{Dialogue, is_dropped};
use mxdp_tests::netns::Pair;
use mxdp_tests::pace::lasting;
use mxdp_tests::peers::Process;
use nix::sys::signal::Signal;
use serde_json::Value;

const CLIENT: &str = "10.77.0.2";

struct Edge {
    pair: Pair,
    home: Home,
}

impl Edge {
    fn new(filter: &str, rest: &str) -> Self {
        let (pair, home) = (Pair::new(), Home::new());
        home.write("recipients.txt", "bob@example.org\n");
        let text = format!(
            "[listen]\nsmtp = [\"10.77.0.1:25\"]\nhostname = \"mx.example.org\"\n\
             [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
             recipients = [\"recipients.txt\"]\n\
             [[backend]]\nname = \"main\"\nservers = [\"127.0.0.1:2600\"]\n{rest}"
        );
        home.configure(&format!("interfaces = [\"e0\"]\nmode = \"native\"\n{filter}"), &text);
        fs::create_dir(home.path("state")).expect("a folder");
        Self { pair, home }
    }

    fn start(&self) -> Daemon<'_> {
        self.home.start(&self.pair.edge)
    }

    fn block(&self) -> Option<Value> {
        let blocks = self.home.json(&["temp", "list"]);
        let mut blocks = blocks.as_array().expect("a list").iter();
        blocks.find(|block| block["prefix"] == format!("{CLIENT}/32")).cloned()
    }

    fn is_dropped(&self) -> bool {
        is_dropped(&self.pair.client, CLIENT.parse().expect("an address"), target())
    }

    /// Breaks the protocol once, which is a block; how long that lasts.
    fn offend(&self) -> u64 {
        let source = CLIENT.parse().expect("an address");
        let mut dialogue = Dialogue::open(&self.pair.client, source, target()).expect("admitted");
        assert!(dialogue.line().expect("a line").starts_with("220 "));
        dialogue.send(b"FOO\nBAR\r\n");
        _ = dialogue.line();
        wait_for("the block", || self.is_dropped());
        self.block().expect("the block")["remaining_s"].as_u64().expect("a number")
    }
}

fn target() -> SocketAddr {
    "10.77.0.1:25".parse().expect("an address")
}

const ABUSE: &str = "[escalation]\nfirst = 4\nabuse.count = 1\n";

/// The kind: a memory that a restart loses. The next block is twice as long as the last,
/// though that ended before the daemon was started again, and however it ended.
#[test]
fn ended_blocks_are_remembered_across_restarts() {
    for (filter, signal) in
        [("", Signal::SIGTERM), ("", Signal::SIGKILL), ("persist = false", Signal::SIGTERM)]
    {
        let edge = Edge::new(filter, ABUSE);
        let daemon = edge.start();
        assert!((1..=4).contains(&edge.offend()));
        wait_for("its end", || !edge.is_dropped());
        wait_for("it to be kept", || {
            let kept = fs::read_to_string(edge.home.path("state/ended.txt")).unwrap_or_default();
            kept.contains(CLIENT)
        });
        daemon.end(signal);
        let daemon = edge.start();
        let second = edge.offend();
        assert!((5..=8).contains(&second), "{filter}, {signal}: {second} s, twice the first");
        drop(daemon);
    }
}

/// The kind: a limit that protects nobody once it is reached. In a full map, the block that
/// ends first makes room.
#[test]
fn a_full_map_blocks_who_comes_and_lets_go_of_who_was_to_go_first() {
    let edge = Edge::new("", &format!("{ABUSE}[temporary]\ncapacity = 1024\n"));
    let mut text = saved(1023, 3600);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    writeln!(text, "198.51.100.1 operator {now} {}", now + 7200).expect("a text");
    edge.home.write("state/temporary.txt", text);
    let _daemon = edge.start();
    let seconds = "2h";
    for address in 0..50 {
        edge.home.json(&["temp", "add", &format!("203.0.113.{address}"), "--for", seconds]);
    }
    let blocks = edge.home.json(&["temp", "list"]);
    let blocks = blocks.as_array().expect("a list");
    let stands = |prefix: &str| blocks.iter().any(|block| block["prefix"] == prefix);
    for address in 0..50 {
        assert!(stands(&format!("203.0.113.{address}/32")), "{address}");
    }
    assert!(stands("198.51.100.1/32"), "the one that ends last");
    assert!(blocks.len() <= 1024, "{}", blocks.len());
    // What would end before all others has no room, and that is said.
    let output = edge.home.run(&["temp", "add", CLIENT, "--for", "1s"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("temporary blocks are in use"), "{words}");
}

/// A file of blocks, as a daemon leaves it.
fn saved(count: u32, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut text = String::new();
    for number in 0..count {
        let address = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        let expires = now + seconds + u64::from(number % 600);
        writeln!(text, "{address} abuse {now} {expires}").expect("a text");
    }
    text
}

/// What `temporary.capacity` may be at most, as docs/configuration.md says.
const MOST: u32 = 2_097_152;

/// The kind: work for each of very many, on the one thread that answers. At the documented
/// maximum no request waits for the blocks, and one that ends is still let in on time.
#[test]
fn the_most_blocks_that_can_be_configured_hold_nobody_up() {
    let edge = Edge::new("", &format!("[temporary]\ncapacity = {MOST}\n"));
    let held = MOST - MOST / 64;
    edge.home.write("state/temporary.txt", saved(held, 7200));
    // Reading so many lines is the start's, which may take its time; nothing else may.
    let config = edge.home.path("mxdp.toml");
    let config = config.to_str().expect("UTF-8");
    let mut command = edge.home.mxdp(Some(&edge.pair.edge), &["run", "-c", config]);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let daemon = Process(command.spawn().expect("mxdp starts"));
    let begun = Instant::now();
    while !edge.home.run(&["status"]).status.success() {
        assert!(begun.elapsed() < lasting(Duration::from_secs(180)), "no answer");
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = edge.home.json(&["status"]);
    assert_eq!(status["temporary"]["capacity"], MOST, "{status}");
    assert_eq!(status["temporary"]["held"], held, "{status}");
    let answer = edge.home.json(&["lookup", "--live", "11.1.2.3"]);
    assert_eq!(answer["kernel"]["action"], "drop", "{answer}");
    // For longer than a round of whatever is done each minute.
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut number = 0;
    while start.elapsed() < Duration::from_secs(20) {
        let before = Instant::now();
        let address = format!("198.51.100.{}", number % 250);
        edge.home.json(&["temp", "add", &address, "--for", "1s"]);
        slowest = slowest.max(before.elapsed());
        number += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(number > 20, "{number} requests");
    assert!(slowest < lasting(Duration::from_secs(2)), "a request took {slowest:?}");
    wait_for("the short blocks to end", || {
        edge.home.json(&["status"])["temporary"]["held"] == held
    });
    drop(daemon);
}

/// The kind: a number that is counted now and then. What was lifted is no longer counted.
#[test]
fn what_is_lifted_is_no_longer_counted() {
    let edge = Edge::new("", ABUSE);
    let _daemon = edge.start();
    let held = || edge.home.json(&["status"])["temporary"]["held"].as_u64();
    edge.home.json(&["temp", "add", "198.51.100.1", "--for", "1h"]);
    edge.home.json(&["temp", "add", "198.51.100.1", "--for", "2h"]);
    edge.home.json(&["temp", "add", "198.51.100.2", "--for", "1h"]);
    assert_eq!(held(), Some(2));
    edge.home.json(&["temp", "remove", "198.51.100.1"]);
    assert_eq!(held(), Some(1));
}
