//! DNS lists: real ones by rbldnsd, through a relay that does wrong when told to.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::dns::{A, Rbldnsd, TXT, Zone, ask};
use mxdp_tests::peers::dns_relay::{DnsRelay, Fault};
use mxdp_tests::peers::relays::Sink;

const ZONES: &[Zone<'_>] = &[
    Zone {
        name: "std.example",
        kind: "ip4set",
        data: ":127.0.0.2:Listed, see http://std.example/$\n127.0.0.2\n198.51.100.1\n198.51.100.9\n\
               198.51.100.30 :127.0.0.10:policy\n198.51.100.31 :127.255.255.254:refused\n\
               198.51.100.32 :127.0.0.77:what is this\n198.51.100.33 :203.0.113.1:parked\n",
    },
    Zone { name: "std.example", kind: "ip6trie", data: ":127.0.0.2:Listed\n2001:db8:1::/48\n" },
    Zone {
        name: "dyn.example",
        kind: "ip4set",
        data: ":127.0.0.2:dynamic\n127.0.0.2\n198.51.100.2\n198.51.100.4\n198.51.100.9\n198.51.100.40\n",
    },
    Zone {
        name: "more.example",
        kind: "ip4set",
        data: ":127.0.0.4:more\n127.0.0.2\n198.51.100.3\n198.51.100.4\n",
    },
    Zone {
        name: "good.example",
        kind: "ip4set",
        data: ":127.0.5.1:good\n127.0.0.2\n198.51.100.1\n198.51.100.4\n",
    },
];

const CONFIGURATION: &str = r#"
[dns]
servers = ["127.0.0.1:53"]
timeout_ms = 400
attempts = 1
[reputation]
budget_ms = 1500
control_interval = 2
retry_interval = 1
[[reputation.standard.zones]]
name = "std.example"
codes = ["127.0.0.2-127.0.0.4"]
ignored = ["127.0.0.10-127.0.0.11"]
txt = true
[[reputation.standard.zones]]
name = "good.example"
codes = ["127.0.5.0-127.0.5.255"]
weight = -20
[[reputation.dynamic.zones]]
name = "dyn.example"
codes = ["127.0.0.2"]
[[reputation.dynamic.zones]]
name = "more.example"
codes = ["&0.0.0.4"]
weight = 5
[[reputation.dynamic.zones]]
name = "good.example"
codes = ["127.0.5.0-127.0.5.255"]
weight = -5
[escalation]
reputation.count = 3
first = 60
[approved]
addresses = ["198.51.100.9"]
[senders]
approved = ["friend@example.net"]
blocked = ["*@blocked.example"]
"#;

struct World {
    lists: Rbldnsd,
    relay: DnsRelay,
    _sink: Sink,
    host: Host,
}

impl World {
    fn new(more: &str) -> Self {
        let host = Host::new();
        for address in [
            "2001:db8:1::5/128",
            "2001:db8:2::5/128",
            "2001:db8::25/128",
            "198.51.100.0/24",
            "198.18.0.0/16",
        ] {
            host.namespace.ip(&format!("addr add {address} dev lo nodad"));
        }
        let lists = Rbldnsd::start(&host.namespace, 5300, ZONES);
        let relay = DnsRelay::start(&host.namespace, 53, &[("", 5300)]);
        let sink = Sink::start(&host.namespace, 2600, &[]);
        let listen = "smtps = []\n";
        let rest = format!(
            "{CONFIGURATION}{}{}{more}",
            domain("example.org", "main", ""),
            backend("main", 2600, "")
        );
        host.configure(listen, &rest);
        let text = std::fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
        host.home.write(
            "mxdp.toml",
            text.replace(
                "smtp = [\"127.0.0.1:25\"]",
                "smtp = [\"127.0.0.1:25\", \"[2001:db8::25]:25\"]",
            ),
        );
        Self { lists, relay, _sink: sink, host }
    }

