//! What one client's network may hold of what all share, and honest senders whose messages
//! are larger than most.

use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::edge::{Edge, MailSystem, Words, send};
use mxdp_tests::mail::Host;
use mxdp_tests::wrong::client::Client;
use mxdp_tests::wrong::puppet::Strings;

use crate::stage::{domains, in_data, local, puppet, start};

const PORT: u16 = 2600;

/// A mail system that takes everything.
const KIND: Words = |_, _| None;

/// The kind: a shared resource that one client can use up. A mail server has few slots,
/// and a client that names a recipient and falls silent holds one.
#[test]
fn one_address_holds_a_share_of_a_backends_connections() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, PORT, KIND);
    let _daemon = edge.start();
    let mut silent: Vec<Dialogue> = Vec::new();
    let mut told = Vec::new();
    for _ in 0..40 {
        let mut dialogue = edge.open("10.77.1.1");
        dialogue.told("MAIL FROM:<a@b.example>");
        told.push(dialogue.told("RCPT TO:<bob@example.org>"));
        silent.push(dialogue);
    }
    assert_eq!(told.iter().filter(|told| told.starts_with("250 ")).count(), 33, "{told:?}");
    assert!(
        told[39].starts_with("451 4.3.2 10.77.1.1 has too many connections to the mail system"),
        "{told:?}"
    );
    let others = send(&mut edge.open("10.77.1.2"), "a@c.example", &["bob@example.org"]);
    assert!(others.end.starts_with("250 "), "{others:?}");
    // A slot that is given back can be used again.
    silent.truncate(30);
    wait_for("a connection that is free", || {
        let again = send(&mut edge.open("10.77.1.1"), "a@c.example", &["bob@example.org"]);
        again.end.starts_with("250 ")
    });
}

/// The kind: slots that the first clients keep. If all are in use, a network that holds
/// far more than its share gives way, and a newcomer is served.
#[test]
fn a_newcomer_is_served_where_one_network_holds_all_places() {
    let host = Host::new();
    let limits = "[smtp]\nconnections = 40\nconnections_per_address = 40\n";
    host.configure("", &format!("{limits}{}", domains(&[("example.org", PORT, "")])));
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let open = |source: &str| {
        let source = source.parse().expect("an address");
        Dialogue::open(&host.namespace, source, local(25)).expect("a connection")
    };
    let mut silent: Vec<_> = (0..40).map(|_| open("127.0.0.5")).collect();
    for dialogue in &mut silent {
        assert!(dialogue.line().expect("a greeting").starts_with("220 "));
    }
    let mut newcomer = open("127.0.0.6");
    assert!(newcomer.line().expect("a greeting").starts_with("220 "));
    assert!(newcomer.told("EHLO client.example").starts_with("250 "));
    // One was told why it had to go, and all others stay.
    let told = silent.iter_mut().map(|dialogue| dialogue.told("EHLO client.example"));
    let (gone, stay): (Vec<_>, Vec<_>) = told.partition(|told| told.starts_with("421 4.3.2 "));
    assert!(gone[0].starts_with("421 4.3.2 too many connections"), "{gone:?}");
    assert_eq!((gone.len(), stay.len()), (1, 39));
    assert!(stay.iter().all(|told| told.starts_with("250 ")), "{stay:?}");
}

/// The kind: a sign of life that costs nothing. A byte of a command now and then is no progress,
/// and holds no slot that others need, no matter from how many networks it comes.
#[test]
fn bytes_that_lead_nowhere_hold_no_place() {
    let host = Host::new();
    let limits = "[smtp]\nconnections = 40\nconnections_per_address = 40\n";
    host.configure("", &format!("{limits}{}", domains(&[("example.org", PORT, "")])));
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let open = |number: u8| {
        let source = format!("127.0.1.{number}").parse().expect("an address");
        let mut dialogue =
            Dialogue::open(&host.namespace, source, local(25)).expect("a connection");
        (dialogue.line().expect("a reply"), dialogue)
    };
    let mut slow: Vec<_> = (1..=40).map(|number| open(number).1).collect();
    let began = Instant::now();
    // What happens to the newcomer meanwhile is not tested here.
    while began.elapsed() < Duration::from_secs(11) {
        slow.iter_mut().for_each(|dialogue| dialogue.send(b"N"));
        std::thread::sleep(Duration::from_secs(1));
    }
    let (greeting, mut newcomer) = open(41);
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(newcomer.told("EHLO client.example").starts_with("250 "));
}

/// RFC 5321 section 4.5.3.1.10: a client with too many recipients for a message sends the rest
/// again. The accepted ones have the message at once.
#[test]
fn a_message_of_thousands_of_recipients_makes_progress() {
    let edge = Edge::new("");
    let backend = MailSystem::start(&edge.pair.edge, PORT, KIND);
    let _daemon = edge.start();
    let mut dialogue = edge.open("10.77.1.1");
    dialogue.told("MAIL FROM:<list@b.example>");
    let mut taken = 0;
    for number in 0..2500 {
        let told = dialogue.told(&format!("RCPT TO:<u{number}@example.org>"));
        match &told[..4] {
            "250 " => taken += 1,
            "452 " => {}
            _ => panic!("{number}: {told}"),
        }
    }
    assert_eq!(taken, 1000);
    assert!(dialogue.told("DATA").starts_with("354 "));
    assert!(dialogue.told("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    drop(backend);
}

/// A client that sends for a while reads the reply only then (RFC 5321 section 4.1.1.4), and a
/// connection that is reset makes it try again for days.
#[test]
fn a_permanent_refusal_is_heard_by_a_client_that_still_sends() {
    let host = Host::new();
    let limits = "[smtp]\nmessage_size = \"1MB\"\n";
    host.configure("", &format!("{limits}{}", domains(&[("example.org", PORT, "")])));
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let line = [b'x'; 998];
    for (start_of_it, code, lines) in
        [("\0\r\n", "550", 1500), ("a\nb\r\n", "550", 1500), ("", "552", 4000)]
    {
        let mut client: Client = in_data(&host.namespace, "bob@example.org");
        client.send(format!("Subject: x\r\n\r\n{start_of_it}").as_bytes()).expect("sent");
        for _ in 0..lines {
            client.send(&line).expect("sent");
            client.send(b"\r\n").expect("sent");
        }
        client.send(b".\r\n").expect("sent");
        let reply = client.reply().expect("a reply that is heard");
        assert_eq!(reply.0.to_string(), code, "{start_of_it:?}: {reply:?}");
    }
}

/// Source: 64 KB of encoded words that do not end held a thread for 0.7 s, which others' mail
/// waited for.
#[test]
fn no_header_takes_the_time_of_others() {
    let host = Host::new();
    host.configure("", &domains(&[("example.org", PORT, "")]));
    let _puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let began = Instant::now();
    for name in ["Subject", "From", "Comments", "Content-Type"] {
        for _ in 0..10 {
            let mut client = in_data(&host.namespace, "bob@example.org");
            let words = "=?aa?q?x".repeat(8180);
            client.send(format!("{name}: {words}\r\n\r\nx\r\n.\r\n").as_bytes()).expect("sent");
            assert_eq!(client.reply().expect("a reply").0, 250);
        }
    }
    // Forty of them took half a minute; now they take the time of forty small messages.
    let limit = mxdp_tests::pace::lasting(Duration::from_secs(10));
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}
