//! What one client can write into the mail log.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::edge::{Edge, MailSystem, TARGET, reply, send};
use serde_json::Value;

/// Names so many recipients in a transaction, and takes it back; how many were answered
/// before the session ended.
fn abort(dialogue: &mut Dialogue, recipients: usize) -> Result<usize, usize> {
    let mut group = "MAIL FROM:<a@spammer.example>\r\n".to_owned();
    for number in 0..recipients {
        group.push_str(&format!("RCPT TO:<r{number}@example.org>\r\n"));
    }
    group.push_str("RSET\r\n");
    dialogue.send(group.as_bytes());
    if !reply(dialogue).starts_with("250 ") {
        return Err(0);
    }
    for number in 0..recipients {
        if !reply(dialogue).starts_with("250 ") {
            return Err(number);
        }
    }
    _ = reply(dialogue);
    Ok(recipients)
}

/// A session of a client that a balancer names, which wants to relay so often and is refused.
fn relay(edge: &Edge, client: &str, recipients: usize) {
    let source = "10.77.0.2".parse().expect("an address");
    let target = TARGET.parse().expect("an address and port");
    let mut dialogue = Dialogue::open(&edge.pair.client, source, target).expect("a connection");
    let mut group = format!("PROXY TCP6 {client} 2001:db8::1 4000 25\r\n");
    dialogue.send(group.as_bytes());
    assert!(reply(&mut dialogue).starts_with("220 "));
    group = "EHLO client.example\r\n".to_owned();
    dialogue.send(group.as_bytes());
    assert!(reply(&mut dialogue).starts_with("250 "));
    group = "MAIL FROM:<a@spammer.example>\r\n".to_owned();
    for number in 0..recipients {
        group.push_str(&format!("RCPT TO:<r{number}@elsewhere.example>\r\n"));
    }
    group.push_str("QUIT\r\n");
    dialogue.send(group.as_bytes());
    assert!(reply(&mut dialogue).starts_with("250 "));
    for _ in 0..recipients {
        let told = reply(&mut dialogue);
        assert!(told.starts_with("554 5.7.1 "), "{told}");
    }
}

fn count(entries: &[Value]) -> u64 {
    entries.iter().map(|entry| entry["count"].as_u64().expect("a number")).sum()
}

/// What a client names and takes back counts against its session, and what it writes into
/// the mail log is bounded for each client network and minute: beyond that, entries of the same
/// kind are one with a count.
#[test]
fn aborted_transactions_end_a_session_and_fold_in_the_mail_log() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |_, _| None);
    let _daemon = edge.start();
    let mut named = 0;
    for session in 0..6 {
        let mut dialogue = edge.open("10.77.1.1");
        let mut rounds = 0;
        let last = loop {
            match abort(&mut dialogue, 400) {
                Ok(recipients) => named += recipients,
                Err(recipients) => break recipients,
            }
            rounds += 1;
            assert!(rounds < 5, "session {session} goes on for ever");
        };
        named += last;
    }
    assert!(named >= 6 * 1000, "{named}");
    // Somebody else's entries stand by themselves all the while.
    let mut dialogue = edge.open("10.77.1.2");
    _ = abort(&mut dialogue, 20);
    let mine = |entries: &[Value], source: &str| -> Vec<Value> {
        entries.iter().filter(|entry| entry["ip"] == source).cloned().collect()
    };
    let mut entries = Vec::new();
    wait_for("every entry", || {
        entries = edge.entries("blocked");
        let of = |source| count(&mine(&entries, source));
        // The refusal that ends each session is one more.
        of("10.77.1.1") >= named as u64 + 6 && of("10.77.1.2") == 20
    });
    let flood = mine(&entries, "10.77.1.1");
    assert_eq!(count(&flood), named as u64 + 6, "none is lost");
    // The test may last from one minute to the next.
    assert!(flood.len() < 800, "{} entries of {named}", flood.len());
    let folded = flood.iter().find(|entry| entry["count"].as_u64() > Some(100));
    let folded = folded.expect("a folded entry");
    assert_eq!(folded["reason"], "no_message");
    assert_eq!((&folded["sender"], &folded["recipient"]), (&Value::Null, &Value::Null));
    assert!(mine(&entries, "10.77.1.2").iter().all(|entry| entry["count"] == 1));
}

