//! The outgoing relay: a host that has become an open relay is suspended, and nobody
//! else.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::{Host, backend};
use mxdp_tests::peers::clients::{said, smtp_source};
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::relays::Sink;
use nix::sys::signal::Signal;

const ZONE: &str = "a.test. MX 10 mx.a.test.\nmx.a.test. A 192.0.2.1\nb.test. A 192.0.2.2\n";

const CUSTOMERS: &str = "[[customer]]\nname = \"acme\"\nnetworks = [\"127.0.1.0/24\"]\n\
    domains = [\"acme.test\", \"*.acme.test\"]\n\
    [[customer]]\nname = \"neighbour\"\nnetworks = [\"127.0.2.0/24\"]\n\
    domains = [\"neighbour.test\"]\n";

fn host(limits: &str) -> (Host, Nsd, Sink) {
    host_of("127.0.0.1:587", limits, CUSTOMERS)
}

fn host_of(listen: &str, limits: &str, customers: &str) -> (Host, Nsd, Sink) {
    let host = Host::new();
    let nsd = Nsd::start(&host.namespace, 53, ZONE);
    let sink = Sink::start(&host.namespace, 2600, &[]);
    host.configure(
        "",
        &format!(
            "[dns]\nservers = [\"127.0.0.1:53\"]\n\
             [relay]\nlisten = [\"{listen}\"]\nbackend = \"out\"\n{limits}\n{customers}\
             [[domain]]\nnames = [\"ours.test\"]\nbackend = \"out\"\n{}",
            backend("out", 2600, "")
        ),
    );
    (host, nsd, sink)
}

fn open(host: &Host, source: &str) -> Dialogue {
    let source: IpAddr = source.parse().expect("an address");
    let target = if source.is_ipv4() { "127.0.0.1:587" } else { "[2001:db8:c::1]:587" };
    let target = target.parse().expect("an address");
    let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
    assert!(dialogue.line().expect("a line").starts_with("220 "));
    dialogue.told("EHLO host.test");
    dialogue
}

/// Sends a message, and gives the last word about it.
fn send(host: &Host, source: &str, sender: &str, recipient: &str) -> String {
    let mut dialogue = open(host, source);
    assert!(dialogue.told(&format!("MAIL FROM:<{sender}>")).starts_with("250 "));
    let told = dialogue.told(&format!("RCPT TO:<{recipient}>"));
    if !told.starts_with("250 ") {
        return told;
    }
    assert!(dialogue.told("DATA").starts_with("354 "));
    dialogue.told("Subject: x\r\n\r\nx\r\n.")
}

#[test]
fn an_open_relay_is_suspended_and_its_neighbours_are_not() {
    let limits = "recipients = 200\nsender_domains = 30\ninvalid_minimum = 20\nsuspension = 60";
    let (host, _nsd, _sink) = host(limits);
    let daemon = host.start();
    // Everybody sends as every day.
    for (source, sender) in [("127.0.1.1", "x@acme.test"), ("127.0.2.1", "x@neighbour.test")] {
        assert!(send(&host, source, sender, "bob@a.test").starts_with("250 "));
    }
    // A compromised host of acme sends to many recipients that do not exist.
    let mut told = String::new();
    for number in 0..60 {
        let domain =
            if number % 3 == 0 { "b.test".to_owned() } else { format!("x{number}.none.test") };
        told = send(&host, "127.0.1.66", "boss@acme.test", &format!("n{number}@{domain}"));
        if told.starts_with("450 4.7.1 ") {
            break;
        }
    }
    assert!(told.starts_with("450 4.7.1 127.0.1.66 is suspended"), "{told}");
    // Another of theirs sends from more domains than anybody has.
    for number in 0..40 {
        told = send(&host, "127.0.1.77", &format!("x@d{number}.acme.test"), "bob@a.test");
    }
    assert!(told.starts_with("450 4.7.1 127.0.1.77 is suspended"), "{told}");
    // And one just sends: a real client, in a hurry.
    let output = smtp_source(
        &host.namespace,
        &["-s", "5", "-m", "300", "-f", "x@acme.test", "-t", "bob@a.test", "127.0.0.1:587"],
    );
    // 127.0.0.1 is not a customer's host.
    assert!(said(&output).contains("554 5.7.1"), "{}", said(&output));
    // The others go on, of the same customer and of others.
    for (source, sender) in [("127.0.1.1", "x@acme.test"), ("127.0.2.1", "x@neighbour.test")] {
        assert!(send(&host, source, sender, "bob@a.test").starts_with("250 "), "{source}");
    }
    // Operators see it.
    let alarms = || host.home.json(&["status"])["alarms"].to_string();
    wait_for("the alarm", || alarms().contains("127.0.1.66 of acme is suspended from sending"));
    let list = host.home.json(&["relay", "list"]);
    assert_eq!(list[0]["reason"], "invalid_recipients", "{list}");
    assert_eq!(list[1]["reason"], "sender_domains", "{list}");
    // A restart keeps it, and its time.
    thread::sleep(Duration::from_millis(1200));
    daemon.end(Signal::SIGKILL);
    let _daemon = host.start();
    let kept = host.home.json(&["relay", "list"]);
    assert_eq!(kept.as_array().expect("a list").len(), 2, "{kept}");
    assert!(kept[0]["remaining_s"].as_u64().unwrap() < 60, "{kept}");
    assert!(send(&host, "127.0.1.66", "x@acme.test", "bob@a.test").starts_with("450 4.7.1 "));
    // Mail that comes in from it is another matter.
    let mut inbound = Dialogue::open(
        &host.namespace,
        "127.0.1.66".parse().expect("an address"),
        "127.0.0.1:25".parse().expect("an address"),
    )
    .expect("a connection");
    inbound.line().expect("a line");
    inbound.told("EHLO host.test");
    inbound.told("MAIL FROM:<x@else.test>");
    assert!(inbound.told("RCPT TO:<bob@ours.test>").starts_with("250 "));
    // Until an operator lets it back.
    assert_eq!(host.home.json(&["relay", "resume", "127.0.1.66"])[0]["customer"], "acme");
    assert!(send(&host, "127.0.1.66", "x@acme.test", "bob@a.test").starts_with("250 "));
    assert!(send(&host, "127.0.1.77", "x@acme.test", "bob@a.test").starts_with("450 "));
    _ = host.home.json(&["relay", "resume", "--customer", "acme"]);
    assert!(send(&host, "127.0.1.77", "x@acme.test", "bob@a.test").starts_with("250 "));
    assert!(!host.home.run(&["relay", "resume", "--all"]).status.success());
    wait_for("the end of the alarms", || alarms() == "[]");
}

