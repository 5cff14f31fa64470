//! Real TCP from one namespace to another through a veth with native XDP, with
//! smtp-sink behind the filter.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::frames::*;
use mxdp_tests::netns::{Namespace, Pair, Wire, connect};
use mxdp_tests::pace::lasting;
use mxdp_tests::peers::clients::said;
use mxdp_tests::peers::{self, Process};
use nix::sys::signal::Signal;

/// The client's addresses, by what the lists say of them.
const LISTS: &str = r#"
[approved]
addresses = [
  "10.77.1.128/25",      # inside a blocked network
  "10.77.2.0/24",        # around a blocked network
  "10.77.4.10",          # inside a blocked country
  "fd77:0:0:0:2::/80",
]
countries = ["AT"]
[blocked]
addresses = [
  "10.77.1.0/24",
  "10.77.2.128/25",
  "10.77.3.10",          # inside an approved country
  "fd77:0:0:0:1::/80",
]
countries = ["FR"]
[countries]
folder = "countries"
"#;

/// Whether a SYN from an address is answered.
const VERDICTS: [(&str, bool); 16] = [
    ("10.77.0.2", true),   // no list
    ("10.77.1.5", false),  // blocked IP
    ("10.77.1.200", true), // approved inside blocked
    ("10.77.2.5", true),   // approved IP
    ("10.77.2.200", true), // approved larger than blocked
    ("10.77.3.5", true),   // approved country
    ("10.77.3.10", false), // approved country with a blocked address
    ("10.77.4.5", false),  // blocked country
    ("10.77.4.10", true),  // blocked country with an approved address
    ("10.77.5.5", true),   // another country
    ("fd77::2", true),     // no list
    ("fd77:0:0:0:1::5", false),
    ("fd77:0:0:0:2::5", true),
    ("fd77:0:0:0:3::5", true),  // approved country
    ("fd77:0:0:0:4::5", false), // blocked country
    ("fd77:0:0:0:5::5", true),
];

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(5);

fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path("countries")).expect("a folder");
    home.write("countries/at.cidr", "10.77.3.0/24\nfd77:0:0:0:3::/80\n");
    home.write("countries/fr.cidr", "10.77.4.0/24\nfd77:0:0:0:4::/80\n");
    home.write("countries/gb.cidr", "10.77.5.0/24\nfd77:0:0:0:5::/80\n");
    home
}

/// smtp-sink on an address of a namespace, as root since its port is low.
fn smtp_sink(host: &Namespace, address: &str) -> Process {
    let mut command = host.command(peers::find("smtp-sink"));
    command.envs(peers::environment()).args(["-u", "nobody", address, "64"]);
    let child = command.stdout(Stdio::null()).spawn().expect("smtp-sink starts");
    Process(child)
}

/// Waits until something listens at `target`.
fn wait_for_sink(pair: &Pair, target: &str) {
    let target: SocketAddr = target.parse().expect("an address and port");
    let source = if target.is_ipv4() { "10.77.0.2" } else { "fd77::2" };
    let source: IpAddr = source.parse().expect("an address");
    wait_for("smtp-sink", || pair.client.run(|| connect(source, target, SHORT).is_ok()));
}

/// Connects and reads the greeting.
fn is_greeted(pair: &Pair, source: &str, target: &str, patience: Duration) -> bool {
    let source: IpAddr = source.parse().expect("an address");
    let target: SocketAddr = target.parse().expect("an address and port");
    pair.client.run(|| match connect(source, target, patience) {
        Ok(mut socket) => {
            let mut greeting = [0; 3];
            socket.read_exact(&mut greeting).expect("a greeting");
            assert_eq!(&greeting, b"220", "{source}");
            true
        }
        Err(error) => {
            let timed_out = matches!(
                error.kind(),
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
            );
            assert!(timed_out, "{source}: {error}");
            false
        }
    })
}

fn target_for(source: &str) -> &'static str {
    if source.contains(':') { "[fd77::1]:25" } else { "10.77.0.1:25" }
}

