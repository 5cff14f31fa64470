//! Messages and the commands around them.

use mxdp_tests::mail::Host;
use mxdp_tests::wrong::puppet::{Puppet, Strings};
use mxdp_tests::wrong::without_received;

use crate::stage::{domains, greeted, in_data, puppet, start, told, with_recipient};

const PORT: u16 = 2600;

fn configure(host: &Host, rest: &str) -> Puppet {
    host.configure("", &format!("{rest}{}", domains(&[("example.org", PORT, "")])));
    puppet(host, PORT, Strings::default())
}

/// The last message that came, without the field that mxdp adds.
fn last(puppet: &Puppet) -> String {
    let messages = puppet.messages();
    let message = messages.last().expect("a message");
    let own = without_received(message)
        .unwrap_or_else(|| panic!("not one field of ours: {}", String::from_utf8_lossy(message)));
    String::from_utf8_lossy(own).into_owned()
}

/// A field that is put in front of what a client sent must not be continued by it: a
/// message that begins with white space has no header. RFC 5322 section 2.2.3, RFC 5321
/// section 4.4; Postfix begins the body there, too.
#[test]
fn a_message_cannot_continue_the_field_in_front_of_it() {
    let host = Host::new();
    let relay = "[relay]\nlisten = [\"127.0.0.1:587\"]\nbackend = \"example.org\"\n\
        inbound_own_domain = \"tag\"\n[[customer]]\nname = \"acme\"\n\
        networks = [\"192.0.2.9\"]\ndomains = [\"acme.example\"]\n";
    let puppet = configure(&host, relay);
    let _daemon = start(&host);
    for (wire, body) in [
        ("\tx\r\n", "\r\n\tx\r\n"),
        (" x\r\n", "\r\n x\r\n"),
        ("  \r\nSubject: s\r\n", "\r\n  \r\nSubject: s\r\n"),
        // A dot for transparency is not the first byte of the line.
        (". x\r\n", "\r\n x\r\n"),
        ("\t\r\n", "\r\n\t\r\n"),
        ("\r\n\tx\r\n", "\r\n\tx\r\n"),
        ("Subject: a\r\n\tb\r\n\r\nx\r\n", "Subject: a\r\n\tb\r\n\r\nx\r\n"),
        ("x\r\n", "x\r\n"),
        ("", ""),
    ] {
        let mut client = in_data(&host.namespace, "bob@example.org");
        let reply = told(&mut client, &format!("{wire}."));
        assert!(reply.starts_with("250 "), "{wire:?}: {reply}");
        assert_eq!(last(&puppet), format!("{body}.\r\n"), "{wire:?} by DATA");
        // The same by chunks, the first of them empty, and the white space alone.
        let wire = wire.strip_prefix('.').unwrap_or(wire);
        let mut client = with_recipient(&host.namespace, "bob@example.org");
        assert!(told(&mut client, "BDAT 0").starts_with("250 "));
        let (first, rest) = wire.split_at(wire.len().min(1));
        let chunks = format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{rest}", first.len(), rest.len());
        client.send(chunks.as_bytes()).expect("sent");
        for _ in 0..2 {
            let reply = client.reply().expect("a reply");
            assert_eq!(reply.0, 250, "{wire:?}: {reply:?}");
        }
        assert_eq!(last(&puppet), format!("{body}.\r\n"), "{wire:?} by BDAT");
    }
    // Behind every other field that mxdp puts there, too.
    let mut client = greeted(&host.namespace);
    for line in ["MAIL FROM:<a@acme.example>", "RCPT TO:<bob@example.org>"] {
        assert!(told(&mut client, line).starts_with("250 "));
    }
    assert!(told(&mut client, "DATA").starts_with("354 "));
    assert!(told(&mut client, "\tfolded\r\n.").starts_with("250 "));
    let message = String::from_utf8(puppet.messages().pop().expect("a message")).expect("text");
    assert!(message.starts_with("X-MXDP-Forged-Sender: "), "{message}");
    let (header, body) = message.split_once("\r\n\r\n").expect("an empty line");
    assert!(header.contains("Received: from ") && !header.contains("folded"), "{message}");
    assert_eq!(body, "\tfolded\r\n.\r\n");
}