#[test]
fn a_suspension_ends_by_itself() {
    let (host, _nsd, _sink) = host("recipients = 5\nsuspension = 2");
    let _daemon = host.start();
    for _ in 0..6 {
        assert!(send(&host, "127.0.1.1", "x@acme.test", "bob@a.test").starts_with("250 "));
    }
    let start = Instant::now();
    assert!(send(&host, "127.0.1.1", "x@acme.test", "bob@a.test").starts_with("450 "));
    wait_for("its end", || {
        send(&host, "127.0.1.1", "x@acme.test", "bob@a.test").starts_with("250 ")
    });
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
    // `explain` shows which hosts may send.
    let config = host.home.path("mxdp.toml").display().to_string();
    for (ip, from, decided) in [
        ("127.0.1.9", "x@acme.test", serde_json::Value::Null),
        ("127.0.9.9", "x@acme.test", "relay".into()),
        ("127.0.1.9", "x@neighbour.test", "sender".into()),
    ] {
        let arguments = ["explain", "--relay", "--ip", ip, "--from", from, "--rcpt", "bob@a.test"];
        let arguments = [&arguments[..], &["--json", "-c", &config]].concat();
        let mut command = host.home.mxdp(Some(&host.namespace), &arguments);
        let output = command.output().unwrap();
        let explained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(explained["decided_by"], decided, "{explained}");
    }
}

/// Several customers may be in one IPv6 /64: none answers for what another does.
#[test]
fn customers_in_one_network_do_not_suspend_each_other() {
    let (host, _nsd, _sink) = host_of(
        "[2001:db8:c::1]:587",
        "sender_domains = 10\nsuspension = 60",
        "[[customer]]\nname = \"acme\"\nnetworks = [\"2001:db8:c::a/128\"]\n\
         domains = [\"*.acme.test\"]\n\
         [[customer]]\nname = \"bravo\"\nnetworks = [\"2001:db8:c::b/128\"]\n\
         domains = [\"*.bravo.test\"]\n",
    );
    for address in ["2001:db8:c::1", "2001:db8:c::a", "2001:db8:c::b"] {
        host.namespace.ip(&format!("address add {address}/128 dev lo nodad"));
    }
    let daemon = host.start();
    let is_suspended = |source: &str, name: &str| {
        let told = send(&host, source, &format!("x@one.{name}.test"), "bob@a.test");
        assert!(told.starts_with("250 ") || told.contains("is suspended"), "{told}");
        !told.starts_with("250 ")
    };
    let (acme, bravo) = ("2001:db8:c::a", "2001:db8:c::b");
    let misbehave = |source: &str, name: &str| {
        for number in 0..12 {
            send(&host, source, &format!("x@d{number}.{name}.test"), "bob@a.test");
        }
    };
    misbehave(acme, "acme");
    assert!(is_suspended(acme, "acme") && !is_suspended(bravo, "bravo"));
    let list = host.home.json(&["relay", "list"]);
    assert_eq!((list.as_array().map(Vec::len), &list[0]["customer"]), (Some(1), &"acme".into()));
    // Both are suspended where both have earned it, also after a restart, and each is let
    // back by itself.
    misbehave(bravo, "bravo");
    assert!(is_suspended(bravo, "bravo"));
    thread::sleep(Duration::from_millis(1200));
    daemon.end(Signal::SIGKILL);
    let _daemon = host.start();
    assert!(is_suspended(acme, "acme") && is_suspended(bravo, "bravo"));
    let resumed = host.home.json(&["relay", "resume", acme, "--customer", "bravo"]);
    assert_eq!(
        (resumed.as_array().map(Vec::len), &resumed[0]["customer"]),
        (Some(1), &"bravo".into())
    );
    assert!(is_suspended(acme, "acme") && !is_suspended(bravo, "bravo"));
}
