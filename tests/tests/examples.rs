//! Every example configuration, started as it stands in the repository, with mail and
//! SYNs through it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::dialogue::{Dialogue, is_dropped};
use mxdp_tests::netns::{Namespace, Pair};
use mxdp_tests::peers::clients::{said, swaks};
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::tables;
use mxdp_tests::tls::Authority;

/// Each example and what is done with it. The order is that of their names.
const EXAMPLES: &[(&str, fn())] = &[
    ("filter-only", filter_only),
    ("isp", isp),
    ("outgoing-relay", outgoing_relay),
    ("small-office", small_office),
];

/// The edge, as clients see it.
const EDGE: &str = "10.77.0.1";

/// A client that no list knows.
const STRANGER: &str = "198.18.0.99";

/// What name servers say: a zone file from the root on.
const ZONE: &str = "\
2.0.0.127.zen.spamhaus.org. A 127.0.0.2
66.100.51.198.zen.spamhaus.org. A 127.0.0.4
2.0.0.127.bl.spamcop.net. A 127.0.0.2
67.100.51.198.bl.spamcop.net. A 127.0.0.2
68.100.51.198.bl.spamcop.net. A 127.0.0.2
68.100.51.198.list.dnswl.org. A 127.0.9.2
partner.example. TXT \"v=spf1 ip4:203.0.113.200 -all\"
fail.example. TXT \"v=spf1 -all\"
soft.example. TXT \"v=spf1 ~all\"
elsewhere.example. MX 10 mx.elsewhere.example.
mx.elsewhere.example. A 192.0.2.99
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples")
}

#[test]
fn every_example_does_what_it_says() {
    let files = fs::read_dir(folder()).expect("the examples");
    let names: BTreeSet<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let known: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), known);
    let overview = fs::read_to_string(folder().join("README.md")).expect("the overview");
    for (name, test) in EXAMPLES {
        assert!(overview.contains(&format!("`{name}.toml`")), "{name} is not in the overview");
        test();
    }
}

/// An edge with an example's configuration, and a client.
struct Scene {
    pair: Pair,
    home: Home,
    _names: Nsd,
}

impl Scene {
    /// Copies an example with its lists, and gives it what the machine of a test has
    /// elsewhere: the interface, the pins, the socket, the state, certificates.
    fn new(example: &str, certificate: Option<&str>) -> Self {
        let pair = Pair::new();
        pair.edge.ip("route add default via 10.77.0.2");
        let home = Home::new();
        let text = fs::read_to_string(folder().join(format!("{example}.toml"))).expect("it");
        let filter = format!(
            "[filter]\npin = \"{}\"\nengine = \"{}\"\n",
            home.pins().display(),
            tables::engine().0
        );
        assert_eq!(text.matches("[filter]\n").count(), 1, "{example}");
        assert_eq!(text.matches("[\"eth0\"]").count(), 1, "{example}");
        let text = text.replace("[filter]\n", &filter).replace("[\"eth0\"]", "[\"e0\"]");
        let own = format!(
            "\n[control]\nsocket = \"{socket}\"\n[state]\nfolder = \"{state}\"\n",
            socket = home.path("mxdp.sock").display(),
            state = home.path("state").display()
        );
        home.write("mxdp.toml", text + &own);
        for inner in ["lists", "countries"] {
            fs::create_dir(home.path(inner)).expect("a folder");
            for file in fs::read_dir(folder().join(inner)).expect("files") {
                let file = file.expect("a file");
                fs::copy(file.path(), home.path(inner).join(file.file_name())).expect("a copy");
            }
        }
        if let Some(name) = certificate {
            fs::create_dir(home.path("tls")).expect("a folder");
            _ = Authority::new().issue(&home.path("tls"), name);
        }
        let names = Nsd::start(&pair.edge, 53, ZONE);
        Self { pair, home, _names: names }
    }

