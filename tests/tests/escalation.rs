//! What SMTP learns blocks at the SYN: from one namespace to another, through a
//! veth with native XDP.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::dialogue::{Dialogue, is_dropped};
use mxdp_tests::frames::{self, SYN};
use mxdp_tests::netns::{Pair, Wire};
use mxdp_tests::peers::{self, Process};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A pair of hosts, mxdp on one of them and a mail system behind it.
struct Edge {
    pair: Pair,
    home: Home,
    _sink: Process,
}

const APPROVED: &str = "10.77.0.3";

impl Edge {
    fn new(filter: &str, rest: &str) -> Self {
        let (pair, home) = (Pair::new(), Home::new());
        for address in [APPROVED, "10.77.0.4", "10.77.0.5", "10.77.0.6", "10.77.0.7"] {
            pair.add_client_address(address);
        }
        let mut sink = pair.edge.command(peers::find("smtp-sink"));
        sink.envs(peers::environment()).args(["-u", "nobody", "127.0.0.1:2600", "64"]);
        let sink = Process(sink.stdout(Stdio::null()).spawn().expect("smtp-sink starts"));
        home.write("recipients.txt", "bob@example.org\n");
        let text = format!(
            "[listen]\nsmtp = [\"10.77.0.1:25\", \"[fd77::1]:25\"]\nhostname = \"mx.example.org\"\n\
             [approved]\naddresses = [\"{APPROVED}\"]\n\
             [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
             recipients = [\"recipients.txt\"]\n\
             [[backend]]\nname = \"main\"\nservers = [\"127.0.0.1:2600\"]\n{rest}"
        );
        home.configure(&format!("interfaces = [\"e0\"]\nmode = \"native\"\n{filter}"), &text);
        Self { pair, home, _sink: sink }
    }

    fn start(&self) -> Daemon<'_> {
        self.home.start(&self.pair.edge)
    }

    fn open(&self, source: &str) -> Dialogue {
        let mut dialogue =
            Dialogue::open(&self.pair.client, source.parse().expect("an address"), target(source))
                .unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(dialogue.line().expect("a line"), "220 mx.example.org ESMTP mxdp");
        dialogue
    }

    /// A session that guesses so many names; what each was told.
    fn guess(&self, source: &str, guesses: usize) -> Vec<String> {
        let mut dialogue = self.open(source);
        dialogue.told("EHLO guesser.example");
        dialogue.told("MAIL FROM:<a@guesser.example>");
        let guess = |number| dialogue.told(&format!("RCPT TO:<name{number}@example.org>"));
        (0..guesses).map(guess).collect()
    }

    fn is_dropped(&self, source: &str) -> bool {
        is_dropped(&self.pair.client, source.parse().expect("an address"), target(source))
    }

    fn blocks(&self) -> Vec<Value> {
        self.home.json(&["temp", "list"]).as_array().expect("a list").clone()
    }

    /// The block of an address.
    fn block(&self, address: &str) -> Option<Value> {
        let prefix = format!("{address}/");
        self.blocks()
            .into_iter()
            .find(|block| block["prefix"].as_str().is_some_and(|text| text.starts_with(&prefix)))
    }

    fn alarms(&self) -> String {
        self.home.json(&["status"])["alarms"].to_string()
    }
}

fn target(source: &str) -> SocketAddr {
    let target = if source.contains(':') { "[fd77::1]:25" } else { "10.77.0.1:25" };
    target.parse().expect("an address")
}

const DICTIONARY: &str =
    "[escalation]\nfirst = 3\nlongest = 100\n[escalation.dictionary]\ncount = 3\n";

