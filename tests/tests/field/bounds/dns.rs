//! What senders can make name servers say, and what that costs others.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::limits::MemoryGroup;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::pace::{lasting, share};
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::dns_relay::{DnsRelay, Fault};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::resources::Held;

/// A client, of 250 in each of 250 networks.
fn client(number: usize) -> IpAddr {
    let byte = |number: usize| u8::try_from(number % 250).expect("small") + 1;
    Ipv4Addr::new(198, 18, byte(number / 250), byte(number)).into()
}

fn open(host: &Host, source: IpAddr) -> Result<Dialogue, String> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let mut dialogue = Dialogue::open(&host.namespace, source, target)?;
    let greeting = dialogue.line()?;
    if !greeting.starts_with("220 ") {
        return Err(greeting);
    }
    dialogue.say("EHLO client.example")?;
    Ok(dialogue)
}

/// The reply to a recipient of a sender, in an open session.
fn told(dialogue: &mut Dialogue, sender: &str) -> String {
    dialogue.told(&format!("MAIL FROM:<{sender}>"));
    let told = dialogue.told("RCPT TO:<bob@example.org>");
    dialogue.told("RSET");
    told
}

/// The same, of a session that may end.
fn ask(dialogue: &mut Dialogue, sender: &str) -> Result<String, String> {
    dialogue.say(&format!("MAIL FROM:<{sender}>"))?;
    let told = dialogue.say("RCPT TO:<bob@example.org>")?;
    dialogue.say("RSET")?;
    Ok(told)
}

/// A host that checks SPF, whose name server has these records beside its own.
fn host(more: &str) -> Host {
    let host = Host::new();
    host.namespace.ip("addr add 198.18.0.0/16 dev lo");
    let rest = format!(
        "[dns]\nservers = [\"127.0.0.1:53\"]\ntimeout_ms = 2000\nattempts = 1\n[spf]\n\
         permerror = \"refuse\"\n[smtp]\nerrors = 1000\nconnections_per_address = 1000\n\
         [escalation]\nabuse.count = 0\nflood.count = 0\n{}{}{more}",
        domain("example.org", "main", ""),
        backend("main", 2600, "")
    );
    host.configure("", &rest);
    host
}

/// A text of a number of bytes, as in a zone file.
fn long_text(start: &str, octets: usize) -> String {
    let mut text = start.as_bytes().to_vec();
    text.resize(octets, b'x');
    let parts = text.chunks(250).map(|part| format!(" \"{}\"", String::from_utf8_lossy(part)));
    parts.collect()
}

/// What strangers choose the size of is bounded in bytes: answers of their name servers
/// take neither the memory nor the service of others (RFC 7208 section 3.4).
#[test]
fn answers_of_name_servers_take_a_bounded_memory() {
    const LIMIT: u64 = 150 << 20;
    let mut zone = format!("*.a.test. 86400 TXT{}\n", long_text("v=spf1 unknown=", 60_000));
    let includes: String = (0..10).map(|number| format!(" include:i{number}.a.test")).collect();
    for number in 0..300 {
        _ = writeln!(zone, "d{number}.test. 86400 TXT \"v=spf1{includes}\"");
        _ = writeln!(zone, "d{number}.test. 86400 TXT{}", long_text("x", 30_000));
    }
    let host = host("");
    let _nsd = Nsd::start(&host.namespace, 53, &zone);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let group = MemoryGroup::new(LIMIT);
    let script = format!("echo $$ > {} && exec \"$@\"", group.processes().display());
    let daemon = host.home.start_under(&["sh", "-c", &script, "sh"], &host.namespace);
    let mut attacker = open(&host, client(0)).expect("a session");
    told(&mut attacker, "a@none.test");
    let before = Held::by(daemon.pid()).resident;
    for number in 0..share(300) {
        let told = told(&mut attacker, &format!("a@d{number}.test"));
        assert!(told.starts_with("550 5.7.23 "), "{number}: {told}");
    }
    let grown = Held::by(daemon.pid()).resident.saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB stay", grown >> 20);
    assert!(group.used() < LIMIT / 2 && group.killed() == 0);
    let mut other = open(&host, client(1000)).expect("a session of somebody else");
    assert!(told(&mut other, "a@none.test").starts_with("250 "));
}