/// The owner of an IPv6 /48 has 65,536 networks. What a new one for each session writes into the
/// mail log and into the log is bounded for all of them together, and evicts nobody's mail.
#[test]
fn a_new_network_for_each_session_does_not_fill_the_logs() {
    const SESSIONS: usize = 300;
    const EACH: usize = 15;
    let edge = Edge::new("proxy_networks = [\"10.77.0.2/32\"]");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |_, _| None);
    let _daemon = edge.start();
    for session in 1..=SESSIONS {
        relay(&edge, &format!("2001:db8:c:{session:x}::1"), EACH);
    }
    // Somebody else's entries stand by themselves all the while.
    relay(&edge, "2001:db8:d::1", 3);
    let told = send(&mut edge.open("10.77.1.2"), "a@b.example", &["real@example.org"]);
    assert!(told.end.starts_with("250 "), "{told:?}");
    let mine = |entries: &[Value], start: &str| -> Vec<Value> {
        let is_mine = |entry: &&Value| entry["ip"].as_str().is_some_and(|ip| ip.starts_with(start));
        entries.iter().filter(is_mine).cloned().collect()
    };
    let mut entries = Vec::new();
    wait_for("every entry", || {
        entries = edge.entries("blocked");
        count(&mine(&entries, "2001:db8:c:")) == (SESSIONS * EACH) as u64
            && mine(&entries, "2001:db8:d:").len() == 3
    });
    let flood = mine(&entries, "2001:db8:c:");
    // The test may last from one minute to the next.
    assert!(flood.len() < 2_500, "{} entries of {}", flood.len(), SESSIONS * EACH);
    let folded = flood.iter().find(|entry| entry["ip"] == "2001:db8:c::");
    let folded = folded.expect("an entry of the /48");
    assert_eq!(folded["reason"], "relay_denied");
    assert!(folded["count"].as_u64() > Some(100), "{folded}");
    let lines = edge.home.log().matches("relay_denied").count();
    assert!(lines < 2_500, "{lines} lines of {}", SESSIONS * EACH);
    assert_eq!(count(&edge.entries("accepted")), 1);
}

/// The kind: a queue that one client can fill. One message to a thousand recipients is a
/// thousand entries; where they come faster than the disk takes them, those of who has the most
/// become one with a count, and nobody else loses any.
#[test]
fn messages_to_thousands_cost_nobody_elses_entries() {
    const EACH: usize = 6;
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |_, _| None);
    let _daemon = edge.start();
    let long = "x".repeat(500);
    let mut group = format!("MAIL FROM:<{}@spammer.example>\r\n", "s".repeat(200));
    group.push_str(&"RCPT TO:<bob@example.org>\r\n".repeat(1000));
    let message = format!("Subject: {long}\r\nFrom: <{}@b.example>\r\n\r\nx\r\n.", "f".repeat(200));
    let floods: Vec<_> = (1..=4)
        .map(|number| edge.open(&format!("10.77.2.{number}")))
        .map(|mut dialogue| {
            let (group, message) = (group.clone(), message.clone());
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    dialogue.send(group.as_bytes());
                    for _ in 0..=1000 {
                        assert!(reply(&mut dialogue).starts_with("250 "));
                    }
                    assert!(dialogue.told("DATA").starts_with("354 "));
                    assert!(dialogue.told(&message).starts_with("250 "));
                }
            })
        })
        .collect();
    let mut sent = 0;
    while sent < 20 || floods.iter().any(|flood| !flood.is_finished()) {
        let told = send(&mut edge.open("10.77.1.2"), "a@b.example", &["real@example.org"]);
        assert!(told.end.starts_with("250 "), "{told:?}");
        sent += 1;
    }
    for flood in floods {
        flood.join().expect("a flood that was answered");
    }
    let mine = |source: &str| {
        let entries = edge.entries("accepted");
        entries.into_iter().filter(|entry| entry["ip"] == source).collect::<Vec<_>>()
    };
    wait_for("the victim's entries", || mine("10.77.1.2").len() == sent);
    let status = edge.home.json(&["status"]);
    assert_eq!(status["record"]["lost"], 0, "{status}");
    // Nothing that was delivered is unaccounted for.
    for number in 1..=4 {
        let source = format!("10.77.2.{number}");
        wait_for("every entry", || count(&mine(&source)) == (EACH * 1000) as u64);
    }
}