#[test]
fn every_class_is_decided_on_real_connections() {
    let pair = Pair::new();
    for (address, _) in VERDICTS {
        if !["10.77.0.2", "fd77::2"].contains(&address) {
            pair.add_client_address(address);
        }
    }
    let _sinks = [
        smtp_sink(&pair.edge, "10.77.0.1:25"),
        smtp_sink(&pair.edge, "[fd77::1]:25"),
        smtp_sink(&pair.edge, "10.77.0.1:2600"),
    ];
    for target in ["10.77.0.1:25", "[fd77::1]:25", "10.77.0.1:2600"] {
        wait_for_sink(&pair, target);
    }
    let home = home();
    home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
    let daemon = home.start(&pair.edge);
    assert_eq!(home.json(&["status"])["interfaces"][0]["mode"], "native");

    for (source, admitted) in VERDICTS {
        let patience = if admitted { LONG } else { SHORT };
        assert_eq!(is_greeted(&pair, source, target_for(source), patience), admitted, "{source}");
        // The daemon and the kernel say so too, and agree.
        let answer = daemon.look_up(source.parse().expect("an address"));
        assert_eq!(answer["agree"], true, "{answer}");
        assert_eq!(answer["kernel"]["action"] == "pass", admitted, "{answer}");
    }
    assert!(daemon.frames("blocked_ip") >= 3);
    assert!(daemon.frames("blocked_country") >= 2);
    assert!(daemon.frames("approved_ip") >= 4);
    assert!(daemon.frames("approved_country") >= 2);
    assert!(daemon.frames("unlisted") >= 4);

    // Other ports are not protected.
    assert!(is_greeted(&pair, "10.77.1.5", "10.77.0.1:2600", LONG));
    assert!(daemon.frames("other_port") >= 1);

    // The protected host reaches a blocked one.
    let listener =
        pair.client.run(|| std::net::TcpListener::bind("10.77.1.5:2525").expect("a listener"));
    pair.edge.run(|| {
        let source = "10.77.0.1".parse().expect("an address");
        let target = "10.77.1.5:2525".parse().expect("an address and port");
        connect(source, target, LONG).expect("outbound connections pass");
    });
    drop(listener);
}

/// A kernel without VLAN devices still carries tagged frames: what the filter
/// lets pass is seen behind it.
#[test]
fn tagged_frames_are_looked_into() {
    let pair = Pair::new();
    let home = home();
    home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
    let daemon = home.start(&pair.edge);
    let mut behind = pair.edge.run(|| Wire::new("e0"));
    let mut wire = pair.client.run(|| Wire::new("e1"));
    for (source, passes) in [("10.77.0.2", true), ("10.77.1.5", false), ("10.77.1.200", true)] {
        let packet = V4::from(source).packet(&tcp(25, SYN));
        let tagged = ethernet(DOT1Q, &vlan(100, IPV4, &packet));
        let twice = ethernet(DOT1AD, &vlan(200, DOT1Q, &vlan(100, IPV4, &packet)));
        for frame in [tagged, twice] {
            wire.send(&frame).expect("sent");
            assert_eq!(behind.sees(&packet), passes, "{source}");
        }
    }
    assert_eq!(daemon.frames("blocked_ip"), 2);
}

/// A jumbo MTU needs a program that takes frames in fragments: native mode on a
/// veth refuses any other. The program's own log says what it saw.
#[test]
fn an_interface_with_jumbo_frames_is_filtered_natively() {
    let pair = Pair::new();
    pair.add_client_address("10.77.1.5");
    pair.client.ip("link set e1 mtu 9000");
    pair.edge.ip("link set e0 mtu 9000");
    let _sink = smtp_sink(&pair.edge, "10.77.0.1:25");
    wait_for_sink(&pair, "10.77.0.1:25");
    let home = home();
    home.configure("interfaces = [\"e0\"]\nmode = \"native\"\ndebug = \"debug\"", LISTS);
    let _daemon = home.start(&pair.edge);
    assert!(is_greeted(&pair, "10.77.0.2", "10.77.0.1:25", LONG));
    assert!(!is_greeted(&pair, "10.77.1.5", "10.77.0.1:25", SHORT));
    wait_for("the program's log", || home.log().contains("SYN to port 25: reason 16"));
}

#[test]
fn an_established_session_survives_the_block_of_its_address() {
    let pair = Pair::new();
    let _sink = smtp_sink(&pair.edge, "10.77.0.1:25");
    wait_for_sink(&pair, "10.77.0.1:25");
    let home = home();
    home.configure("interfaces = [\"e0\"]", LISTS);
    let _daemon = home.start(&pair.edge);

    let mut session = pair.client.run(|| {
        let source = "10.77.0.2".parse().expect("an address");
        connect(source, "10.77.0.1:25".parse().expect("an address"), LONG).expect("connected")
    });
    let added = home.json(&["block", "add", "10.77.0.2", "--note", "test"]);
    assert_eq!(added["prefix"], "10.77.0.2/32", "{added}");
    assert!(!is_greeted(&pair, "10.77.0.2", "10.77.0.1:25", SHORT));

    let mut reply = [0; 256];
    let length = session.read(&mut reply).expect("the greeting");
    assert!(reply[..length].starts_with(b"220"));
    session.write_all(b"HELO client.example\r\n").expect("sent");
    let length = session.read(&mut reply).expect("a reply");
    assert!(reply[..length].starts_with(b"250"));

    let removed = home.json(&["block", "remove", "10.77.0.2"]);
    assert_eq!(removed["note"], "test", "{removed}");
    assert!(is_greeted(&pair, "10.77.0.2", "10.77.0.1:25", LONG));
}

