//! What replies to RCPT say of recipients, senders and clients.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::edge::{Edge, MailSystem, reply, send};

/// A refusal that is about the sender, the policy or a mailbox that exists never counts as
/// an unknown recipient, in sessions, in escalation and for relay hosts
/// (docker-mailserver#1744; RFC 3463 sections 3.2, 3.3 and 3.8).
#[test]
fn refused_senders_are_not_unknown_recipients() {
    let edge = Edge::new(
        "[escalation]\ndictionary.count = 5\n[relay]\nlisten = [\"10.77.0.1:587\"]\n\
         backend = \"main\"\ninvalid_percent = 50\ninvalid_minimum = 10\n[dns]\n\
         servers = [\"127.0.0.1:53\"]\n[[customer]]\nname = \"acme\"\n\
         networks = [\"10.77.2.0/24\"]\ndomains = [\"acme.example\"]\n",
    );
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |command, _| {
        let told = match command.split(['<', '-']).nth(1)? {
            "sender" => "550 5.1.8 <a@gone.example>: Sender address rejected: Domain not found",
            "syntax" => "553 5.1.7 <a@gone.example>: bad sender's address",
            "policy" => "550 5.7.1 Service unavailable; Client host blocked using bl.example",
            "full" => "552 5.2.2 mailbox full",
            "later" => "450 4.1.1 Recipient address rejected: unverified address",
            "plain" => "550 Sender verify failed",
            _ => return None,
        };
        command.starts_with("RCPT").then(|| told.to_owned())
    });
    let _daemon = edge.start();
    for (number, kind) in
        ["sender", "syntax", "policy", "full", "later", "plain"].into_iter().enumerate()
    {
        let source = format!("10.77.1.{}", number + 1);
        let mut dialogue = edge.open(&source);
        assert!(dialogue.told("MAIL FROM:<a@gone.example>").starts_with("250 "));
        for guess in 0..60 {
            let told = dialogue.told(&format!("RCPT TO:<{kind}-{guess}@example.org>"));
            assert!(!told.starts_with("421") && told.starts_with(['4', '5']), "{kind}: {told}");
        }
        assert!(!edge.is_dropped(&source), "{kind}");
    }
    assert_eq!(edge.blocks().len(), 0);
    // The same of a customer's host, whose mail has a place to go by an address literal.
    let mut dialogue = edge.connect("10.77.2.1", 587);
    assert!(dialogue.told("EHLO host.acme.example").starts_with("250 "));
    assert!(dialogue.told("MAIL FROM:<a@acme.example>").starts_with("250 "));
    for guess in 0..60 {
        let told = dialogue.told(&format!("RCPT TO:<sender-{guess}@[192.0.2.1]>"));
        assert!(told.starts_with("550 5.1.8 "), "{told}");
    }
    assert_eq!(edge.home.json(&["relay", "list"]).as_array().map(Vec::len), Some(0));
}

/// A permanent refusal of RCPT that names no other cause is an unknown recipient, whatever
/// words and codes a mail system has for it (OfficeDocs-Exchange#2336).
#[test]
fn every_mail_systems_unknown_recipient_is_a_guess() {
    const WORDS: [&str; 6] = [
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "550 bob@example.org... No such user",
        "550 Unknown user",
        "553 sorry, no mailbox here by that name (#5.1.1)",
        "550 5.5.0 Requested action not taken: mailbox unavailable",
    ];
    let edge = Edge::new("[escalation]\ndictionary.count = 30\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |command, _| {
        let words = command.strip_prefix("RCPT TO:<w")?.split('-').next()?;
        Some(WORDS[words.parse::<usize>().ok()?].to_owned())
    });
    let _daemon = edge.start();
    for (number, words) in WORDS.iter().enumerate() {
        let source = format!("10.77.1.{}", number + 1);
        let mut guess = 0;
        let mut ended = 0;
        while guess < 30 {
            let mut dialogue = edge.open(&source);
            _ = dialogue.told("MAIL FROM:<a@guesser.example>");
            while guess < 30 {
                guess += 1;
                dialogue.send(format!("RCPT TO:<w{number}-{guess}@example.org>\r\n").as_bytes());
                let told = reply(&mut dialogue);
                if told.starts_with("421 4.7.0 ") {
                    ended += 1;
                    break;
                }
                assert_eq!(told.get(..3), words.get(..3), "{told}");
            }
        }
        assert_eq!(ended, 1, "{words}: a session ends after twenty");
        wait_for(words, || edge.block(&source).as_deref() == Some("dictionary_attack"));
        assert!(edge.is_dropped(&source), "{words}");
    }
}