    /// Checks the configuration, and starts the daemon.
    fn start(&self) -> Daemon<'_> {
        let config = self.home.path("mxdp.toml").display().to_string();
        // Where its interface is.
        let mut check = self.home.mxdp(Some(&self.pair.edge), &["check", "-c", &config]);
        let output = check.output().expect("mxdp starts");
        assert!(
            said(&output).contains("mxdp.toml: configuration OK, no warnings"),
            "{}",
            said(&output)
        );
        let daemon = self.home.start(&self.pair.edge);
        wait_for("no alarms", || self.home.json(&["status"])["alarms"] == serde_json::json!([]));
        daemon
    }

    /// A Postfix on `host` that takes mail for `recipients`, at `places` too.
    fn postfix(host: &Namespace, port: u16, places: &[&str], recipients: &[&str]) -> Postfix {
        let master: Vec<_> =
            places.iter().map(|place| format!("{place} inet n - n - - smtpd")).collect();
        let domains: BTreeSet<_> =
            recipients.iter().filter_map(|one| Some(one.split_once('@')?.1)).collect();
        let options = Options {
            port,
            domains: &domains.into_iter().collect::<Vec<_>>(),
            recipients,
            master: &master.join("\n"),
            main: "inet_interfaces = all\nsmtpd_peername_lookup = no\nrecipient_delimiter = +\n\
                   smtpd_authorized_xclient_hosts = 127.0.0.1, 10.77.0.1\n",
            resolv: None,
        };
        Postfix::start(host, &options)
    }

    /// Whether SYNs from there are dropped.
    fn drops(&self, source: &str, port: u16) -> bool {
        self.add(source);
        is_dropped(&self.pair.client, source.parse().expect("an address"), target(port))
    }

    /// Sends a message from `source`, and gives the last word about it.
    fn send(&self, source: &str, port: u16, sender: &str, recipient: &str) -> String {
        self.add(source);
        let source: IpAddr = source.parse().expect("an address");
        let mut client =
            Dialogue::open(&self.pair.client, source, target(port)).expect("a connection");
        assert!(client.line().expect("a greeting").starts_with("220 "));
        client.told("EHLO client.example");
        let told = client.told(&format!("MAIL FROM:<{sender}>"));
        if !told.starts_with("250 ") {
            return told;
        }
        let told = client.told(&format!("RCPT TO:<{recipient}>"));
        if !told.starts_with("250 ") {
            return told;
        }
        assert!(client.told("DATA").starts_with("354 "));
        client.told(&format!("Subject: from {sender}\r\n\r\nbody\r\n."))
    }

    /// Sends one with swaks and its further arguments.
    fn send_by_swaks(&self, more: &[&str]) {
        let common = ["--server", EDGE, "--helo", "client.example", "--body", "by swaks"];
        let output = swaks(&self.pair.client, &[&common, more].concat());
        assert!(output.status.success(), "swaks {more:?}: {}", said(&output));
    }

    /// Gives the client an address, if it has it not yet.
    fn add(&self, address: &str) {
        let ip = self.pair.client.command(mxdp_tests::peers::ip()).args(["-br", "addr"]).output();
        if !said(&ip.expect("ip(8)")).contains(&format!(" {address}/")) {
            self.pair.client.ip(&format!("addr add {address}/32 dev e1"));
        }
    }
}

fn target(port: u16) -> SocketAddr {
    SocketAddr::new(EDGE.parse().expect("an address"), port)
}

/// The cases of an example: source, port, sender, recipient, and how the reply begins.
type Cases<'a> = &'a [(&'a str, u16, &'a str, &'a str, &'a str)];

fn assert_replies(scene: &Scene, cases: Cases<'_>) {
    for (source, port, sender, recipient, expected) in cases {
        let reply = scene.send(source, *port, sender, recipient);
        assert!(
            reply.starts_with(expected),
            "{source}: {sender} to {recipient} at {port}: {reply}, not {expected}\n{}",
            scene.home.log()
        );
    }
}

fn small_office() {
    let scene = Scene::new("small-office", Some("mx.example.org"));
    let postfix = Scene::postfix(&scene.pair.edge, 2525, &[], &["bob@example.org"]);
    let _daemon = scene.start();
    assert_replies(
        &scene,
        &[
            (STRANGER, 25, "a@b.example", "bob@example.org", "250 "),
            (STRANGER, 25, "a@b.example", "nobody@example.org", "550 5.1.1 "),
            (STRANGER, 25, "a@b.example", "x@elsewhere.example", "554 5.7.1 "),
            (STRANGER, 25, "a@shop.win.example", "bob@example.org", "550 5.7.1 "),
            (STRANGER, 25, "a@fail.example", "bob@example.org", "550 5.7.23 "),
            (STRANGER, 25, "a@soft.example", "bob@example.org", "250 "),
            ("198.51.100.66", 25, "a@b.example", "bob@example.org", "550 5.7.1 "),
            ("198.51.100.7", 25, "a@b.example", "bob@example.org", "550 5.7.1 "),
            ("203.0.113.65", 25, "a@b.example", "bob@example.org", "250 "),
        ],
    );
    assert!(scene.drops("203.0.113.9", 25));
    scene.send_by_swaks(&["--tls", "--from", "a@b.example", "--to", "bob@example.org"]);
    let messages = postfix.wait_for(4);
    let texts: Vec<_> = messages.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    let marked = texts.iter().find(|text| text.contains("from a@soft.example")).expect("it");
    assert!(marked.contains("Received-SPF: softfail"), "{marked}");
    // XCLIENT tells Postfix the client's address.
    assert!(postfix.log().contains("[203.0.113.65]"), "{}", postfix.log());
}

