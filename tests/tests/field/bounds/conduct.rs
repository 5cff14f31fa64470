//! The acts that count as offences of a client, and those that do not.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::edge::{Edge, MailSystem, Words, reply, send};
use mxdp_tests::peers::dns::{Rbldnsd, Zone};

/// A mail server that accepts `real…` and nobody else.
const STRICT: Words = |command, mail| {
    let unknown = command.starts_with("RCPT") && !command.contains("<real");
    if command == "." && mail.contains("<refused@") {
        return Some("554 5.7.1 content".to_owned());
    }
    unknown.then(|| "550 5.1.1 User unknown".to_owned())
};

fn bogus(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bogus{number}@example.org")).collect()
}

/// Ordinary mail with many recipients that do not exist costs a provider that also
/// delivers mail nothing: guessing is a share, and a client that delivers is not dropped.
#[test]
fn three_ordinary_mails_block_no_provider() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    let names = bogus(18);
    let mut recipients: Vec<_> = names.iter().map(String::as_str).collect();
    // Three messages of a customer to recipients that do not exist, before and after other mail.
    for number in 0..3 {
        let told = send(&mut edge.open("10.77.1.1"), "a@provider.example", &recipients);
        assert!(told.recipients.iter().all(|told| told.starts_with("550 5.1.1 ")), "{told:?}");
        assert!(!edge.is_dropped("10.77.1.1"), "after mail {number}");
    }
    recipients.push("real@example.org");
    for number in 0..6 {
        let told = send(&mut edge.open("10.77.1.1"), "a@provider.example", &recipients);
        assert!(told.end.starts_with("250 "), "mail {number}: {told:?}");
    }
    assert_eq!(edge.blocks().len(), 0);
    assert!(!edge.is_dropped("10.77.1.1"));
}

