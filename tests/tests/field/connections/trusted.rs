//! Balancers, this host, backends and customers are never blocked automatically.

use std::net::SocketAddr;

use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::dialogue::{Dialogue, is_dropped};
use mxdp_tests::netns::Pair;
use serde_json::Value;

const PROXY: &str = "10.77.0.7";
const PROXY_V6: &str = "fd77:0:0:7::7";
const CUSTOMER: &str = "10.77.0.8";
const BACKEND: &str = "10.77.0.9";
const STRANGER: &str = "10.77.0.2";
const HOST: &str = "10.77.0.1";

struct Scene {
    pair: Pair,
    home: Home,
}

impl Scene {
    fn new() -> Self {
        let (pair, home) = (Pair::new(), Home::new());
        for address in [PROXY, CUSTOMER, BACKEND] {
            pair.add_client_address(address);
        }
        pair.client.ip(&format!("addr add {PROXY_V6}/128 dev e1 nodad"));
        pair.edge.ip(&format!("route add {PROXY_V6}/128 dev e0"));
        home.write("recipients.txt", "bob@example.org\n");
        let text = format!(
            "[listen]\nsmtp = [\"{HOST}:25\", \"[fd77::1]:25\"]\nhostname = \"mx.example.org\"\n\
             proxy_networks = [\"{PROXY}\", \"{PROXY_V6}\"]\n\
             [smtp]\nconnections_per_address = 2\n\
             [escalation]\nabuse.count = 2\nflood.count = 2\ndictionary.count = 3\n\
             [relay]\nlisten = [\"{HOST}:587\"]\nbackend = \"main\"\n\
             [[customer]]\nname = \"acme\"\nnetworks = [\"{CUSTOMER}\"]\ndomains = [\"acme.example\"]\n\
             [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
             recipients = [\"recipients.txt\"]\n\
             [[backend]]\nname = \"main\"\nservers = [\"{BACKEND}:2600\"]\n"
        );
        home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &text);
        Self { pair, home }
    }

    fn start(&self) -> Daemon<'_> {
        self.home.start(&self.pair.edge)
    }

    fn open(&self, source: &str) -> Dialogue {
        let namespace = if source == HOST { &self.pair.edge } else { &self.pair.client };
        let source = source.parse().expect("an address");
        Dialogue::open(namespace, source, target(source)).expect("a connection")
    }

    /// Breaks the protocol, talks to it in a way that no mail system does, and guesses.
    fn misbehave(&self, source: &str, header: &[u8]) {
        for _ in 0..4 {
            let mut dialogue = self.greeted(source, header);
            dialogue.send(b"FOO\nBAR\r\n");
            assert!(dialogue.line().expect("a line").starts_with("500 5.5.2 "), "{source}");
        }
        let mut open = Vec::new();
        for _ in 0..6 {
            let mut dialogue = self.open(source);
            dialogue.send(header);
            _ = dialogue.line();
            open.push(dialogue);
        }
        drop(open);
        let mut guesser = self.greeted(source, header);
        guesser.told("EHLO guesser.example");
        guesser.told("MAIL FROM:<a@guesser.example>");
        for number in 0..6 {
            _ = guesser.say(&format!("RCPT TO:<name{number}@example.org>"));
        }
    }

    /// A session that was greeted; connections that were closed may count for a moment.
    fn greeted(&self, source: &str, header: &[u8]) -> Dialogue {
        let mut greeted = None;
        wait_for("a greeting", || {
            let mut dialogue = self.open(source);
            dialogue.send(header);
            let is_greeted = dialogue.line().is_ok_and(|line| line.starts_with("220 "));
            greeted = is_greeted.then_some(dialogue);
            is_greeted
        });
        greeted.expect("a session")
    }

    fn blocks(&self) -> Vec<Value> {
        self.home.json(&["temp", "list"]).as_array().expect("a list").clone()
    }
}

fn target(source: std::net::IpAddr) -> SocketAddr {
    let target = if source.is_ipv6() { "[fd77::1]:25" } else { "10.77.0.1:25" };
    target.parse().expect("an address")
}

