//! How long a client is waited for.

use std::time::{Duration, Instant};

use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::Host;
use mxdp_tests::pace::lasting;
use mxdp_tests::wrong::client::Client;
use mxdp_tests::wrong::puppet::Strings;

use crate::stage::{domains, greeted, in_data, local, puppet, start, told, with_recipient};

const PORT: u16 = 2600;

/// No state in which a client is waited for lasts longer than its time-out, whatever the
/// client has announced. RFC 5321 section 4.5.3.2.
#[test]
fn every_wait_for_a_client_has_an_end() {
    let host = Host::new();
    let limits = "[smtp]\ncommand_timeout = 2\ndata_timeout = 2\nconnections_per_address = 1000\n";
    host.configure(
        "proxy_networks = [\"127.0.0.7\"]",
        &format!("{limits}[tls]\nself_signed = true\n{}", domains(&[("example.org", PORT, "")])),
    );
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let namespace = &host.namespace;
    let announced = |bytes: &[u8], has_recipient: bool| {
        let mut client = match has_recipient {
            true => with_recipient(namespace, "bob@example.org"),
            false => greeted(namespace),
        };
        client.send(bytes).expect("sent");
        client
    };
    let mut waiting: Vec<(&str, Client)> = vec![
        ("the first command", {
            let mut client = namespace.run(|| Client::connect(local(25))).expect("connected");
            assert_eq!(client.reply().expect("a greeting").0, 220);
            client
        }),
        ("a command", greeted(namespace)),
        ("the end of a command", announced(b"NOO", false)),
        ("the next command of a transaction", announced(b"", true)),
        ("a chunk without MAIL", announced(b"BDAT 52428800\r\n", false)),
        ("the rest of a chunk without MAIL", announced(b"BDAT 52428800 LAST\r\nabc", false)),
        ("a chunk", announced(b"BDAT 52428800\r\n", true)),
        ("the rest of a chunk", announced(b"BDAT 52428800 LAST\r\nabc", true)),
        ("a chunk after one that was refused", {
            let mut client = announced(b"BDAT 3 LAST\r\na\0b", true);
            assert_eq!(client.reply().expect("a reply").0, 550);
            client
        }),
        ("the next chunk", {
            let mut client = announced(b"BDAT 3\r\nabc", true);
            assert_eq!(client.reply().expect("a reply").0, 250);
            client
        }),
        ("a message", in_data(namespace, "bob@example.org")),
        ("the rest of a message", {
            let mut client = in_data(namespace, "bob@example.org");
            client.send(b"Subject: s\r\n\r\nx\r\n.").expect("sent");
            client
        }),
    ];
    let began = Instant::now();
    for (what, client) in &mut waiting {
        let last = client.rest().pop();
        let lasted = began.elapsed();
        if *what != "a chunk after one that was refused" {
            let (code, reply) = last.unwrap_or_else(|| panic!("{what}: nothing is said"));
            assert!(code == 421 && reply.starts_with("421 4.4.2 "), "{what}: {reply}");
        }
        // It began before the others, and lasts 2 s, and 2 s more to read the reply.
        assert!(lasted < lasting(Duration::from_secs(9)), "{what}: {lasted:?}");
    }
}

/// mxdp waits for the configured data timeout, also above a minute. RFC 5321 section
/// 4.5.3.2.5 asks for three minutes.
#[test]
fn a_message_may_pause_for_longer_than_a_minute() {
    let host = Host::new();
    let limits = "[smtp]\ndata_timeout = 300\n";
    host.configure("", &format!("{limits}{}", domains(&[("example.org", PORT, "")])));
    let puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let mut by_data = in_data(&host.namespace, "bob@example.org");
    by_data.send(b"Subject: s\r\n\r\n").expect("sent");
    let mut by_chunk = with_recipient(&host.namespace, "bob@example.org");
    by_chunk.send(b"BDAT 17 LAST\r\nSubject: s\r\n").expect("sent");
    let mut unwanted = greeted(&host.namespace);
    unwanted.send(b"BDAT 10\r\nabc").expect("sent");
    // It is the time itself that is claimed.
    std::thread::sleep(Duration::from_secs(66));
    let reply = told(&mut by_data, "x\r\n.");
    assert!(reply.starts_with("250 "), "{reply}");
    by_chunk.send(b"\r\nx\r\n").expect("sent");
    assert_eq!(by_chunk.reply().expect("a reply").0, 250);
    unwanted.send(b"abcdefg").expect("sent");
    assert_eq!(unwanted.reply().expect("a reply").0, 503);
    assert_eq!(puppet.messages().len(), 2);
}

/// A handshake, and a header of a balancer, that never come to their end have a deadline
/// too: nothing is waited for before a session that is not within one.
#[test]
fn what_comes_before_a_session_has_an_end() {
    let host = Host::new();
    host.configure(
        "smtps = [\"127.0.0.1:465\"]\nproxy_networks = [\"127.0.0.7\"]",
        &format!("[tls]\nself_signed = true\n{}", domains(&[("example.org", PORT, "")])),
    );
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let namespace = &host.namespace;
    // The first bytes of a ClientHello, and of a header.
    let hello = b"\x16\x03\x01\x02\0\x01\0\x01";
    let open = |source: &str, port: u16, bytes: &[u8]| {
        let source = source.parse().expect("an address");
        let mut client = Dialogue::open(namespace, source, local(port)).expect("connected");
        client.send(bytes);
        client
    };
    let starttls = |bytes: &[u8]| {
        let mut client = open("127.0.0.1", 25, b"");
        assert!(client.line().expect("a greeting").starts_with("220 "));
        client.told("EHLO client.example");
        assert!(client.told("STARTTLS").starts_with("220 "));
        client.send(bytes);
        client
    };
    let began = Instant::now();
    let mut waiting = [
        ("a silent balancer", 5, open("127.0.0.7", 25, b"")),
        ("half a header", 5, open("127.0.0.7", 25, b"PROXY TCP4 192.0.2.1 ")),
        ("a silent client of smtps", 30, open("127.0.0.1", 465, b"")),
        ("half a ClientHello", 30, open("127.0.0.1", 465, hello)),
        ("STARTTLS and silence", 30, starttls(b"")),
        ("STARTTLS and half a ClientHello", 30, starttls(hello)),
    ];
    for (what, seconds, client) in &mut waiting {
        // Reading gives up after some seconds, and is tried again.
        let bound = lasting(Duration::from_secs(*seconds + 8));
        loop {
            match client.closed() {
                Ok(()) => break,
                Err(came) if came == "-- nothing --" => {}
                Err(came) => panic!("{what}: {came}"),
            }
            assert!(began.elapsed() < bound, "{what} is waited for");
        }
    }
}
