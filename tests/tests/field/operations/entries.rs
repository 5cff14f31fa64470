//! Managed entries: their time, their end and their cost.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mxdp::control::client;
use mxdp::control::protocol::{Request, RuntimeEntry, RuntimeList};
use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::netns::{Pair, connect};
use mxdp_tests::pace::lasting;
use mxdp_tests::peers::find;
use nix::sys::signal::Signal;

const LISTS: &str = "[blocked]\naddresses = [\"10.77.0.66\"]\n";

struct Scene {
    pair: Pair,
    home: Home,
    _listener: std::net::TcpListener,
}

impl Scene {
    fn new() -> Self {
        let pair = Pair::new();
        for address in ["10.77.0.66", "10.77.0.3", "10.77.0.4", "10.77.0.5"] {
            pair.add_client_address(address);
        }
        let listener =
            pair.edge.run(|| std::net::TcpListener::bind("10.77.0.1:25").expect("a listener"));
        let home = Home::new();
        home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
        Self { pair, home, _listener: listener }
    }

    fn is_admitted(&self, source: &str) -> bool {
        let source: IpAddr = source.parse().expect("an address");
        let target: SocketAddr = "10.77.0.1:25".parse().expect("an address");
        let patience = Duration::from_millis(300);
        self.pair.client.run(|| connect(source, target, patience).is_ok())
    }

    /// Starts the daemon under a time of day that [`Self::set_clock`] sets.
    fn start_under_faketime(&self) -> Daemon<'_> {
        let library = find("usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
        let config = self.home.path("mxdp.toml");
        let config = config.to_str().expect("a path in UTF-8");
        let mut command = self.home.mxdp(Some(&self.pair.edge), &["run", "-c", config]);
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", self.home.path("time"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        self.home.start_command(command)
    }

    /// Sets the daemon's time of day, as an offset to the right one.
    fn set_clock(&self, offset: &str) {
        self.home.write("time.new", format!("{offset}\n"));
        fs::rename(self.home.path("time.new"), self.home.path("time")).expect("renamed");
    }

