//! What the mail system of one tenant can do to the mail of another.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::edge::{Edge, MailSystem, Words, send};

/// A mail server that accepts `real…` and nobody else.
const STRICT: Words = |command, _| {
    let unknown = command.starts_with("RCPT") && !command.contains("<real");
    unknown.then(|| "550 5.1.1 User unknown".to_owned())
};

/// A mail server that rejects every recipient as unknown.
const LIAR: Words =
    |command, _| command.starts_with("RCPT").then(|| "550 5.1.1 User unknown".to_owned());

const TENANTS: &str = "[[domain]]\nnames = [\"liar.example\"]\nbackend = \"liar\"\n\
    [[backend]]\nname = \"liar\"\nservers = [\"127.0.0.1:2601\"]\n";

/// Names recipients of a domain, in sessions of fifteen, until one is deferred or there were
/// enough; whether one was.
fn guess(edge: &Edge, source: &str, domain: &str, most: usize) -> bool {
    let names: Vec<_> = (0..15).map(|number| format!("r{number}@{domain}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    (0..most.div_ceil(15)).any(|_| {
        let told = send(&mut edge.open(source), "a@b.example", &names);
        told.recipients.iter().any(|told| told.starts_with("450 4.7.1 "))
    })
}

fn delivers(edge: &Edge, source: &str, recipient: &str) -> bool {
    let told = send(&mut edge.open(source), "a@b.example", &[recipient]);
    told.end.starts_with("250 ")
}

/// A backend that rejects everybody, by mistake or on purpose, has a host deferred for its own
/// domains, and for nobody else's.
#[test]
fn a_backend_that_knows_nobody_holds_up_its_own_mail_alone() {
    let edge = Edge::new(TENANTS);
    let _honest = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _liar = MailSystem::start(&edge.pair.edge, 2601, LIAR);
    let _daemon = edge.start();
    for (source, has_delivered) in [("10.77.1.1", false), ("10.77.1.2", true)] {
        if has_delivered {
            assert!(delivers(&edge, source, "real@example.org"), "{source}");
        }
        assert!(guess(&edge, source, "liar.example", 150), "{source} is not deferred");
        assert!(!edge.is_dropped(source), "{source}");
        assert!(delivers(&edge, source, "real@example.org"), "{source}");
        // An operator lifts it.
        let lifted = edge.home.json(&["temp", "remove", source]);
        assert_eq!(lifted["reason"], "guessing_recipients");
        assert!(!guess(&edge, source, "liar.example", 15), "{source} is still deferred");
    }
    assert_eq!(edge.blocks().len(), 0);
}

/// A host that two mail systems know as a guesser is one.
#[test]
fn who_guesses_at_two_tenants_is_blocked() {
    let edge = Edge::new(TENANTS);
    let _honest = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _liar = MailSystem::start(&edge.pair.edge, 2601, LIAR);
    let _daemon = edge.start();
    let source = "10.77.1.1";
    for _ in 0..3 {
        assert!(!guess(&edge, source, "liar.example", 15));
        assert!(!guess(&edge, source, "example.org", 15));
    }
    // A connection may be refused as soon as the block is active.
    'guesses: for number in 0..12 {
        for domain in ["liar.example", "example.org"] {
            if edge.block(source).is_some() {
                break 'guesses;
            }
            _ = send(&mut edge.open(source), "a@b.example", &[&format!("x{number}@{domain}")]);
        }
    }
    wait_for("the block", || edge.block(source).is_some());
    assert!(edge.is_dropped(source));
}

/// So is a client that names recipients on no list here, whatever backends there are.
#[test]
fn lists_of_recipients_are_believed_alone() {
    let edge = Edge::new(&format!(
        "{TENANTS}[[domain]]\nnames = [\"listed.example\"]\nbackend = \"liar\"\n\
         recipients = [\"recipients.txt\"]\n"
    ));
    edge.home.write("recipients.txt", "real@listed.example\n");
    let _honest = MailSystem::start(&edge.pair.edge, 2600, STRICT);
    let _daemon = edge.start();
    let source = "10.77.1.1";
    assert!(!guess(&edge, source, "listed.example", 90));
    for number in 0..15 {
        if edge.block(source).is_some() {
            break;
        }
        let name = format!("x{number}@listed.example");
        _ = send(&mut edge.open(source), "a@b.example", &[&name]);
    }
    wait_for("the block", || edge.block(source).is_some());
}