fn isp() {
    let scene = Scene::new("isp", Some("mx.example.org"));
    let places = ["192.0.2.10:25", "192.0.2.11:25", "192.0.2.20:25", "192.0.2.30:25"];
    let recipients = ["bob@example.org", "hans@shop.example.net", "friend@elsewhere.example"];
    // The mail systems behind are elsewhere.
    for place in places {
        scene.add(place.trim_end_matches(":25"));
    }
    let postfix = Scene::postfix(&scene.pair.client, 2600, &places, &recipients);
    let _daemon = scene.start();
    assert_replies(
        &scene,
        &[
            (STRANGER, 25, "a@b.example", "bob+list@example.org", "250 "),
            (STRANGER, 25, "a@b.example", "nobody@example.org", "550 5.1.1 "),
            (STRANGER, 25, "a@b.example", "hans@shop.example.net", "250 "),
            (STRANGER, 25, "a@b.example", "nobody@shop.example.net", "550 5.1.1 "),
            (STRANGER, 25, "a@blocked.example", "bob@example.org", "550 5.7.1 "),
            (STRANGER, 25, "a@fail.example", "bob@example.org", "550 5.7.23 "),
            (STRANGER, 25, "a@bank.example", "bob@example.org", "530 5.7.0 "),
            ("198.51.100.66", 25, "a@b.example", "bob@example.org", "550 5.7.1 "),
            ("198.51.100.67", 25, "a@b.example", "bob@example.org", "450 4.7.1 "),
            // A list of good addresses speaks for it.
            ("198.51.100.68", 25, "a@b.example", "bob@example.org", "250 "),
            ("198.51.100.7", 25, "a@b.example", "bob@example.org", "550 5.7.1 "),
            // Customers: their own sender, another's, a stranger's, and a forged one.
            ("192.0.2.65", 587, "boss@acme.example", "friend@elsewhere.example", "250 "),
            ("192.0.2.65", 587, "boss@globex.example", "friend@elsewhere.example", "550 5.7.1 "),
            ("192.0.2.65", 587, "boss@other.example", "friend@elsewhere.example", "553 5.7.1 "),
            ("192.0.2.65", 587, "boss@acme.example", "x@nowhere.example", "550 5.1.2 "),
            (STRANGER, 587, "boss@acme.example", "friend@elsewhere.example", "554 5.7.1 "),
            (STRANGER, 25, "boss@acme.example", "bob@example.org", "550 5.7.1 "),
        ],
    );
    // A blocked country, a blocked network, and a host of it that SPF approves.
    assert!(scene.drops("175.45.177.1", 25));
    assert!(scene.drops("203.0.113.9", 25) && scene.drops("203.0.113.9", 587));
    wait_for("the networks of partner.example", || !scene.drops("203.0.113.200", 25));
    let to = ["--from", "a@bank.example", "--to", "bob@example.org"];
    scene.send_by_swaks(&[&["--tls", "--tls-protocol", "tlsv1_3"][..], &to].concat());
    assert_eq!(postfix.wait_for(5).len(), 5);
    // Nothing is in the log but JSON.
    for line in scene.home.log().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

fn filter_only() {
    let scene = Scene::new("filter-only", None);
    let place = format!("{EDGE}:25");
    let postfix = Scene::postfix(&scene.pair.edge, 2600, &[&place], &["bob@example.org"]);
    let daemon = scene.start();
    assert_replies(
        &scene,
        &[
            (STRANGER, 25, "a@b.example", "bob@example.org", "250 "),
            ("203.0.113.65", 25, "a@b.example", "bob@example.org", "250 "),
            (STRANGER, 25, "a@b.example", "nobody@example.org", "550 5.1.1 "),
        ],
    );
    for (blocked, reason) in [
        ("203.0.113.9", "blocked_ip"),
        ("175.45.177.1", "blocked_country"),
        ("198.51.100.7", "known_spam_source"),
    ] {
        assert!(scene.drops(blocked, 25), "{blocked}");
        assert!(daemon.frames(reason) > 0, "{reason}");
    }
    // Other ports are not looked at: the answer is a reset, for want of a listener.
    assert!(!scene.drops("203.0.113.9", 80));
    assert_eq!(postfix.wait_for(2).len(), 2);
}

fn outgoing_relay() {
    let scene = Scene::new("outgoing-relay", Some("relay.example.net"));
    let postfix = Scene::postfix(&scene.pair.edge, 2525, &[], &["friend@elsewhere.example"]);
    let _daemon = scene.start();
    let friend = "friend@elsewhere.example";
    assert_replies(
        &scene,
        &[
            ("192.0.2.65", 587, "boss@acme.example", friend, "250 "),
            ("192.0.2.65", 587, "boss@host.acme.example", friend, "250 "),
            ("192.0.2.65", 587, "boss@globex.example", friend, "550 5.7.1 "),
            ("192.0.2.65", 587, "boss@other.example", friend, "553 5.7.1 "),
            ("192.0.2.65", 587, "boss@acme.example", "x@nowhere.example", "550 5.1.2 "),
            ("192.0.2.81", 587, "boss@globex.example", friend, "250 "),
            ("192.0.2.99", 587, "boss@acme.example", friend, "554 5.7.1 "),
        ],
    );
    assert!(scene.drops("203.0.113.9", 587));
    let from = ["--local-interface", "192.0.2.65", "--from", "boss@acme.example", "--to", friend];
    scene.send_by_swaks(&[&["--tls", "--port", "587"][..], &from].concat());
    scene.send_by_swaks(&[&["--tlsc", "--port", "465"][..], &from].concat());
    assert_eq!(postfix.wait_for(5).len(), 5);
}