    fn start(&self) -> Daemon<'_> {
        self.host.start()
    }

    fn open(&self, source: &str) -> Dialogue {
        let source: IpAddr = source.parse().expect("an address");
        let target = if source.is_ipv4() { "127.0.0.1:25" } else { "[2001:db8::25]:25" };
        let mut dialogue =
            Dialogue::open(&self.host.namespace, source, target.parse().expect("an address"))
                .expect("a connection");
        assert!(dialogue.line().expect("a line").starts_with("220 "));
        dialogue.told("EHLO client.example");
        dialogue
    }

    /// What a client's recipient is told.
    fn told_from(&self, source: &str, sender: &str) -> String {
        let mut dialogue = self.open(source);
        assert!(dialogue.told(&format!("MAIL FROM:<{sender}>")).starts_with("250 "));
        dialogue.told("RCPT TO:<bob@example.org>")
    }

    fn told(&self, source: &str) -> String {
        self.told_from(source, "a@example.net")
    }

    fn alarms(&self) -> String {
        self.host.home.json(&["status"])["alarms"].to_string()
    }

    fn zone(&self, name: &str) -> serde_json::Value {
        let status = self.host.home.json(&["status"]);
        let zones = status["smtp"]["zones"].as_array().expect("a list");
        zones.iter().find(|zone| zone["zone"] == name).expect("the zone").clone()
    }
}

#[test]
fn what_lists_say_is_what_clients_are_told() {
    let world = World::new("");
    let _daemon = world.start();
    let starts = |source: &str, expected: &str| {
        let told = world.told(source);
        assert!(told.starts_with(expected), "{source}: {told}");
    };
    // On no list.
    starts("198.51.100.77", "250 ");
    starts("2001:db8:2::5", "250 ");
    // The standard list alone would refuse; the good one outweighs it.
    starts("198.51.100.1", "250 ");
    // Dynamic.
    starts(
        "198.51.100.2",
        "450 4.7.1 198.51.100.2 is currently listed as a source of spam, try again later; reference ",
    );
    // Not heavy enough alone.
    starts("198.51.100.3", "250 ");
    // 10 + 5 - 5.
    starts("198.51.100.4", "450 4.7.1 ");
    // IPv6.
    starts(
        "2001:db8:1::5",
        "550 5.7.1 2001:db8:1::5 is listed as a source of spam: Listed; reference ",
    );
    // Answers that are ignored, or errors.
    starts("198.51.100.30", "250 ");
    for (source, alarm) in [
        ("198.51.100.31", "answers 127.255.255.254"),
        ("198.51.100.32", "answers 127.0.0.77, which no code of it names"),
        ("198.51.100.33", "answers 203.0.113.1"),
    ] {
        starts(source, "250 ");
        wait_for("the alarm", || world.alarms().contains(alarm));
    }
    // Approved clients are not queried, approved senders are excused, blocked ones are not.
    starts("198.51.100.9", "250 ");
    assert_eq!(world.relay.asked("9.100.51.198.std.example", A), 0);
    assert!(world.told_from("198.51.100.40", "friend@example.net").starts_with("250 "));
    assert!(world.told_from("198.51.100.40", "x@blocked.example").starts_with("550 5.7.1 <x@"));
    assert!(world.told_from("198.51.100.9", "x@blocked.example").starts_with("550 5.7.1 <x@"));
    // Explained, live and from the files, as told.
    for live in [false, true] {
        let config = world.host.home.path("mxdp.toml").display().to_string();
        let mut arguments = vec!["explain", "--ip", "198.51.100.2", "--from", "a@example.net"];
        arguments.extend(["--rcpt", "bob@example.org", "--json"]);
        arguments.extend(if live { vec!["--live"] } else { vec!["-c", &config] });
        let output =
            world.host.home.mxdp(Some(&world.host.namespace), &arguments).output().unwrap();
        let explained: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(explained["decided_by"], "reputation", "{explained}");
    }
    let record = "reputation=\"good.example 127.0.5.1 -20, dyn.example 127.0.0.2 +10, \
                  more.example 127.0.0.4 +5, good.example 127.0.5.1 -5\"";
    wait_for("the record", || world.host.home.log().contains(record));
}