#[test]
fn a_client_that_guesses_names_is_blocked_at_the_syn_and_let_back() {
    let edge = Edge::new("", DICTIONARY);
    let daemon = edge.start();
    for source in ["10.77.0.2", "fd77::2"] {
        assert!(!edge.is_dropped(source));
        let start = Instant::now();
        for told in edge.guess(source, 3) {
            assert!(told.starts_with("550 5.1.1 "), "{told}");
        }
        while edge.block(source.trim_end_matches('2')).or(edge.block(source)).is_none() {
            assert!(start.elapsed() < Duration::from_secs(1), "{source} is not blocked in time");
        }
        let blocked = Instant::now();
        assert!(blocked - start < Duration::from_secs(1), "{source}: {:?}", blocked - start);
        assert!(edge.is_dropped(source), "{source} is not dropped");
        assert!(daemon.frames("temporary_block") > 0);
        // Its time is over.
        wait_for("the end of the block", || !edge.is_dropped(source));
        assert!(blocked.elapsed() >= Duration::from_secs(2), "{:?}", blocked.elapsed());
        // It is as any other, and begins anew.
        assert_eq!(edge.guess(source, 2).len(), 2);
        assert!(edge.block(source).is_none());
    }
    // Another IPv4 address never was.
    assert!(!edge.is_dropped("10.77.0.4"));
    // An approved one may guess as it likes.
    assert_eq!(edge.guess(APPROVED, 20).len(), 20);
    thread::sleep(Duration::from_millis(300));
    assert!(!edge.is_dropped(APPROVED));
    assert!(edge.block(APPROVED).is_none());
}

#[test]
fn blocks_double_and_survive_restarts() {
    let edge = Edge::new("", "[escalation]\nfirst = 4\n[escalation.dictionary]\ncount = 1\n");
    let mut daemon = edge.start();
    edge.guess("10.77.0.2", 1);
    wait_for("the first block", || edge.block("10.77.0.2").is_some());
    wait_for("its end", || edge.block("10.77.0.2").is_none());
    edge.guess("10.77.0.2", 1);
    wait_for("the second block", || edge.block("10.77.0.2").is_some());
    let remaining = |edge: &Edge| edge.block("10.77.0.2").unwrap()["remaining_s"].as_u64().unwrap();
    let left = remaining(&edge);
    assert!((5..=8).contains(&left), "{left} s, twice the first");
    // Killed: the kernel goes on.
    daemon.end(Signal::SIGKILL);
    assert!(edge.is_dropped("10.77.0.2"));
    daemon = edge.start();
    let later = remaining(&edge);
    assert!(later <= left && later >= 1, "{later} s of {left}");
    assert_eq!(edge.block("10.77.0.2").unwrap()["reason"], "dictionary_attack");
    // Its next block knows of the last one.
    wait_for("its end", || edge.block("10.77.0.2").is_none());
    edge.guess("10.77.0.2", 1);
    wait_for("the third block", || edge.block("10.77.0.2").is_some());
    let third = remaining(&edge);
    assert!((13..=16).contains(&third), "{third} s, four times the first");
    drop(daemon);
}

#[test]
fn blocks_survive_a_filter_that_does_not() {
    let edge = Edge::new("persist = false", "[escalation.dictionary]\ncount = 1\n");
    let daemon = edge.start();
    edge.guess("10.77.0.2", 1);
    wait_for("the block", || edge.block("10.77.0.2").is_some());
    daemon.end(Signal::SIGTERM);
    assert!(!edge.is_dropped("10.77.0.2") || fs::read_dir(edge.home.pins()).is_err());
    let _daemon = edge.start();
    let block = edge.block("10.77.0.2").expect("the block of before");
    assert!((280..=300).contains(&block["remaining_s"].as_u64().unwrap()), "{block}");
    assert!(edge.is_dropped("10.77.0.2"));
    // What an operator lifts stays so.
    _ = edge.home.json(&["temp", "remove", "10.77.0.2"]);
    assert!(!edge.is_dropped("10.77.0.2"));
}