/// What is counted cannot be smuggled by: Microsoft 365 sends bare line feeds in BDAT,
/// and they become line ends there, while DATA with them is refused. notqmail#239, RFC
/// 3030.
#[test]
fn bare_line_ends_in_chunks_are_normalised() {
    let host = Host::new();
    let puppet = configure(&host, "");
    let daemon = start(&host);
    for (chunks, message) in [
        (vec!["a\nb\n"], "a\r\nb\r\n.\r\n"),
        (vec!["a\r", "b"], "a\r\nb\r\n.\r\n"),
        (vec!["a\r", "\nb\r"], "a\r\nb\r\n.\r\n"),
        (vec!["a", "\n", ".", "\n", "b"], "a\r\n..\r\nb\r\n.\r\n"),
        (vec!["a\r\n", "\r", "\r\n"], "a\r\n\r\n\r\n.\r\n"),
        (vec!["\n\n.\r\n"], "\r\n\r\n..\r\n.\r\n"),
        (vec!["a\r", ""], "a\r\n.\r\n"),
    ] {
        let mut client = with_recipient(&host.namespace, "bob@example.org");
        for (index, chunk) in chunks.iter().enumerate() {
            let last = if index + 1 == chunks.len() { " LAST" } else { "" };
            let wire = format!("BDAT {}{last}\r\n{chunk}", chunk.len());
            client.send(wire.as_bytes()).expect("sent");
            let reply = client.reply().expect("a reply");
            assert_eq!(reply.0, 250, "{chunks:?}: {reply:?}");
        }
        assert_eq!(last(&puppet), message, "{chunks:?}");
        // The session goes on.
        assert!(told(&mut client, "NOOP").starts_with("250 "));
    }
    // A NUL is not a line end, and nothing makes it text.
    let before = puppet.messages().len();
    let mut client = with_recipient(&host.namespace, "bob@example.org");
    client.send(b"BDAT 3 LAST\r\na\0b").expect("sent");
    let (code, reply) = client.reply().expect("a reply");
    assert!(code == 550 && reply.starts_with("550 5.6.0 "), "{reply}");
    // In DATA both are refused.
    for body in ["a\nb\r\n.\r\n", "a\rb\r\n.\r\n"] {
        let mut client = in_data(&host.namespace, "bob@example.org");
        client.send(body.as_bytes()).expect("sent");
        let (code, reply) = client.reply().expect("a reply");
        assert!(code == 550 && reply.starts_with("550 5.5.2 "), "{reply}");
    }
    drop(daemon);
    // And in chunks, where that is configured.
    host.configure(
        "",
        &format!("[smtp]\nnormalise_chunks = false\n{}", domains(&[("example.org", PORT, "")])),
    );
    let _daemon = start(&host);
    let mut client = with_recipient(&host.namespace, "bob@example.org");
    client.send(b"BDAT 3 LAST\r\na\nb").expect("sent");
    let (_, reply) = client.reply().expect("a reply");
    assert!(reply.starts_with("550 5.5.2 "), "{reply}");
    assert_eq!(puppet.messages().len(), before, "none of them came");
}