/// The kind: what a connection does that speaks for no client (UNKNOWN, LOCAL) or for one
/// of ours is held against an address without which no mail flows, and its block stops all
/// of it. Sources: stalwart#2158, stalwart#661, haproxy#980, PROXY protocol section 2.2.
#[test]
fn a_trusted_address_is_never_blocked_automatically() {
    let scene = Scene::new();
    let _daemon = scene.start();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    scene.misbehave(PROXY, b"PROXY UNKNOWN\r\n");
    scene.misbehave(PROXY, local);
    scene.misbehave(PROXY_V6, b"PROXY UNKNOWN\r\n");
    for source in [CUSTOMER, BACKEND, HOST] {
        scene.misbehave(source, b"");
    }
    // A stranger that does the same is blocked: everything before it has been judged.
    scene.misbehave_until_blocked(STRANGER);
    let blocks = scene.blocks();
    let blocked: Vec<_> = blocks.iter().filter_map(|block| block["prefix"].as_str()).collect();
    assert_eq!(blocked, [format!("{STRANGER}/32")], "{blocks:?}");
    for source in [PROXY, PROXY_V6, CUSTOMER, BACKEND] {
        let source = source.parse().expect("an address");
        assert!(!is_dropped(&scene.pair.client, source, target(source)), "{source} is dropped");
    }
    // The next real client through the balancer is served, and one that misbehaves there
    // is blocked for itself.
    drop(scene.greeted(PROXY, b"PROXY TCP4 203.0.113.7 10.77.0.1 4000 25\r\n"));
    for _ in 0..2 {
        let mut bad = scene.greeted(PROXY, b"PROXY TCP4 203.0.113.8 10.77.0.1 4000 25\r\n");
        bad.send(b"FOO\nBAR\r\n");
        _ = bad.line();
    }
    wait_for("the block of the client behind the balancer", || {
        scene.blocks().iter().any(|block| block["prefix"] == "203.0.113.8/32")
    });
    // Through a balancer, even a header with one of our addresses blocks nobody.
    for forged in [PROXY, CUSTOMER, BACKEND, "127.0.0.1", HOST] {
        for _ in 0..2 {
            let mut bad = scene.open(PROXY);
            bad.send(format!("PROXY TCP4 {forged} 10.77.0.1 4000 25\r\n").as_bytes());
            _ = bad.line();
            bad.send(b"FOO\nBAR\r\n");
            _ = bad.line();
        }
    }
    scene.misbehave_until_blocked("10.77.0.3");
    assert_eq!(scene.blocks().len(), 3, "{:?}", scene.blocks());
}

impl Scene {
    fn misbehave_until_blocked(&self, source: &str) {
        self.pair.client.ip(&format!("addr replace {source}/16 dev e1"));
        let address = source.parse().expect("an address");
        wait_for("the block of a stranger", || {
            if let Ok(mut dialogue) = Dialogue::open(&self.pair.client, address, target(address)) {
                _ = dialogue.line();
                dialogue.send(b"FOO\nBAR\r\n");
                _ = dialogue.line();
            }
            is_dropped(&self.pair.client, address, target(address))
        });
    }
}

/// The kind: a block that was made before an address became a trusted one goes on.
#[test]
fn who_becomes_trusted_is_let_back() {
    let scene = Scene::new();
    let _daemon = scene.start();
    scene.misbehave_until_blocked(STRANGER);
    scene.home.json(&["temp", "add", "10.77.0.3", "--for", "1h"]);
    let text = std::fs::read_to_string(scene.home.path("mxdp.toml")).expect("read");
    let more = format!("[\"{STRANGER}\", \"10.77.0.3\", \"{PROXY}\"");
    scene.home.write("mxdp.toml", text.replace(&format!("[\"{PROXY}\""), &more));
    scene.home.json(&["reload"]);
    let blocks = scene.blocks();
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert_eq!(blocks[0]["prefix"], "10.77.0.3/32", "what an operator blocked stays");
}

/// The kind: an operator's slip of the hand (a prefix too short, one's own balancer) stops
/// all mail. It needs `force`, and the refusal names what would be hit.
#[test]
fn a_block_of_what_mail_depends_on_needs_force() {
    let scene = Scene::new();
    let _daemon = scene.start();
    let refused = |arguments: &[&str], named: &str| {
        let output = scene.home.run(arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} was done");
        assert!(words.contains(named) && words.contains("--force"), "{arguments:?}: {words}");
    };
    for (address, named) in [
        (PROXY, "listed in listen.proxy_networks"),
        (CUSTOMER, "a network of customer acme"),
        (BACKEND, "a server of backend main"),
        (HOST, "an address of this host"),
        ("127.0.0.5", "loopback"),
        ("fd77:0:0:7::9", "listed in listen.proxy_networks"),
    ] {
        refused(&["temp", "add", address, "--for", "1h"], named);
        if !address.contains(':') {
            refused(&["block", "add", address], named);
        }
    }
    refused(&["block", "add", "10.77.0.0/16"], "would hit 10.77.0.7, listed in");
    refused(&["block", "add", "64.0.0.0/7"], "shorter than /8");
    refused(&["block", "add", "3000::/15"], "shorter than /16");
    assert_eq!(scene.blocks(), Vec::<Value>::new());
    assert_eq!(scene.home.json(&["block", "list"]), serde_json::json!([]));
    scene.home.json(&["temp", "add", BACKEND, "--for", "1h", "--force"]);
    scene.home.json(&["block", "add", "64.0.0.0/7", "--force"]);
    scene.home.json(&["block", "add", "64.0.0.0/8"]);
    scene.home.json(&["approve", "add", "10.77.0.0/16"]);
    assert_eq!(scene.blocks().len(), 1);
}