#[test]
fn entries_and_temporary_blocks_take_effect_at_once_and_lapse() {
    let pair = Pair::new();
    let _sink = smtp_sink(&pair.edge, "10.77.0.1:25");
    wait_for_sink(&pair, "10.77.0.1:25");
    let home = home();
    home.configure("interfaces = [\"e0\"]", LISTS);
    let daemon = home.start(&pair.edge);
    let admitted = |source, patience| is_greeted(&pair, source, "10.77.0.1:25", patience);

    let soon = format!("{}s", lasting(Duration::from_secs(2)).as_secs());
    home.json(&["temp", "add", "10.77.0.2", "--for", &soon]);
    assert!(!admitted("10.77.0.2", SHORT));
    assert_eq!(home.json(&["temp", "list"])[0]["prefix"], "10.77.0.2/32");
    wait_for("the block to lapse", || admitted("10.77.0.2", SHORT));
    assert!(daemon.frames("temporary_block") >= 1);

    home.json(&["temp", "add", "10.77.0.2", "--for", "1h"]);
    assert!(!admitted("10.77.0.2", SHORT));
    // Approved beats a temporary block.
    home.json(&["approve", "add", "10.77.0.0/24"]);
    assert!(admitted("10.77.0.2", LONG));
    // And a block, whose operator is told.
    let told = said(&home.run(&["block", "add", "10.77.0.2"]));
    let warning = "blocking 10.77.0.2/32 has no effect: it is approved by 10.77.0.0/24 (runtime";
    assert!(told.contains(warning), "{told}");
    home.json(&["block", "remove", "10.77.0.2"]);
    home.json(&["approve", "remove", "10.77.0.0/24"]);
    assert!(!admitted("10.77.0.2", SHORT));
    home.json(&["temp", "remove", "10.77.0.2"]);
    assert!(admitted("10.77.0.2", LONG));

    home.json(&["block", "add", "10.77.0.2", "--for", &soon]);
    assert!(!admitted("10.77.0.2", SHORT));
    wait_for("the entry to expire", || admitted("10.77.0.2", SHORT));
    // The kernel lets it end on time; the daemon takes it off the list within a second.
    wait_for("the entry to go", || home.json(&["block", "list"]) == serde_json::json!([]));

    // Entries are kept across restarts, temporary blocks too.
    home.json(&["block", "add", "10.77.0.2"]);
    home.json(&["temp", "add", "10.77.9.9", "--for", "1h"]);
    daemon.end(Signal::SIGTERM);
    let _daemon = home.start(&pair.edge);
    assert!(!admitted("10.77.0.2", SHORT));
    assert_eq!(home.json(&["temp", "list"])[0]["prefix"], "10.77.9.9/32");
}

#[test]
fn a_rate_limit_holds_back_a_source_and_no_other() {
    let pair = Pair::new();
    pair.add_client_address("10.77.0.3");
    let _sink = smtp_sink(&pair.edge, "10.77.0.1:25");
    wait_for_sink(&pair, "10.77.0.1:25");
    let home = home();
    let rate = format!("{LISTS}\n[syn_rate]\nipv4 = {{ per_second = 1, burst = 5 }}\n");
    home.configure("interfaces = [\"e0\"]", &rate);
    let daemon = home.start(&pair.edge);

    // The bucket holds five; each second there is room for one more.
    let quick = Duration::from_millis(50);
    let start = Instant::now();
    let (mut admitted, mut held_back) = (0, 0);
    wait_for("the bucket to be empty", || {
        let greeted = is_greeted(&pair, "10.77.0.2", "10.77.0.1:25", quick);
        *(if greeted { &mut admitted } else { &mut held_back }) += 1;
        held_back == 3
    });
    let most = 6 + start.elapsed().as_secs();
    assert!((5..=most).contains(&admitted), "{admitted}, and {most} at most");
    assert!(daemon.frames("rate_limit") >= 3);
    assert!(is_greeted(&pair, "10.77.0.3", "10.77.0.1:25", LONG));
    thread::sleep(Duration::from_millis(1500));
    assert!(is_greeted(&pair, "10.77.0.2", "10.77.0.1:25", LONG));
}

#[test]
fn a_monitored_list_counts_and_admits() {
    let pair = Pair::new();
    pair.add_client_address("10.77.1.5");
    let _sink = smtp_sink(&pair.edge, "10.77.0.1:25");
    wait_for_sink(&pair, "10.77.0.1:25");
    let home = home();
    let monitored = format!("{LISTS}\n[enforcement]\nblocked_ip = \"monitor\"\n");
    home.configure("interfaces = [\"e0\"]", &monitored);
    let daemon = home.start(&pair.edge);
    assert!(is_greeted(&pair, "10.77.1.5", "10.77.0.1:25", LONG));
    assert_eq!(daemon.frames("blocked_ip_monitor"), 1);
    let answer = daemon.look_up("10.77.1.5".parse().expect("an address"));
    assert_eq!(
        (answer["class"].as_str(), answer["action"].as_str()),
        (Some("blocked_ip"), Some("monitor"))
    );

    // A reload enforces it.
    home.configure("interfaces = [\"e0\"]", LISTS);
    home.json(&["reload"]);
    assert!(!is_greeted(&pair, "10.77.1.5", "10.77.0.1:25", SHORT));
    assert!(daemon.frames("blocked_ip") >= 1);
}