#[test]
fn lookups_are_shared_and_remembered() {
    let world = World::new("");
    let _daemon = world.start();
    world.relay.fault("std.example", true, None, Fault::Delay(Duration::from_millis(300)));
    let name = "50.100.51.198.std.example";
    // Many connections of one address at once ask once.
    let mut open: Vec<_> = (0..20).map(|_| world.open("198.51.100.50")).collect();
    for dialogue in &mut open {
        dialogue.told("MAIL FROM:<a@example.net>");
        assert!(dialogue.told("RCPT TO:<bob@example.org>").starts_with("250 "));
    }
    assert_eq!(world.relay.asked(name, A), 1, "{:?}", world.relay.questions());
    // The negative answer is remembered too.
    assert!(world.told("198.51.100.50").starts_with("250 "));
    assert_eq!(world.relay.asked(name, A), 1);
    // They begin when the connection does: nothing of the delay is left at RCPT.
    let mut dialogue = world.open("198.51.100.51");
    thread::sleep(Duration::from_millis(500));
    dialogue.told("MAIL FROM:<a@example.net>");
    let start = Instant::now();
    assert!(dialogue.told("RCPT TO:<bob@example.org>").starts_with("250 "));
    assert!(start.elapsed() < Duration::from_millis(280), "{:?}", start.elapsed());
    // The text is queried only if it is needed.
    assert_eq!(world.relay.asked(name, TXT), 0);
}

