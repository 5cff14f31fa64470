//! What one client can write into the mail log.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::edge::{Edge, MailSystem, reply};
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