/// The work that strangers can cause is bounded as a whole, and done beside the threads
/// that move bytes: their records slow nobody else down.
#[test]
fn an_evaluation_of_spf_has_a_bound_and_slows_nobody_down() {
    let mut zone = String::new();
    for number in 0..11 {
        let mut record = format!("v=spf1 include:n{}.test", number + 1);
        if number == 10 {
            "v=spf1".clone_into(&mut record);
        }
        for term in 0..990 {
            _ = write!(record, " ip4:192.0.{}.{}", term / 250, term % 250);
        }
        let parts: String = record
            .as_bytes()
            .chunks(250)
            .map(|part| format!(" \"{}\"", String::from_utf8_lossy(part)))
            .collect();
        _ = writeln!(zone, "n{number}.test. TXT{parts}");
    }
    let host = host("");
    let _nsd = Nsd::start(&host.namespace, 53, &zone);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let daemon = host.start();
    let mut first = open(&host, client(0)).expect("a session");
    let refused = told(&mut first, "a@n0.test");
    assert!(refused.starts_with("550 5.7.23 "), "{refused}");
    wait_for("the record", || host.home.log().contains("spf=\"permerror\""));
    let rule = host.home.log();
    assert!(rule.contains("more than 2000 terms") || rule.contains("octets"), "{rule}");
    // Nothing of it stays with a session that is idle.
    let before = Held::by(daemon.pid()).resident;
    let mut idle: Vec<_> =
        (0..60).map(|number| open(&host, client(number + 1)).expect("a session")).collect();
    for session in &mut idle {
        session.told("MAIL FROM:<a@n0.test>");
        session.told("RCPT TO:<bob@example.org>");
    }
    let grown = Held::by(daemon.pid()).resident.saturating_sub(before);
    assert!(grown < 24 << 20, "{} MiB for 60 sessions", grown >> 20);
    // Many sessions of one network ask for it all the time; another's waits for none.
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            let (host, ended) = (&host, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let Ok(mut session) = open(host, client(9)) else { continue };
                    // It is ended after too many errors, and comes again.
                    while !ended.load(Ordering::Relaxed) && ask(&mut session, "a@n0.test").is_ok() {
                    }
                }
            });
        }
        let mut other = open(&host, client(999)).expect("a session");
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let start = Instant::now();
            assert!(told(&mut other, "a@none.test").starts_with("250 "));
            slowest = slowest.max(start.elapsed());
        }
        ended.store(true, Ordering::Relaxed);
        assert!(slowest < lasting(Duration::from_secs(1)), "{slowest:?}");
    });
}

/// Queries that everybody needs have slots that strangers cannot use: senders with slow name
/// servers do not switch DNS lists off.
#[test]
fn senders_with_slow_name_servers_do_not_switch_dns_lists_off() {
    let host = host(
        "[reputation]\nbudget_ms = 5000\n[[reputation.standard.zones]]\nname = \"bl.test\"\n\
         codes = [\"127.0.0.2\"]\n",
    );
    let zone = "2.0.0.127.bl.test. A 127.0.0.2\n*.18.198.bl.test. A 127.0.0.2\n";
    let _nsd = Nsd::start(&host.namespace, 5301, zone);
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    relay.fault("slow.test", true, None, Fault::Drop);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    // So many descriptors permit 24 questions at once.
    let limited = ["prlimit", "--nofile=600:600", "--"];
    let text = std::fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
    let approved = "[approved]\naddresses = [\"198.18.1.0/24\", \"198.18.2.0/24\"]\n";
    host.home.write("mxdp.toml", format!("{text}{approved}"));
    let _daemon = host.home.start_under(&limited, &host.namespace);
    wait_for("the list to be used", || {
        let status = host.home.json(&["status"]);
        status["smtp"]["zones"][0]["disabled"].is_null()
    });
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        // Approved clients are not asked about; their senders are, and slowly.
        for number in 0..120 {
            let (host, ended) = (&host, &ended);
            scope.spawn(move || {
                let mut session = open(host, client(number * 2)).expect("a session");
                for round in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    if ask(&mut session, &format!("a@{number}-{round}.slow.test")).is_err() {
                        break;
                    }
                }
            });
        }
        wait_for("questions", || relay.questions().len() > 40);
        for number in 1000..1010 {
            let mut listed = open(&host, client(number)).expect("a session");
            let told = told(&mut listed, "a@none.test");
            assert!(told.starts_with("550 5.7.1 "), "{number}: {told}");
        }
        ended.store(true, Ordering::Relaxed);
    });
}

/// Queries for customers' mail have slots that strangers cannot use: senders with slow name
/// servers keep nobody's outgoing mail away.
#[test]
fn senders_with_slow_name_servers_do_not_stop_outgoing_mail() {
    let host = host(
        "[relay]\nlisten = [\"127.0.0.1:587\"]\nbackend = \"main\"\n[[customer]]\n\
         name = \"acme\"\nnetworks = [\"127.0.1.0/24\"]\ndomains = [\"acme.test\"]\n",
    );
    let mut zone = String::new();
    for number in 0..10 {
        _ = writeln!(zone, "r{number}.test. MX 10 mx.r{number}.test.");
    }
    let _nsd = Nsd::start(&host.namespace, 5301, &zone);
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    relay.fault("slow.test", true, None, Fault::Drop);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    // So many descriptors permit 24 questions of senders and lists at once.
    let limited = ["prlimit", "--nofile=600:600", "--"];
    let _daemon = host.home.start_under(&limited, &host.namespace);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..80 {
            let (host, ended) = (&host, &ended);
            scope.spawn(move || {
                let mut session = open(host, client(number * 2)).expect("a session");
                for round in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    if ask(&mut session, &format!("a@{number}-{round}.slow.test")).is_err() {
                        break;
                    }
                }
            });
        }
        wait_for("questions", || relay.questions().len() > 40);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 587));
        let customer = Ipv4Addr::new(127, 0, 1, 1).into();
        for number in 0..10 {
            let mut customer =
                Dialogue::open(&host.namespace, customer, target).expect("a connection");
            assert!(customer.line().expect("a line").starts_with("220 "));
            customer.told("EHLO host.test");
            assert!(customer.told("MAIL FROM:<x@acme.test>").starts_with("250 "));
            let told = customer.told(&format!("RCPT TO:<bob@r{number}.test>"));
            assert!(told.starts_with("250 "), "{number}: {told}");
        }
        ended.store(true, Ordering::Relaxed);
    });
}