/// Where the length of what follows is not known, nothing that follows may be read as
/// commands. RFC 3030 section 2.
#[test]
fn a_chunk_of_unknown_length_ends_the_session() {
    let host = Host::new();
    let puppet = configure(&host, "");
    let _daemon = start(&host);
    let long = format!("BDAT 5{}", " ".repeat(3000));
    for line in [
        "BDAT 5 FOO",
        "BDAT 5 LAST LAST",
        "BDAT LAST 5",
        "BDAT 5 5",
        "BDAT",
        "BDAT LAST",
        "BDAT -1",
        "BDAT +5",
        "BDAT 0x05 LAST",
        "BDAT 5,LAST",
        "BDAT five",
        "BDAT 999999999999999999999",
        "BDAT\t5",
        "BDAT5",
        " BDAT 5",
        "BDAT 5 \u{e4}",
        &long,
    ] {
        let named = line.get(..24).unwrap_or(line);
        for has_recipient in [true, false] {
            let mut client = match has_recipient {
                true => with_recipient(&host.namespace, "bob@example.org"),
                false => greeted(&host.namespace),
            };
            // The chunk itself is a command.
            let wire = format!("{line}\r\nRSET\r\nMAIL FROM:<smuggled@client.example>\r\n");
            _ = client.send(wire.as_bytes());
            let (code, reply) = client.reply().expect("a reply");
            assert_eq!(code, 501, "{named}: {reply}");
            assert_eq!(client.rest(), [], "{named}: and it is closed");
        }
    }
    // More than any message may have: it is said, and the session is over.
    let mut client = greeted(&host.namespace);
    client.send(b"BDAT 99999999999999999999 LAST\r\nRSET\r\n").expect("sent");
    assert_eq!(client.reply().expect("a reply").0, 503);
    assert_eq!(client.rest(), [], "and it is closed");
    assert!(puppet.messages().is_empty());
    assert!(!puppet.lines().iter().any(|line| line.contains("smuggled")));
}

/// Devices leave the angle brackets out: a bare word that is an address is one.
/// SmtpServer#219.
#[test]
fn addresses_need_no_angle_brackets() {
    let host = Host::new();
    let puppet = configure(&host, "");
    let _daemon = start(&host);
    for (mail, rcpt, heard) in [
        (
            "MAIL FROM:a@example.com",
            "RCPT TO:bob@example.org",
            ["MAIL FROM:<a@example.com>", "RCPT TO:<bob@example.org>"],
        ),
        (
            "MAIL FROM: a@example.com",
            "RCPT TO: bob@example.org",
            ["MAIL FROM:<a@example.com>", "RCPT TO:<bob@example.org>"],
        ),
        (
            "mail from:\ta@example.com  SIZE=10 BODY=8BITMIME",
            "rcpt to:bob@example.org NOTIFY=NEVER ORCPT=rfc822;bob@example.org",
            ["MAIL FROM:<a@example.com>", "RCPT TO:<bob@example.org>"],
        ),
        (
            "MAIL FROM:\"a b\"@example.com SIZE=10",
            "RCPT TO:postmaster",
            ["MAIL FROM:<\"a b\"@example.com>", "RCPT TO:<postmaster>"],
        ),
        (
            "MAIL FROM: <a@example.com> SIZE=10",
            "RCPT TO: <bob@example.org> ",
            ["MAIL FROM:<a@example.com>", "RCPT TO:<bob@example.org>"],
        ),
    ] {
        let mut client = greeted(&host.namespace);
        for line in [mail, rcpt] {
            let reply = told(&mut client, line);
            assert!(reply.starts_with("250 "), "{line}: {reply}");
        }
        let lines = puppet.lines();
        let lines: Vec<_> = lines.iter().rev().filter(|line| line.as_str() != "QUIT").collect();
        assert_eq!([lines[1], lines[0]], [heard[0], heard[1]], "{mail}");
        // Text that is not an address stays as it is.
        let mut client = greeted(&host.namespace);
        for line in [
            "MAIL FROM:a",
            "MAIL FROM:",
            "MAIL FROM:a@example.com,b@example.com",
            "MAIL FROM:a@example.com>",
            "MAIL FROM:<a@example.com",
            "MAIL FROM:A Printer <a@example.com>",
        ] {
            let reply = told(&mut client, line);
            assert!(reply.starts_with("501 "), "{line}: {reply}");
        }
    }
}