    /// How many hours an entry has left, by the right time of day.
    fn hours_left(&self, verb: &str, prefix: &str) -> u64 {
        let entries = self.home.json(&[verb, "list"]);
        let mut entries = entries.as_array().expect("a list").iter();
        let entry = entries.find(|entry| entry["prefix"] == prefix).expect("the entry");
        let left = entry["expires_at"].as_u64().expect("a time").saturating_sub(now());
        (left + 1800) / 3600
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The kind: a time of day that is wrong when an entry is made, and put right. `--for 12h`
/// lasted one hour, `approve --for 1h` a day.
#[test]
fn an_entry_lasts_as_long_as_it_was_given_whatever_becomes_of_the_clock() {
    let scene = Scene::new();
    // A boot clock eleven hours behind, and put right while the daemon runs.
    scene.set_clock("-11h");
    let daemon = scene.start_under_faketime();
    scene.home.json(&["block", "add", "10.77.0.4", "--for", "12h"]);
    scene.home.json(&["approve", "add", "10.77.0.66", "--for", "13h"]);
    scene.home.json(&["temp", "add", "10.77.0.5", "--for", "12h"]);
    scene.set_clock("+0");
    wait_for("the right time", || scene.hours_left("block", "10.77.0.4/32") == 12);
    assert_eq!(scene.hours_left("approve", "10.77.0.66/32"), 13);
    let left = scene.home.json(&["temp", "list"])[0]["remaining_s"].as_u64().expect("seconds");
    assert!((12 * 3600 - 120..=12 * 3600).contains(&left), "{left}");
    // It is so for the next daemon too, and for one whose clock was put back.
    daemon.end(Signal::SIGKILL);
    let daemon = scene.start_under_faketime();
    assert_eq!(scene.hours_left("block", "10.77.0.4/32"), 12);
    daemon.end(Signal::SIGTERM);
    scene.set_clock("-3d");
    let daemon = scene.start_under_faketime();
    scene.home.json(&["approve", "add", "10.77.0.66", "--for", "3s"]);
    assert!(scene.is_admitted("10.77.0.66"));
    scene.set_clock("+0");
    wait_for("the approval's end", || !scene.is_admitted("10.77.0.66"));
    assert_eq!(scene.hours_left("block", "10.77.0.4/32"), 12);
    assert!(!scene.is_admitted("10.77.0.4"));
    drop(daemon);
}

/// The kind: a tool that needs the right time. Under a clock that is far off, everything that
/// an operator does in an emergency works.
#[test]
fn the_tools_for_an_emergency_work_under_a_wrong_clock() {
    for clock in ["+300d", "-300d"] {
        let scene = Scene::new();
        scene.set_clock("+0");
        let daemon = scene.start_under_faketime();
        scene.home.json(&["temp", "add", "10.77.0.3", "--for", "1h"]);
        scene.home.json(&["block", "add", "10.77.0.4", "--for", "1h"]);
        scene.set_clock(clock);
        wait_for("the alarm", || scene.home.json(&["status"])["alarms"] != serde_json::json!([]));
        scene.home.json(&["reload"]);
        assert!(!scene.is_admitted("10.77.0.3") && !scene.is_admitted("10.77.0.4"), "{clock}");
        scene.home.json(&["temp", "remove", "10.77.0.3"]);
        scene.home.json(&["block", "remove", "10.77.0.4"]);
        assert!(scene.is_admitted("10.77.0.3") && scene.is_admitted("10.77.0.4"), "{clock}");
        scene.home.json(&["temp", "add", "10.77.0.5", "--for", "2s"]);
        wait_for("its end", || scene.is_admitted("10.77.0.5"));
        scene.home.json(&["detach"]);
        assert!(daemon.wait(), "{}", scene.home.log());
    }
}

/// The kind: an end that only the daemon knows. Without one, the kernel goes by the time of
/// each entry, and what is around it counts again.
#[test]
fn an_entry_ends_in_the_kernel_without_the_daemon() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    scene.home.json(&["block", "add", "10.77.0.3", "--for", "3s"]);
    scene.home.json(&["approve", "add", "10.77.0.66", "--for", "4s"]);
    // Two that are nested: the longer time of each kind counts.
    scene.home.json(&["block", "add", "10.77.0.4/31", "--for", "1h"]);
    scene.home.json(&["block", "add", "10.77.0.4", "--for", "2s"]);
    scene.home.json(&["approve", "add", "10.77.0.5", "--for", "2s"]);
    assert!(scene.is_admitted("10.77.0.66") && scene.is_admitted("10.77.0.5"));
    daemon.end(Signal::SIGKILL);
    assert!(!scene.is_admitted("10.77.0.3"));
    wait_for("the block's end", || scene.is_admitted("10.77.0.3"));
    wait_for("the approval's end", || !scene.is_admitted("10.77.0.66"));
    assert!(!scene.is_admitted("10.77.0.4"), "the wider block goes on");
    assert!(!scene.is_admitted("10.77.0.5"), "the wider block counts again");
    assert!(scene.is_admitted("10.77.0.2"));
    // The next daemon agrees, and keeps the remaining time.
    let daemon = scene.home.start(&scene.pair.edge);
    let listed = |verb: &str| scene.home.json(&[verb, "list"]).as_array().map(Vec::len);
    wait_for("the ended entries to go", || {
        (listed("block"), listed("approve")) == (Some(1), Some(0))
    });
    for address in ["10.77.0.3", "10.77.0.4", "10.77.0.5", "10.77.0.66"] {
        let answer = daemon.look_up(address.parse().expect("an address"));
        assert_eq!(answer["agree"], true, "{answer}");
    }
}

/// The kind: one more costs as much as all there are. With 90,000 entries, one more is still
/// written, put into the kernel and told to SMTP at once; and survives a kill.
#[test]
fn one_more_entry_costs_no_more_than_itself() {
    let scene = Scene::new();
    let mut text = "{\"version\": 1, \"entries\": [\n".to_owned();
    for number in 0..90_000_u32 {
        let comma = if number == 0 { "" } else { ",\n" };
        let address = IpAddr::from((0x0b00_0000 + number * 2).to_be_bytes());
        let entry = format!("{{\"list\":\"blocked\",\"prefix\":\"{address}/32\",\"added_at\":1}}");
        write!(text, "{comma}{entry}").expect("a text");
    }
    text.push_str("\n]}\n");
    fs::create_dir(scene.home.path("state")).expect("a folder");
    scene.home.write("state/runtime.json", text);
    let daemon = scene.home.start(&scene.pair.edge);
    assert_eq!(scene.home.json(&["status"])["generation"]["runtime_entries"], 90_000);
    let socket = scene.home.path("mxdp.sock");
    let mut times = Vec::new();
    for number in 0..60_u8 {
        let request = Request::RuntimeAdd {
            list: RuntimeList::Blocked,
            prefix: format!("198.51.100.{number}/32").parse().expect("a prefix"),
            note: None,
            expires_in_s: None,
            permanent: false,
            force: false,
        };
        let start = Instant::now();
        let _: RuntimeEntry = client::call(&socket, &request).expect("added");
        times.push(start.elapsed());
    }
    times.sort_unstable();
    assert!(times[30] < lasting(Duration::from_millis(100)), "{:?} in the middle", times[30]);
    daemon.end(Signal::SIGKILL);
    let daemon = scene.home.start(&scene.pair.edge);
    assert_eq!(scene.home.json(&["status"])["generation"]["runtime_entries"], 90_060);
    let answer = daemon.look_up("198.51.100.59".parse().expect("an address"));
    assert_eq!((&answer["class"], &answer["agree"]), (&"blocked_ip".into(), &true.into()));
    scene.home.json(&["block", "remove", "198.51.100.59"]);
    daemon.end(Signal::SIGKILL);
    let _daemon = scene.home.start(&scene.pair.edge);
    assert_eq!(scene.home.json(&["status"])["generation"]["runtime_entries"], 90_059);
}
