//! Name servers, DNS lists and SPF.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::dns::{A, Nsd, TXT};
use mxdp_tests::peers::dns_relay::{DnsRelay, Fault};
use mxdp_tests::peers::relays::Sink;

/// Lists 198.51.100.66 and all of 10.0.0.0/8, and works.
const ZONE: &str = "2.0.0.127.bl.test. A 127.0.0.2\n66.100.51.198.bl.test. A 127.0.0.2\n\
                    *.10.bl.test. A 127.0.0.2\n1.1.0.127.bl.test. A 127.0.0.2\n\
                    fail.test. TXT \"v=spf1 -all\"\n";

const LIST: &str = "[[reputation.standard.zones]]\nname = \"bl.test\"\ncodes = [\"127.0.0.2\"]\n";

fn configure(dns: &str, more: &str) -> Host {
    let host = Host::new();
    for address in ["198.51.100.0/24", "10.0.0.1/24", "fd00::9/128", "::1/128"] {
        let flags = if address.contains(':') { "nodad" } else { "" };
        host.namespace.ip(&format!("addr replace {address} dev lo {flags}"));
    }
    let rest = format!(
        "[dns]\n{dns}timeout_ms = 400\nattempts = 1\n[reputation]\nbudget_ms = 1500\n\
         retry_interval = 1\n{LIST}{more}{}{}",
        domain("example.org", "main", ""),
        backend("main", 2600, "")
    );
    host.configure("", &rest);
    let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
    let listen = "smtp = [\"127.0.0.1:25\", \"[fd00::9]:25\", \"[::1]:25\"]";
    host.home.write("mxdp.toml", text.replace("smtp = [\"127.0.0.1:25\"]", listen));
    host
}

fn told(host: &Host, source: &str, sender: &str) -> String {
    let source: IpAddr = source.parse().expect("an address");
    let target = match source {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 25)),
        IpAddr::V6(source) => SocketAddr::from((source, 25)),
    };
    let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
    assert!(dialogue.line().expect("a greeting").starts_with("220 "));
    dialogue.told("EHLO client.example");
    dialogue.told(&format!("MAIL FROM:<{sender}>"));
    dialogue.told("RCPT TO:<bob@example.org>")
}

const SERVER: &str = "servers = [\"127.0.0.1:53\"]\n";

/// Addresses that mean something on this network only are nothing to ask the world about
/// (Haraka#1415, rspamd#3375).
#[test]
fn nobody_is_asked_about_this_host_and_private_networks() {
    let host = configure(SERVER, "[spf]\n");
    let _nsd = Nsd::start(&host.namespace, 5301, ZONE);
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let _daemon = host.start();
    wait_for("the list", || relay.asked("1.0.0.127.bl.test", A) > 0);
    for source in ["127.0.0.1", "127.0.1.1", "10.0.0.1", "10.0.0.9", "fd00::9", "::1"] {
        let told = told(&host, source, "a@fail.test");
        assert!(told.starts_with("250 "), "{source}: {told}");
    }
    assert_eq!(relay.asked("fail.test", TXT), 0, "{:?}", relay.questions());
    let asked = |end: &str| relay.questions().iter().any(|(name, _)| name.ends_with(end));
    assert!(!asked(".10.bl.test") && !asked(".10.in-addr.arpa"), "{:?}", relay.questions());
    assert!(told(&host, "198.51.100.1", "a@fail.test").starts_with("550 5.7.23 "));
    assert!(told(&host, "198.51.100.66", "a@none.test").starts_with("550 5.7.1 "));
    // By configuration, about private networks; never about this host.
    let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
    host.home.write("mxdp.toml", text.replace("[dns]\n", "[dns]\nprivate_clients = true\n"));
    _ = host.home.json(&["reload"]);
    assert!(told(&host, "10.0.0.9", "a@none.test").starts_with("550 5.7.1 "));
    assert!(told(&host, "fd00::9", "a@fail.test").starts_with("550 5.7.23 "));
    for source in ["127.0.1.1", "::1"] {
        assert!(told(&host, source, "a@fail.test").starts_with("250 "), "{source}");
    }
}