/// A client that guesses and also delivers mail is answered 4xx in SMTP; then it learns
/// nothing about recipients, loses no mail, and is not dropped.
#[test]
fn a_provider_that_somebody_guesses_through_is_deferred() {
    let edge = Edge::new("[escalation]\nfirst = 8\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    let source = "10.77.1.1";
    assert!(
        send(&mut edge.open(source), "a@b.example", &["real@example.org"]).end.starts_with("250 ")
    );
    let names = bogus(15);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let deferred = |told: &String| told.starts_with("450 4.7.1 ");
    let guess = || {
        let mut sessions = 0;
        loop {
            let told = send(&mut edge.open(source), "spammer@b.example", &names);
            if told.recipients.iter().any(deferred) {
                break;
            }
            sessions += 1;
            assert!(sessions < 10, "it guesses for ever: {told:?}");
        }
    };
    guess();
    let told = send(
        &mut edge.open(source),
        "spammer@b.example",
        &["real@example.org", "bogus@example.org"],
    );
    assert!(told.recipients.iter().all(deferred), "{told:?}");
    assert!(!edge.is_dropped(source));
    assert_eq!(edge.blocks().len(), 0);
    let delivers = || {
        send(&mut edge.open(source), "a@b.example", &["real@example.org"]).end.starts_with("250 ")
    };
    wait_for("the end of it", delivers);
    // An operator need not wait for that.
    guess();
    let lifted = edge.home.json(&["temp", "remove", source]);
    assert_eq!(lifted["reason"], "guessing_recipients");
    assert!(delivers());
    let again = edge.home.run(&["temp", "remove", source]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

/// Bounces to addresses that do not exist are never held against the host that returns
/// them, in a session or over sessions; a guesser who uses the null sender is not freed by
/// that (RFC 5321 section 4.5.5).
#[test]
fn backscatter_blocks_nobody() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    for _ in 0..4 {
        let mut dialogue = edge.open("10.77.1.1");
        for name in bogus(60) {
            let told = send(&mut dialogue, "", &[&name]);
            assert!(told.recipients[0].starts_with("550 5.1.1 "), "{told:?}");
            assert!(told.end.starts_with("554 "), "{told:?}");
        }
    }
    assert!(!edge.is_dropped("10.77.1.1"));
    assert_eq!(edge.blocks().len(), 0);
    // A bounce with many recipients is not one.
    let mut dialogue = edge.open("10.77.1.2");
    _ = dialogue.told("MAIL FROM:<>");
    let told: Vec<_> = bogus(40)
        .iter()
        .map(|name| {
            dialogue.send(format!("RCPT TO:<{name}>\r\n").as_bytes());
            reply(&mut dialogue)
        })
        .collect();
    assert!(told.iter().any(|told| told.starts_with("421 4.7.0 ")), "{told:?}");
    // One after the other, they are deferred in the end.
    let mut deferred = false;
    for _ in 0..30 {
        let mut dialogue = edge.open("10.77.1.3");
        for name in bogus(50) {
            let told = send(&mut dialogue, "", &[&name]);
            deferred |= told.recipients[0].starts_with("450 4.7.1 ");
        }
    }
    assert!(deferred, "1,500 guesses by the null sender");
    assert!(!edge.is_dropped("10.77.1.3"));
}

/// A temporary refusal of our own, and what follows from it in a group of commands, is
/// not an error of the client (RFC 2920 section 3.1; RFC 3030 section 2).
#[test]
fn a_pipelining_client_under_a_rate_is_no_abuser() {
    let edge = Edge::new("[rate]\nper_address = 1\n[escalation]\nabuse.count = 1\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    let mut dialogue = edge.open("10.77.1.1");
    assert!(send(&mut dialogue, "a@b.example", &["real@example.org"]).end.starts_with("250 "));
    for number in 0..150 {
        let told = send(&mut dialogue, "a@b.example", &["real@example.org", "real2@example.org"]);
        assert!(told.mail.starts_with("250 "), "{number}: {told:?}");
        assert!(told.recipients.iter().all(|told| told.starts_with("450 4.7.1 ")), "{told:?}");
        assert!(told.end.starts_with("554 5.5.1 "), "{number}: {told:?}");
    }
    // Chunks, as Office 365 sends them.
    for number in 0..60 {
        dialogue.send(
            b"RSET\r\nMAIL FROM:<a@b.example> BODY=8BITMIME\r\nRCPT TO:<real@example.org>\r\n\
              BDAT 4\r\nab\r\nBDAT 3 LAST\r\nc\r\n",
        );
        let told: Vec<_> = (0..5).map(|_| reply(&mut dialogue)).collect();
        let codes: Vec<_> = told.iter().filter_map(|told| told.get(..3)).collect();
        assert_eq!(codes, ["250", "250", "450", "503", "503"], "{number}: {told:?}");
    }
    // A refused MAIL, with the commands that were sent after it.
    for _ in 0..8 {
        assert!(dialogue.told("RSET").starts_with("250 "));
        dialogue.send(b"MAIL FROM:<a@@b>\r\n");
        let recipients = b"RCPT TO:<real@example.org>\r\n".repeat(30);
        dialogue.send(&recipients);
        dialogue.send(b"DATA\r\n");
        let told: Vec<_> = (0..32).map(|_| reply(&mut dialogue)).collect();
        assert!(told.iter().all(|told| told.starts_with('5')), "{told:?}");
    }
    assert!(dialogue.told("QUIT").starts_with("221 "));
    assert_eq!(edge.blocks().len(), 0);
}

/// An accepted message resets what was counted, in the session too; and too many errors
/// end a session, but are not an offence.
#[test]
fn errors_are_forgotten_with_a_message_and_block_nobody() {
    let edge = Edge::new("[escalation]\nabuse.count = 1\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    let mut dialogue = edge.open("10.77.1.1");
    for _ in 0..4 {
        for _ in 0..15 {
            assert!(dialogue.told("XTEST").starts_with("500 "));
        }
        let told = send(&mut dialogue, "a@b.example", &["bogus@example.org", "real@example.org"]);
        assert!(told.end.starts_with("250 "), "{told:?}");
    }
    for _ in 0..20 {
        assert!(dialogue.told("XTEST").starts_with("500 "));
    }
    assert!(dialogue.told("XTEST").starts_with("421 4.7.0 too many errors"));
    wait_for("the entry", || edge.refused("too_many_errors") == 1);
    assert!(!edge.is_dropped("10.77.1.1"));
    assert_eq!(edge.blocks().len(), 0);
}

/// Relay attempts end a session after some, and block an address that delivers nothing.
#[test]
fn relay_attempts_are_an_offence() {
    let edge = Edge::new("[escalation]\nrelay.count = 50\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    for session in 0..3 {
        let mut dialogue = edge.open("10.77.1.1");
        _ = dialogue.told("MAIL FROM:<a@spammer.example>");
        let group: String =
            (0..995).map(|u| format!("RCPT TO:<u{u}@elsewhere.example>\r\n")).collect();
        dialogue.send(group.as_bytes());
        let told: Vec<_> = (0..21).map(|_| reply(&mut dialogue)).collect();
        let (last, before) = told.split_last().expect("replies");
        assert!(before.iter().all(|told| told.starts_with("554 5.7.1 ")), "{session}: {told:?}");
        assert!(last.starts_with("421 4.7.0 "), "{session}: {last}");
    }
    wait_for("the block", || edge.block("10.77.1.1").as_deref() == Some("relay_attempts"));
    assert!(edge.is_dropped("10.77.1.1"));
    // A domain whose mail was formerly delivered here: its remaining mail blocks no sender.
    let mut dialogue = edge.open("10.77.1.2");
    assert!(send(&mut dialogue, "a@b.example", &["real@example.org"]).end.starts_with("250 "));
    for _ in 0..6 {
        let mut dialogue = edge.open("10.77.1.2");
        for u in 0..15 {
            let told = send(&mut dialogue, "a@b.example", &[&format!("u{u}@gone.example")]);
            assert!(told.recipients[0].starts_with("554 5.7.1 "), "{told:?}");
        }
    }
    assert!(!edge.is_dropped("10.77.1.2"));
}

/// A client that is refused for its own address is told so whatever the recipient is, and
/// not without end.
#[test]
fn a_client_that_is_refused_anyway_learns_nothing_about_recipients() {
    let edge = Edge::new(
        "[enforcement]\nknown_spam_source = \"reject\"\nblocked_ip = \"reject\"\n\
         [known_spam_sources]\naddresses = [\"10.77.1.1\"]\n[blocked]\naddresses = [\"10.77.1.2\"]\n\
         [[domain]]\nnames = [\"listed.example\"]\nbackend = \"main\"\nrecipients = [\"recipients.txt\"]\n",
    );
    edge.home.write("recipients.txt", "real@listed.example\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    for source in ["10.77.1.1", "10.77.1.2"] {
        let mut dialogue = edge.open(source);
        _ = dialogue.told("MAIL FROM:<a@spammer.example>");
        for round in 0..50 {
            for recipient in ["real@listed.example", &format!("guess{round}@listed.example")] {
                let told = dialogue.told(&format!("RCPT TO:<{recipient}>"));
                assert!(
                    told.starts_with(&format!("550 5.7.1 {source} is on the list of ")),
                    "{told}"
                );
            }
        }
        let told = dialogue.told("RCPT TO:<guess@listed.example>");
        assert!(told.starts_with("421 4.7.0 "), "{told}");
    }
    assert_eq!(edge.refused("unknown_recipient"), 0);
    assert_eq!(edge.refused("known_spam_source"), 100);
}

/// Hits of DNS lists block no client unless that is configured: a list may name an address
/// that thousands send through.
#[test]
fn listings_of_a_shared_provider_drop_nobody() {
    listed("", |edge, source| {
        assert_eq!(edge.blocks().len(), 0);
        assert!(!edge.is_dropped(source));
    });
    listed("[escalation]\nreputation.count = 3\n", |edge, source| {
        wait_for("the block", || edge.block(source).as_deref() == Some("reputation"));
        assert!(edge.is_dropped(source));
    });
}

/// A client that a DNS list names sends a dozen messages; what comes of it.
fn listed(rest: &str, then: impl Fn(&Edge, &str)) {
    let edge = Edge::new(&format!(
        "[dns]\nservers = [\"127.0.0.1:53\"]\n[[reputation.dynamic.zones]]\nname = \"bl.example\"\n\
         codes = [\"127.0.0.2\"]\n{rest}",
    ));
    let source = "198.51.100.7";
    edge.pair.edge.ip("route add 198.51.100.0/24 dev e0");
    let data = format!("127.0.0.2\n{source}\n");
    let zone = Zone { name: "bl.example", kind: "ip4set", data: &data };
    let _list = Rbldnsd::start(&edge.pair.edge, 53, &[zone]);
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    wait_for("the list", || {
        let told = send(&mut edge.open(source), "a@b.example", &["real@example.org"]);
        told.recipients[0].starts_with("450 4.7.1 ")
    });
    let mut dialogue = edge.open(source);
    for _ in 0..12 {
        let told = send(&mut dialogue, "a@b.example", &["real@example.org"]);
        assert!(told.recipients[0].starts_with("450 4.7.1 "), "{told:?}");
    }
    then(&edge, source);
}

/// Where a mail system wants everything again later (greylisting), or is down, the few
/// recipients that do not exist are all that is decided; they are still few of those that
/// were named (RFC 6647).
#[test]
fn a_newsletter_before_a_mail_system_that_greylists_blocks_nobody() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |command, _| {
        let told = if command.contains("<real") {
            "451 4.7.1 Greylisting in action, please come back later"
        } else {
            "550 5.1.1 User unknown"
        };
        command.starts_with("RCPT").then(|| told.to_owned())
    });
    let _daemon = edge.start();
    for session in 0..8 {
        let mut dialogue = edge.open("10.77.1.1");
        for transaction in 0..5 {
            let names: Vec<_> = (0..100)
                .map(|n| {
                    let kind = if n % 20 == 0 { "gone" } else { "real" };
                    format!("{kind}{session}-{transaction}-{n}@example.org")
                })
                .collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let told = send(&mut dialogue, "news@h.example", &names);
            assert!(told.recipients.iter().all(|told| !told.starts_with("421")), "{told:?}");
        }
    }
    assert_eq!(edge.blocks().len(), 0);
    assert!(!edge.is_dropped("10.77.1.1"));
}

/// One message to many, of whom some do not exist, is weighed as a whole: those that are
/// accepted count before the message has come, in this session and in others beside it.
#[test]
fn stale_recipients_of_a_message_under_way_block_nobody() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    let recipients = |count: usize, nth: usize| -> Vec<String> {
        (0..count)
            .map(|number| {
                let name = if number % nth == nth - 1 { "gone" } else { "real" };
                format!("{name}{number}@example.org")
            })
            .collect()
    };
    let names = recipients(500, 5);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let told = send(&mut edge.open("10.77.1.1"), "news@list.example", &names);
    assert_eq!(told.recipients.iter().filter(|told| told.starts_with("550 ")).count(), 100);
    assert!(told.end.starts_with("250 "), "{}", told.end);
    // As Postfix delivers: sessions beside each other, of which none has sent its message.
    let names = recipients(50, 10);
    let mut sessions: Vec<_> = (0..20).map(|_| edge.open("10.77.1.2")).collect();
    for dialogue in &mut sessions {
        _ = dialogue.told("MAIL FROM:<news@list.example>");
        for name in &names {
            dialogue.send(format!("RCPT TO:<{name}>\r\n").as_bytes());
            let told = reply(dialogue);
            assert!(told.starts_with("250 ") || told.starts_with("550 5.1.1 "), "{told}");
        }
    }
    for dialogue in &mut sessions {
        assert!(dialogue.told("DATA").starts_with("354 "));
        assert!(dialogue.told("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    }
    for source in ["10.77.1.1", "10.77.1.2"] {
        assert!(!edge.is_dropped(source), "{source}");
    }
    assert_eq!(edge.blocks().len(), 0);
    // A message that the mail system refuses names recipients that exist, too.
    let mut refused = edge.open("10.77.1.3");
    for _ in 0..3 {
        let told = send(
            &mut refused,
            "refused@list.example",
            &names[..20].iter().map(String::as_str).collect::<Vec<_>>(),
        );
        assert!(told.end.starts_with("554 "), "{told:?}");
    }
    assert!(!edge.is_dropped("10.77.1.3"));
}

/// A client that checks whether the server answers, as monitors and people do, commits no offence:
/// `HELO`, `QUIT` and no mail, in one piece and with any line ends.
#[test]
fn a_look_at_the_greeting_is_no_offence() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    // The last is how TLS begins.
    let looks: [&[u8]; 6] = [
        b"HELO x\r\nQUIT\r\n",
        b"EHLO x\r\nQUIT\n",
        b"QUIT\n",
        b"HELO x\nQUIT\n",
        b"\nQUIT\n",
        b"\x16\x03\x01\x00\x05\x01\x00\n\r\x00",
    ];
    for look in looks.iter().cycle().take(40) {
        let mut dialogue = edge.open("10.77.1.1");
        dialogue.send(look);
        let told = reply(&mut dialogue);
        let answers = ["250 ", "221 ", "500 5.5.2 "];
        assert!(answers.iter().any(|answer| told.starts_with(answer)), "{look:?}: {told}");
    }
    assert!(!edge.is_dropped("10.77.1.1"));
    assert_eq!(edge.blocks().len(), 0);
    // A message with such line ends is not sent by any mail system.
    for _ in 0..10 {
        let mut dialogue = edge.open("10.77.1.2");
        dialogue.send(b"HELO x\nMAIL FROM:<a@b.example>\nQUIT\n");
        assert!(reply(&mut dialogue).starts_with("500 5.5.2 "));
    }
    wait_for("the block", || edge.is_dropped("10.77.1.2"));
}

/// A promise for a day holds across a restart: a client that delivered mail is deferred, and not
/// dropped, whatever its messages name afterwards.
#[test]
fn who_delivered_mail_is_known_after_a_restart() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let daemon = edge.start();
    let sent = |source: &str| {
        send(&mut edge.open(source), "a@b.example", &["real@example.org"]).end.starts_with("250 ")
    };
    assert!(sent("10.77.1.1"));
    daemon.end(nix::sys::signal::Signal::SIGTERM);
    let _daemon = edge.start();
    let names = bogus(18);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for source in ["10.77.1.1", "10.77.1.2"] {
        for _ in 0..6 {
            if edge.is_dropped(source) {
                break;
            }
            _ = send(&mut edge.open(source), "spammer@b.example", &names);
        }
    }
    wait_for("the block of the stranger", || edge.is_dropped("10.77.1.2"));
    assert!(!edge.is_dropped("10.77.1.1"));
    assert_eq!(edge.blocks().len(), 1);
}