/// A mail system that looks for the recipient when it has the whole message, as Exchange
/// does, says the same thing then.
#[test]
fn a_recipient_that_is_unknown_at_the_end_of_the_message_is_a_guess() {
    let edge = Edge::new("[escalation]\ndictionary.count = 6\n");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |command, mail| {
        let several = mail.contains("<several@");
        let told =
            if several { "554 5.6.0 no" } else { "550 5.1.10 RESOLVER.ADR.RecipientNotFound" };
        (command == ".").then(|| told.to_owned())
    });
    let _daemon = edge.start();
    for (source, sender) in
        [("10.77.1.1", "one@guesser.example"), ("10.77.1.2", "several@good.example")]
    {
        let mut dialogue = edge.open(source);
        for guess in 0..6 {
            let end = send(&mut dialogue, sender, &[&format!("n{guess}@example.org")]).end;
            assert!(end.starts_with('5'), "{end}");
        }
    }
    wait_for("the block", || edge.block("10.77.1.1").is_some());
    assert_eq!(edge.block("10.77.1.2"), None);
}

/// What a backend says to MAIL is not remembered of a recipient, and what it says to one
/// client and sender is not told to another (RFC 5321 section 3.3; a backend that hides an
/// address from strangers).
#[test]
fn a_refusal_is_of_the_client_that_it_was_said_to() {
    let edge = Edge::new("");
    let _backend = MailSystem::start(&edge.pair.edge, 2600, |command, mail| {
        let is_forged = mail.contains("<forged@");
        let hides = command.contains("<hidden@") && !mail.contains("<friend@");
        if command.starts_with("MAIL") && is_forged {
            return Some("550 5.1.1 <forged@example.org>: Sender address rejected".to_owned());
        }
        if command.starts_with("RCPT") && is_forged {
            return Some("503 5.5.1 need MAIL".to_owned());
        }
        (command.starts_with("RCPT") && hides).then(|| "550 5.1.1 no such user".to_owned())
    });
    let _daemon = edge.start();
    let attempt = |source: &str, sender: &str, recipient: &str| {
        send(&mut edge.open(source), sender, &[recipient])
    };
    let told = attempt("10.77.1.1", "forged@example.org", "victim@example.org");
    assert!(told.recipients[0].starts_with("550 5.1.1 "), "{told:?}");
    for source in ["10.77.1.1", "10.77.1.2"] {
        let told = attempt(source, "a@good.example", "victim@example.org");
        assert!(told.end.starts_with("250 "), "{source}: {told:?}");
    }
    let told = attempt("10.77.1.1", "stranger@bad.example", "hidden@example.org");
    assert!(told.recipients[0].starts_with("550 5.1.1 "), "{told:?}");
    // Neither from elsewhere nor through the same host.
    for source in ["10.77.1.2", "10.77.1.1"] {
        let told = attempt(source, "friend@good.example", "hidden@example.org");
        assert!(told.end.starts_with("250 "), "{source}: {told:?}");
    }
    // A client that was refused is refused again, without another query.
    let told = attempt("10.77.1.1", "stranger@bad.example", "hidden@example.org");
    assert!(told.recipients[0].contains("no such recipient here"), "{told:?}");
}
