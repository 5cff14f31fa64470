//! Clocks that are wrong, and a daemon that stands still: what is in force stays, and
//! lapses when it should.
//!
//! The daemon sees another time of day through libfaketime; the host's clock is left
//! alone, and the kernel's stays right, as in life.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::netns::{Pair, connect};
use mxdp_tests::peers::find;
use nix::sys::signal::Signal;
use serde_json::Value;

const LISTS: &str = "[blocked]\naddresses = [\"10.77.0.66\"]\n";

struct Scene {
    pair: Pair,
    home: Home,
    _listener: TcpListener,
}

impl Scene {
    fn new() -> Self {
        let pair = Pair::new();
        for address in ["10.77.0.66", "10.77.0.3", "10.77.0.4", "10.77.0.5", "10.77.0.6"] {
            pair.add_client_address(address);
        }
        let listener = pair.edge.run(|| TcpListener::bind("10.77.0.1:25").expect("a listener"));
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
        self.set_clock("+0");
        let library = find("usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
        let config = self.home.path("mxdp.toml");
        let config = config.to_str().expect("a path in UTF-8");
        let mut command = self.home.mxdp(Some(&self.pair.edge), &["run", "-c", config]);
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", self.home.path("time"))
            .env("FAKETIME_NO_CACHE", "1")
            // CLOCK_MONOTONIC and CLOCK_BOOTTIME are nobody's to set.
            .env("DONT_FAKE_MONOTONIC", "1");
        self.home.start_command(command)
    }

    /// Sets the daemon's time of day, as an offset to the right one.
    fn set_clock(&self, offset: &str) {
        // In one step: the daemon reads the file at any time.
        self.home.write("time.new", format!("{offset}\n"));
        std::fs::rename(self.home.path("time.new"), self.home.path("time")).expect("renamed");
    }

    fn alarms(&self) -> String {
        self.home.json(&["status"])["alarms"].to_string()
    }

    /// The records of dropped SYNs of the address that the list blocks.
    fn records(&self) -> Vec<Value> {
        self.home.json_lines(&["traffic", "blocked", "--ip", "10.77.0.66"])
    }
}

#[test]
fn a_wrong_time_of_day_takes_nothing_away() {
    let scene = Scene::new();
    let daemon = scene.start_under_faketime();
    scene.home.json(&["temp", "add", "10.77.0.3", "--for", "1h"]);
    scene.home.json(&["block", "add", "10.77.0.4", "--for", "3h"]);
    scene.home.json(&["block", "add", "10.77.0.5", "--for", "2d"]);
    let all_blocked = |when: &str| {
        for address in ["10.77.0.66", "10.77.0.3", "10.77.0.4", "10.77.0.5"] {
            assert!(!scene.is_admitted(address), "{address} is admitted {when}");
        }
        assert!(scene.is_admitted("10.77.0.2"), "an unlisted address is not admitted {when}");
        let left = scene.home.json(&["temp", "list"])[0]["remaining_s"].as_u64();
        assert!(left.is_some_and(|left| (3000..=3600).contains(&left)), "{left:?} {when}");
        assert_eq!(scene.home.json(&["block", "list"]).as_array().map(Vec::len), Some(2));
    };
    all_blocked("at first");
    wait_for("the first record", || !scene.records().is_empty());
    for (number, (offset, alarm)) in
        [("+1y", "the system clock jumped forward"), ("-1d", "the system clock jumped back")]
            .into_iter()
            .enumerate()
    {
        scene.set_clock(offset);
        wait_for(alarm, || scene.alarms().contains(alarm));
        all_blocked(offset);
        // A block that is added meanwhile expires on time.
        scene.home.json(&["temp", "add", "10.77.0.6", "--for", "2s"]);
        assert!(!scene.is_admitted("10.77.0.6"));
        wait_for("the block's end", || scene.is_admitted("10.77.0.6"));
        // What was recorded is found, and what comes now is recorded with it; records
        // that are newer come first, whatever their times say.
        wait_for("a record of now", || {
            all_blocked(offset);
            scene.records().len() >= number + 2
        });
    }
    scene.set_clock("+0");
    wait_for("the right time", || scene.alarms() == "[]");
    all_blocked("after it all");
    assert!(scene.records().len() >= 3);
    daemon.end(Signal::SIGTERM);
    // And it was saved by the right time.
    let _daemon = scene.start_under_faketime();
    all_blocked("after a restart");
}

/// A host that sleeps, to the daemon: time goes by, and it does not run. What is in the
/// kernel goes on, and the daemon goes on with what is due.
#[test]
fn a_daemon_that_stood_still_goes_on_with_what_is_due() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    scene.home.json(&["temp", "add", "10.77.0.3", "--for", "3s"]);
    scene.home.json(&["temp", "add", "10.77.0.4", "--for", "1h"]);
    scene.home.json(&["block", "add", "10.77.0.5", "--for", "3s"]);
    let start = Instant::now();
    daemon.signal(Signal::SIGSTOP);
    assert!(!scene.is_admitted("10.77.0.66"));
    assert!(scene.is_admitted("10.77.0.2"));
    // Temporary blocks and managed entries expire in the kernel, by its own clock.
    wait_for("the block's end", || scene.is_admitted("10.77.0.3"));
    wait_for("the entry's end", || scene.is_admitted("10.77.0.5"));
    assert!(start.elapsed() > Duration::from_secs(2));
    assert!(!scene.is_admitted("10.77.0.4"));
    thread::sleep(Duration::from_secs(4).saturating_sub(start.elapsed()));
    daemon.signal(Signal::SIGCONT);
    wait_for("the entry's end in the list", || {
        scene.home.json(&["block", "list"]).as_array().is_some_and(Vec::is_empty)
    });
    assert!(scene.is_admitted("10.77.0.5"));
    assert!(!scene.is_admitted("10.77.0.4"));
    assert!(!scene.is_admitted("10.77.0.66"));
    assert_eq!(scene.alarms(), "[]");
}

/// In a time namespace the daemon's CLOCK_BOOTTIME is not the one that the kernel's
/// program reads; blocks last as long as they should all the same.
#[test]
fn blocks_last_their_time_in_a_time_namespace() {
    let scene = Scene::new();
    let mut command = scene.pair.edge.command("unshare");
    command.args(["--time", "--boottime", "86400", "--monotonic", "3600", "--"]);
    command.arg(mxdp_tests::peers::mxdp()).arg("run").arg("-c").arg(scene.home.path("mxdp.toml"));
    let daemon = scene.home.start_command(command);
    let offsets = format!("/proc/{}/timens_offsets", daemon.pid());
    let offsets = std::fs::read_to_string(offsets).expect("a kernel with time namespaces");
    assert!(offsets.contains("86400"), "{offsets}");
    scene.home.json(&["temp", "add", "10.77.0.3", "--for", "3s"]);
    assert!(!scene.is_admitted("10.77.0.3"));
    wait_for("the block's end", || scene.is_admitted("10.77.0.3"));
    assert_eq!(scene.home.json(&["temp", "list"]), serde_json::json!([]));
}
