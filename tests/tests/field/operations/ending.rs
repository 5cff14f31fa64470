//! What a client is told when the daemon ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::edge::{MailSystem, Words};
use mxdp_tests::mail::Host;
use mxdp_tests::wrong::puppet::Strings;
use nix::sys::signal::Signal;

use crate::stage::{domains, greeted, in_data, puppet, start, with_recipient};

const PORT: u16 = 2600;

/// The kind: an end that leaves somebody without an answer. A message that the mail system still
/// looks at when the daemon ends may be delivered: its client is told to come again, and the
/// mail log has it, so that a second copy can be explained. So are all other sessions.
#[test]
fn every_session_has_its_last_reply_and_its_entry() {
    let host = Host::new();
    host.configure("", &domains(&[("example.org", PORT, "")]));
    // It never replies to the message.
    let backend = puppet(&host, PORT, Strings::default().reply(".", ""));
    let daemon = start(&host);
    let mut waiting = in_data(&host.namespace, "bob@example.org");
    waiting.send(b"Subject: x\r\n\r\nx\r\n.\r\n").expect("sent");
    wait_for("the message at the mail system", || backend.messages().len() == 1);
    let mut sending = in_data(&host.namespace, "eve@example.org");
    sending.send(b"Subject: y\r\n").expect("sent");
    let mut between = with_recipient(&host.namespace, "ann@example.org");
    let mut idle = greeted(&host.namespace);
    let began = Instant::now();
    daemon.end(Signal::SIGTERM);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    for (name, client) in [
        ("waiting", &mut waiting),
        ("sending", &mut sending),
        ("between", &mut between),
        ("idle", &mut idle),
    ] {
        let reply = client.reply();
        assert!(
            reply.as_ref().is_ok_and(|(code, text)| *code == 421 && text.contains("4.3.2 ")),
            "{name}: {reply:?}"
        );
    }
    let _daemon = host.start();
    let entries = host.home.json_lines(&["traffic", "blocked", "--all"]);
    for recipient in ["bob@example.org", "eve@example.org"] {
        let entry = entries.iter().find(|entry| entry["recipient"] == recipient);
        let entry = entry.unwrap_or_else(|| panic!("no entry of {recipient}: {entries:?}"));
        assert_eq!(entry["reason"], "ending", "{entry}");
        assert!(entry["reply"].as_str().is_some_and(|reply| reply.starts_with("421 4.3.2 ")));
    }
}

/// Whether the slow mail system has a message.
static HAS_MESSAGE: AtomicBool = AtomicBool::new(false);

/// A mail server that takes a while to check a message.
const SLOW: Words = |command, _| {
    if command == "." {
        HAS_MESSAGE.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(2));
    }
    None
};

/// The kind: an entry that says what nobody was told. A client that resets the connection while
/// the mail system looks at its message sends it again, and the log says why (RFC 1047).
#[test]
fn a_reply_that_nobody_hears_is_not_recorded_as_said() {
    let host = Host::new();
    host.configure("", &domains(&[("example.org", PORT, "")]));
    let _backend = MailSystem::start(&host.namespace, PORT, SLOW);
    let _daemon = start(&host);
    let mut gone = in_data(&host.namespace, "bob@example.org");
    gone.send(b"Subject: x\r\n\r\nx\r\n.\r\n").expect("sent");
    wait_for("the message at the mail system", || HAS_MESSAGE.load(Ordering::Relaxed));
    gone.reset();
    let mut waits = in_data(&host.namespace, "ann@example.org");
    waits.send(b"Subject: x\r\n\r\nx\r\n.\r\n").expect("sent");
    assert!(waits.reply().is_ok_and(|(code, _)| code == 250));
    let entries = || host.home.json_lines(&["traffic", "accepted", "--all"]);
    wait_for("both entries", || entries().len() == 2);
    for entry in entries() {
        let is_told = entry["reply"].as_str().is_some_and(|reply| reply.starts_with("250 "));
        assert_eq!(is_told, entry["recipient"] == "ann@example.org", "{entry}");
    }
}
