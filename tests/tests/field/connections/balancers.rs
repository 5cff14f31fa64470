//! Load balancers in front, and backends that are told of the client by a PROXY header.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::Host;
use mxdp_tests::netns::connect;
use mxdp_tests::pace::lasting;
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::wrong::puppet::Strings;
use socket2::Socket;

use crate::stage::{alarms, domains, local, puppet, start};

const PORT: u16 = 2600;
const BALANCER: &str = "127.0.0.7";

fn connected(host: &Host, source: &str) -> Socket {
    let source: IpAddr = source.parse().expect("an address");
    host.namespace.run(|| connect(source, local(25), Duration::from_secs(5))).expect("connected")
}

/// A check of a balancer that sends nothing is not an error of anybody; a header that cannot
/// be read is one, and is said once and then counted. haproxy#1812.
#[test]
fn checks_that_send_nothing_are_counted_and_not_warned_of() {
    let host = Host::new();
    host.configure(
        &format!("proxy_networks = [\"{BALANCER}\"]"),
        &domains(&[("example.org", PORT, "")]),
    );
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let counts = || {
        let smtp = &host.home.json(&["status"])["smtp"];
        (smtp["balancer_checks"].as_u64(), smtp["bad_proxy_headers"].as_u64())
    };
    let log = || host.home.log();
    // By FIN, and by RST as HAProxy does.
    for number in 0..40 {
        let socket = connected(&host, BALANCER);
        if number % 2 == 1 {
            socket.set_linger(Some(Duration::ZERO)).expect("an option");
        }
    }
    wait_for("the checks to be counted", || counts() == (Some(40), Some(0)));
    assert!(!log().contains("PROXY header"), "{}", log());
    // A malformed header gives a warning, sampled.
    for text in ["GET / HTTP/1.0\r\n\r\n", "EHLO client.example\r\n", "PROXY TCP4 x\r\n", "PROXY T"]
    {
        for _ in 0..5 {
            let mut socket = connected(&host, BALANCER);
            socket.write_all(text.as_bytes()).expect("sent");
        }
    }
    wait_for("the headers to be counted", || counts() == (Some(40), Some(20)));
    assert_eq!(log().matches("PROXY header").count(), 1, "{}", log());
    // Others are not read so, and a check of theirs is nothing at all.
    for _ in 0..5 {
        drop(connected(&host, "127.0.0.8"));
    }
    let mut client = Dialogue::open(&host.namespace, BALANCER.parse().expect("one"), local(25))
        .expect("a connection");
    client.send(b"PROXY UNKNOWN\r\n");
    assert!(client.line().expect("a greeting").starts_with("220 "));
    assert_eq!(counts(), (Some(40), Some(20)));
}

/// What cannot become a header is refused without waiting for more, and what can is waited
/// for, in however many segments it comes. PROXY protocol section 2.
#[test]
fn a_header_that_cannot_come_is_not_waited_for() {
    let host = Host::new();
    host.configure(
        &format!("proxy_networks = [\"{BALANCER}\"]"),
        &domains(&[("example.org", PORT, "")]),
    );
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    for bytes in [
        &b"PROXY TCP4 203.0.113.7\r\n"[..],
        b"PROXY TCP4 203.0.113.7 192.0.2.25 40000\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 203.0.113.7\n",
        b"EHLO client.example\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &[b'P', b'R', b'O', b'X', b'Y', b' ', b'T'].repeat(20),
    ] {
        let mut socket = connected(&host, BALANCER);
        let began = Instant::now();
        socket.write_all(bytes).expect("sent");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        let mut rest = Vec::new();
        _ = socket.read_to_end(&mut rest);
        let lasted = began.elapsed();
        assert!(rest.is_empty(), "{}", bytes.escape_ascii());
        // Half of what it would be waited for.
        assert!(
            lasted < lasting(Duration::from_millis(2500)),
            "{}: {lasted:?}",
            bytes.escape_ascii()
        );
    }
    for header in [
        &b"PROXY TCP4 203.0.113.7 192.0.2.25 40000 25\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x19\x9c\x40\0\x19",
    ] {
        let mut socket = connected(&host, BALANCER);
        socket.set_tcp_nodelay(true).expect("an option");
        for byte in header {
            socket.write_all(&[*byte]).expect("sent");
            std::thread::sleep(Duration::from_millis(2));
        }
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        let mut greeting = [0; 4];
        socket.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting, b"220 ");
    }
}

/// A mail system that reads version 1 of the PROXY header only is told of the client by
/// that. Haraka#2601.
#[test]
fn a_backend_may_be_told_of_the_client_by_version_1() {
    let host = Host::new();
    host.namespace.ip("addr add 192.0.2.7/32 dev lo");
    host.namespace.ip("addr add 2001:db8::7/128 dev lo nodad");
    let options = Options {
        port: PORT,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        master: "127.0.0.1:2601 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy",
        main: "inet_protocols = all\ninet_interfaces = all\n",
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    let keys = "client_address = \"proxy_v1\"";
    host.configure("", &domains(&[("example.org", 2601, keys), ("strict.example", 2602, keys)]));
    let text = std::fs::read_to_string(host.home.path("mxdp.toml")).expect("the configuration");
    let both = text.replace("[\"127.0.0.1:25\"]", "[\"127.0.0.1:25\", \"[2001:db8::7]:25\"]");
    host.home.write("mxdp.toml", both);
    // This one answers only what begins so.
    let strict = puppet(
        &host,
        2602,
        Strings { proxied: true, ..Strings::default() }
            .reply("PROXY TCP", "220 puppet.example ESMTP\r\n")
            .reply("\r\n", "CLOSE"),
    );
    let _daemon = start(&host);
    let six: SocketAddr = "[2001:db8::7]:25".parse().expect("an address");
    for (source, target) in [("192.0.2.7", local(25)), ("2001:db8::7", six)] {
        let source = source.parse().expect("an address");
        for domain in ["example.org", "strict.example"] {
            let mut client = Dialogue::open(&host.namespace, source, target).expect("a connection");
            assert!(client.line().expect("a greeting").starts_with("220 "));
            client.told("EHLO client.example");
            client.told("MAIL FROM:<a@client.example>");
            let reply = client.told(&format!("RCPT TO:<bob@{domain}>"));
            assert!(reply.starts_with("250 "), "{reply}\n{}", postfix.log());
            assert!(client.told("DATA").starts_with("354 "));
            assert!(client.told("Subject: s\r\n\r\nx\r\n.").starts_with("250 "));
        }
    }
    assert_eq!(postfix.wait_for(2).len(), 2);
    let log = postfix.log();
    assert!(log.contains("client=unknown[192.0.2.7]"), "{log}");
    assert!(log.contains("[2001:db8::7]"), "{log}");
    let lines = strict.lines();
    let is_header = |line: &&String| line.starts_with("PROXY ");
    assert!(lines.iter().any(|line| line.starts_with("PROXY TCP4 192.0.2.7 127.0.0.1 ")));
    assert!(lines.iter().any(|line| line.starts_with("PROXY TCP6 2001:db8::7 2001:db8::7 ")));
    // Looks of our own have our own addresses, since not everybody reads UNKNOWN.
    assert!(lines.iter().filter(is_header).all(|line| line.split(' ').count() == 6), "{lines:?}");
    assert_eq!(alarms(&host), "[]");
}