#[test]
fn each_offence_has_its_block() {
    let edge = Edge::new(
        "",
        "[smtp]\ngreeting_pause_ms = 300\nconnections_per_address = 2\n[escalation]\n\
         dictionary.count = 2\nearly_talker.count = 1\nabuse.count = 1\nflood.count = 1\n\
         [enforcement]\nblocked_ip = \"reject\"\n[blocked]\naddresses = [\"10.77.0.7\"]\n",
    );
    let _daemon = edge.start();
    let reason = |address: &str| {
        wait_for("a block", || edge.block(address).is_some());
        edge.block(address).unwrap()["reason"].as_str().unwrap().to_owned()
    };
    // Talks first.
    let mut early = Dialogue::open(
        &edge.pair.client,
        "10.77.0.4".parse().expect("an address"),
        target("10.77.0.4"),
    )
    .expect("a connection");
    early.send(b"EHLO early.example\r\n");
    assert!(early.line().expect("a line").starts_with("554 5.5.1 "));
    assert_eq!(reason("10.77.0.4"), "early_talker");
    // Sends a bare LF.
    let mut abuse = edge.open("10.77.0.5");
    abuse.send(b"EHLO abuse.example\n");
    assert!(abuse.line().expect("a line").starts_with("500 5.5.2 "));
    assert_eq!(reason("10.77.0.5"), "abuse");
    // More connections than it may have.
    let open = [edge.open("10.77.0.6"), edge.open("10.77.0.6")];
    let mut third = Dialogue::open(
        &edge.pair.client,
        "10.77.0.6".parse().expect("an address"),
        target("10.77.0.6"),
    )
    .expect("a connection");
    assert!(third.line().expect("a line").starts_with("421 4.7.0 "));
    assert_eq!(reason("10.77.0.6"), "flood");
    drop(open);
    // A list decides before a block could: blocking what it rejects would be idle.
    for told in edge.guess("10.77.0.7", 5) {
        assert!(told.starts_with("550 5.7.1 "), "{told}");
    }
    thread::sleep(Duration::from_millis(300));
    assert!(edge.block("10.77.0.7").is_none());
}

/// Anybody can send a SYN in another's name: it must cost that other nothing.
#[test]
fn a_flood_of_spoofed_syns_blocks_nobody() {
    let edge = Edge::new(
        "",
        "[smtp]\nconnections_per_address = 1\n[escalation]\nflood.count = 1\nabuse.count = 1\n\
         early_talker.count = 1\nreputation.count = 1\ndictionary.count = 1\n",
    );
    let daemon = edge.start();
    let sent = 20_000_u32;
    edge.pair.client.run(|| {
        let mut wire = Wire::new("e1");
        for number in 0..sent {
            let [_, _, high, low] = number.to_be_bytes();
            let source = format!("10.77.{}.{low}", 128 + high);
            let frame = frames::V4::from(&source).frame(&frames::tcp(25, SYN));
            while wire.send(&frame).is_err() {
                thread::sleep(Duration::from_micros(50));
            }
        }
    });
    wait_for("the SYNs", || daemon.frames("unlisted") >= u64::from(sent));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(edge.blocks(), Vec::<Value>::new());
    assert!(!edge.is_dropped("10.77.0.2"));
}

/// A file of blocks, as a daemon leaves it.
fn saved(addresses: impl Iterator<Item = IpAddr>, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut text = String::new();
    for address in addresses {
        _ = writeln!(text, "{address} reputation {now} {}", now + seconds);
    }
    text
}

#[test]
fn a_hundred_thousand_blocks_stand_at_once() {
    let edge = Edge::new("", DICTIONARY);
    let many = (0..100_000_u32)
        .map(|number| IpAddr::from(0x0b00_0000_u32.wrapping_add(number).to_be_bytes()));
    fs::create_dir(edge.home.path("state")).expect("a folder");
    edge.home.write("state/temporary.txt", saved(many, 3600));
    let daemon = edge.start();
    assert_eq!(edge.blocks().len(), 100_000);
    let answer = daemon.look_up("11.1.2.3".parse().expect("an address"));
    assert_eq!(answer["kernel"]["action"], "drop", "{answer}");
    // One more is as quick as the first.
    let start = Instant::now();
    edge.guess("10.77.0.2", 3);
    wait_for("the block", || edge.is_dropped("10.77.0.2"));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_full_map_is_said_and_goes_on_when_blocks_lapse() {
    let edge = Edge::new("", &format!("{DICTIONARY}[temporary]\ncapacity = 1024\n"));
    let many = (0..1024_u32).map(|number| IpAddr::from((0x0b00_0000 + number).to_be_bytes()));
    fs::create_dir(edge.home.path("state")).expect("a folder");
    edge.home.write("state/temporary.txt", saved(many, 12));
    let _daemon = edge.start();
    let held = edge.blocks().len();
    assert!(held >= 900, "{held}");
    edge.guess("10.77.0.2", 3);
    if held == 1024 {
        wait_for("the alarm", || edge.alarms().contains("temporary blocks are in use"));
        // Mail goes on.
        assert!(!edge.is_dropped("10.77.0.2"));
    }
    wait_for("the end of all blocks", || edge.blocks().is_empty());
    edge.guess("10.77.0.2", 3);
    wait_for("room again", || edge.block("10.77.0.2").is_some());
}