/// A source that fails between two checks refuses nobody, and nothing that it
/// said meanwhile is believed afterwards (sovereign#338, RFC 5782 section 5).
#[test]
fn a_list_that_begins_to_list_everybody_refuses_nobody() {
    let host = configure(SERVER, "");
    let _nsd = Nsd::start(&host.namespace, 5301, ZONE);
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    // The list is wrong from the start: it does not count before it was checked.
    let everybody = || Fault::Address([127, 0, 0, 2].into());
    relay.fault("bl.test", true, None, everybody());
    let _daemon = host.start();
    assert!(told(&host, "198.51.100.10", "a@none.test").starts_with("250 "));
    relay.mend();
    let works = || host.home.json(&["status"])["smtp"]["zones"][0]["disabled"].is_null();
    wait_for("the list", || {
        works() && told(&host, "198.51.100.66", "a@none.test").starts_with("550 ")
    });
    for (number, fault) in [
        (20, ("bl.test", true, everybody())),
        // The test entry that must be listed is gone: the list ends.
        (30, ("2.0.0.127.bl.test", false, Fault::Code(3))),
    ] {
        let (name, below, fault) = fault;
        relay.fault(name, below, None, fault);
        // The last look that found it right is more than some seconds old now, and the next
        // one by the clock minutes away.
        thread::sleep(Duration::from_secs(6));
        for more in 0..3 {
            let source = format!("198.51.100.{}", number + more);
            let told = told(&host, &source, "a@none.test");
            assert!(told.starts_with("250 "), "{source}: {told}");
        }
        let told_of_listed = told(&host, "198.51.100.66", "a@none.test");
        assert!(told_of_listed.starts_with("250 "), "{told_of_listed}");
        wait_for("the alarm", || {
            host.home.json(&["status"])["alarms"].to_string().contains("DNS list bl.test")
        });
        relay.mend();
        wait_for("its return", works);
        wait_for("its word", || told(&host, "198.51.100.66", "a@none.test").starts_with("550 "));
        for more in 0..3 {
            let source = format!("198.51.100.{}", number + more);
            let told = told(&host, &source, "a@none.test");
            assert!(told.starts_with("250 "), "remembered of {source}: {told}");
        }
    }
}

/// The system's own settings may change while the daemon runs, and that it says
/// nothing is said (pdns#6263).
#[test]
fn the_name_servers_of_the_system_are_followed() {
    let host = configure("", "");
    let _nsd = Nsd::start(&host.namespace, 5301, ZONE);
    host.namespace.ip("addr add 192.0.2.53/32 dev lo");
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    host.home.write("resolv.conf", "# none yet\n");
    // Another file in its place, for the daemon alone.
    let own = host.home.path("resolv.conf").display().to_string();
    let script = format!("mount --bind {own} /etc/resolv.conf && exec \"$@\"");
    let alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let _daemon = host.home.start_under(&alone, &host.namespace);
    let alarms = || host.home.json(&["status"])["alarms"].to_string();
    wait_for("the alarm", || alarms().contains("no name server is configured"));
    let mut check = host.namespace.command(alone[0]);
    check.args(&alone[1..]).arg(mxdp_tests::peers::mxdp()).arg("check").arg("-c");
    let said = check.arg(host.home.path("mxdp.toml")).output().expect("mxdp check");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(said.contains("no name server is configured"), "{said}");
    assert!(told(&host, "198.51.100.66", "a@none.test").starts_with("250 "));
    // The address of the relay, which asks the real server.
    let relay =
        DnsRelay::start_at(&host.namespace, Ipv4Addr::new(192, 0, 2, 53), 53, &[("", 5301)]);
    host.home.write("resolv.conf", "nameserver 192.0.2.53\n");
    wait_for("the end of the alarm", || !alarms().contains("no name server is configured"));
    wait_for("the list", || told(&host, "198.51.100.66", "a@none.test").starts_with("550 "));
    assert!(relay.asked("66.100.51.198.bl.test", A) > 0);
}

/// What is excused and what is not is said where it happens: an approval excuses an address,
/// and not whom it claims to send for.
#[test]
fn an_approved_client_that_spf_refuses_is_told_of_the_exemption() {
    let more = "[spf]\n[approved]\naddresses = [\"198.51.100.5\", \"198.51.100.66\"]\n";
    let host = configure(SERVER, more);
    let _nsd = Nsd::start(&host.namespace, 53, ZONE);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let _daemon = host.start();
    // Approved: no reputation. SPF goes on.
    assert!(told(&host, "198.51.100.66", "a@none.test").starts_with("250 "));
    assert!(told(&host, "198.51.100.5", "a@fail.test").starts_with("550 5.7.23 "));
    let said = "approves the client, which does not excuse SPF: spf.exempt does";
    wait_for("the rule", || host.home.log().contains(said));
    let config = host.home.path("mxdp.toml").display().to_string();
    let arguments = ["explain", "--ip", "198.51.100.5", "--from", "a@fail.test", "--rcpt"];
    let arguments = [&arguments[..], &["bob@example.org", "-c", &config]].concat();
    let output = host.home.mxdp(Some(&host.namespace), &arguments).output().expect("mxdp");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(said), "{text}");
}