/// Whatever name servers do, mail flows; faults raise an alarm that ends with them.
#[test]
fn faults_of_name_servers_cost_no_mail() {
    let mut world = World::new("");
    let _daemon = world.start();
    let works = |world: &World, zone: &str| world.zone(zone)["disabled"].is_null();
    for zone in ["std.example", "dyn.example", "more.example", "good.example"] {
        wait_for("the first look", || works(&world, zone));
    }
    let mut source = 0;
    let mut next = || {
        source += 1;
        format!("198.18.{}.{}", source / 200, 1 + source % 200)
    };
    // A listing is seen all the while by the lists that work: a new address each
    // time, so that nothing is remembered.
    for fault in [
        Fault::Drop,
        Fault::Code(2),
        Fault::Code(5),
        Fault::Garbage,
        Fault::WrongId,
        Fault::Delay(Duration::from_millis(2500)),
        // Lies: the test entry is not listed; everything is.
        Fault::Code(3),
        Fault::Address([127, 0, 0, 2].into()),
        Fault::Address([127, 255, 255, 254].into()),
        Fault::Address([203, 0, 113, 9].into()),
    ] {
        world.relay.fault("dyn.example", true, None, fault.clone());
        wait_for(&format!("{fault:?} to be seen"), || {
            // Mail that arrives meanwhile is accepted in time.
            let start = Instant::now();
            let lies = matches!(&fault, Fault::Address(address) if address.octets()[0] == 127 && address.octets()[3] == 2);
            let told = world.told(&next());
            assert!(told.starts_with("250 ") || lies, "{fault:?}: {told}");
            assert!(start.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", start.elapsed());
            !works(&world, "dyn.example")
        });
        wait_for("the alarm", || world.alarms().contains("DNS list dyn.example: is not used"));
        // Now it is not queried, and nobody waits or is refused.
        let start = Instant::now();
        let told = world.told(&next());
        assert!(told.starts_with("250 "), "{fault:?}: {told}");
        assert!(start.elapsed() < Duration::from_secs(1), "{fault:?}: {:?}", start.elapsed());
        world.relay.mend();
        wait_for("its return", || works(&world, "dyn.example"));
        wait_for("the end of the alarm", || !world.alarms().contains("dyn.example"));
        assert!(world.told("198.51.100.2").starts_with("450 "), "{fault:?}");
        _ = world.host.home.run(&["temp", "remove", "198.51.100.2"]);
    }
    // Too long for UDP: queried by TCP, with the same answer.
    world.relay.fault("std.example", true, None, Fault::Truncate);
    assert!(world.told("2001:db8:1::5").starts_with("550 "));
    assert!(world.relay.over_tcp() > 0);
    assert!(works(&world, "std.example"));
    world.relay.mend();
    // The servers are gone altogether, and come back.
    world.lists.end();
    wait_for("the end of all", || !works(&world, "std.example") && !works(&world, "good.example"));
    assert!(world.told(&next()).starts_with("250 "));
    let namespace = &world.host.namespace;
    world.lists.begin(namespace);
    wait_for("the return of all", || {
        ["std.example", "dyn.example", "more.example", "good.example"]
            .iter()
            .all(|zone| works(&world, zone))
    });
    assert!(ask(&world.host.namespace, 53, "2.0.0.127.std.example", A).is_some());
    _ = world.host.home.run(&["temp", "remove", "198.51.100.2"]);
    assert!(world.told("198.51.100.2").starts_with("450 "));
}

#[test]
fn actions_keys_and_levels() {
    let world = World::new("");
    let _daemon = world.start();
    let text = std::fs::read_to_string(world.host.home.path("mxdp.toml")).unwrap();
    let with = |change: &dyn Fn(&str) -> String| {
        world.host.home.write("mxdp.toml", change(&text));
        _ = world.host.home.json(&["reload"]);
        _ = world.host.home.run(&["temp", "remove", "198.51.100.2"]);
        world.told("198.51.100.2")
    };
    let dynamic =
        |keys: &'static str| move |text: &str| format!("{text}\n[reputation.dynamic]\n{keys}\n");
    for (level, starts) in [(0, "250 "), (1, "250 "), (2, "450 "), (3, "450 "), (4, "450 ")] {
        let keys = format!("level = {level}");
        let told = with(&|text| format!("{text}\n[reputation.dynamic]\n{keys}\n"));
        assert!(told.starts_with(starts), "level {level}: {told}");
    }
    assert!(with(&dynamic("action = \"log\"")).starts_with("250 "));
    assert!(
        with(&dynamic("action = \"close\""))
            .starts_with("421 4.7.1 198.51.100.2 is currently listed")
    );
    let own = with(&dynamic("code = 554\ntext = \"is not welcome\""));
    assert!(own.starts_with("554 5.7.1 198.51.100.2 is not welcome; reference "), "{own}");
    // The account's key is in the query and nowhere else.
    world.host.home.write("key", "s3cr3tkey\n");
    world.relay.fault("s3cr3tkey.dyn.example", true, None, Fault::Address([127, 0, 0, 2].into()));
    world.relay.fault("1.0.0.127.s3cr3tkey.dyn.example", false, None, Fault::Code(3));
    let keyed = |text: &str| {
        text.replace("name = \"dyn.example\"\n", "name = \"dyn.example\"\nkey_file = \"key\"\n")
    };
    assert!(with(&keyed).starts_with("450 "));
    assert!(world.relay.asked("2.100.51.198.s3cr3tkey.dyn.example", A) > 0);
    let status = world.host.home.json(&["status"]).to_string();
    assert!(!world.host.home.log().contains("s3cr3tkey") && !status.contains("s3cr3tkey"));
    // Without standard reputation, blocked addresses may count for nothing.
    let compatible = |text: &str| {
        let start = text.find("[[reputation.standard.zones]]").unwrap();
        let end = text.find("[[reputation.dynamic.zones]]").unwrap();
        let blocked =
            "[blocked]\naddresses = [\"198.51.100.0/24\"]\n[reputation]\ners_compatible = true\n";
        format!("{}{}", &text[..start], &text[end..]).replace("[reputation]\n", blocked)
    };
    assert!(
        with(&compatible)
            .starts_with("450 4.7.1 198.51.100.2 is currently listed as a source of spam")
    );
    assert!(world.told("198.51.100.77").starts_with("250 "));
}
