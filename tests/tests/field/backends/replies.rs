//! A backend's replies, and what a client is told of them.

use std::time::Duration;

use mxdp_tests::mail::Host;
use mxdp_tests::wrong::client::Client;
use mxdp_tests::wrong::puppet::Strings;

use crate::stage::{domains, greeted, in_data, puppet, start, told, with_recipient};

const PORT: u16 = 2600;

/// Every line of the next reply, as it came.
fn lines(client: &mut Client, command: &str) -> Vec<String> {
    client.send(format!("{command}\r\n").as_bytes()).expect("sent");
    client.reply_lines().expect("a reply")
}

/// The basic code is what a client acts on; an enhanced code of another class, and the
/// text that was written for that, are not passed on. RFC 2034 section 4, RFC 3463
/// section 3.
#[test]
fn an_enhanced_code_never_contradicts_the_code() {
    let host = Host::new();
    host.configure("", &domains(&[("example.org", PORT, "")]));
    let puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let refused = "the mail system refuses";
    for (reply, code) in [
        ("451 2.0.0 queued as X", "451 4.0.0"),
        ("450 5.1.1 no such user X", "450 4.0.0"),
        ("550 4.2.2 X is full", "550 5.0.0"),
        ("554 2.0.0 X", "554 5.0.0"),
        ("550-5.1.1 no X\r\n550 2.0.0 queued X", "550 5.0.0"),
        ("550-X\r\n550 4.7.0 later", "550 5.0.0"),
    ] {
        let bytes = format!("{reply}\r\n");
        for (number, to) in ["MAIL", "RCPT", "DATA", "."].into_iter().enumerate() {
            // This is not about remembered recipients.
            let recipient = format!("bob{number}-{}@example.org", bytes.len());
            puppet.pull(Strings::default().reply(to, &bytes));
            let mut client = match to {
                "MAIL" | "RCPT" => greeted(&host.namespace),
                "DATA" => with_recipient(&host.namespace, &recipient),
                _ => in_data(&host.namespace, &recipient),
            };
            let reply = match to {
                "MAIL" | "RCPT" => {
                    told(&mut client, "MAIL FROM:<a@client.example>");
                    told(&mut client, &format!("RCPT TO:<{recipient}>"))
                }
                "DATA" => told(&mut client, "DATA"),
                _ => told(&mut client, "Subject: s\r\n\r\nx\r\n."),
            };
            assert!(reply.starts_with(code), "{bytes:?} to {to}: {reply}");
            assert!(reply.contains(refused) && !reply.contains('X'), "{bytes:?} to {to}: {reply}");
        }
    }
    for reply in ["250 5.1.1 X", "250 4.2.0 greylisted X", "250-2.1.5 X\r\n250 5.0.0 X"] {
        puppet.pull(
            Strings::default()
                .reply("RCPT", format!("{reply}\r\n"))
                .reply(".", format!("{reply}\r\n")),
        );
        let mut client = in_data(&host.namespace, "bob@example.org");
        let reply = told(&mut client, "Subject: s\r\n\r\nx\r\n.");
        assert!(reply.starts_with("250 2.0.0 ") && !reply.contains('X'), "{reply}");
    }
    // Where a backend asks this host for TLS or a login, that is not about the client.
    puppet.pull(Strings::default().reply("MAIL", "530 5.7.0 Must issue STARTTLS first\r\n"));
    let mut client = greeted(&host.namespace);
    told(&mut client, "MAIL FROM:<a@client.example>");
    let reply = told(&mut client, "RCPT TO:<bob@example.org>");
    assert!(reply.starts_with("451 4.3.5 "), "{reply}");
}

/// Nothing but printable ASCII is sent to a client that has not used SMTPUTF8, and no
/// line of more than 512 bytes. RFC 5321 sections 4.2 and 4.5.3.1.5, RFC 6531 section
/// 3.7.4.
#[test]
fn replies_are_ascii_in_lines_of_512_octets() {
    let host = Host::new();
    host.configure("", &domains(&[("example.org", PORT, "")]));
    let offers = || Strings::default().offer("8BITMIME").offer("SMTPUTF8");
    let puppet = puppet(&host, PORT, offers());
    let _daemon = start(&host);
    let german = "Empf\u{e4}nger\u{2028}unbekannt\u{202e} ";
    let texts: [Vec<u8>; 5] = [
        german.into(),
        b"f\xfcr \xff\xfe\x80 alle\x1b[2J\x7f".to_vec(),
        b"a word ".repeat(87),
        vec![b'x'; 3000],
        german.repeat(40).into_bytes(),
    ];
    let mut recipients = (0..).map(|number| format!("bob{number}@example.org"));
    for text in &texts {
        for (class, detail) in [("550-", "550 "), ("550 ", "")] {
            let mut reply = [class.as_bytes(), b"5.1.6 ", text, b"\r\n"].concat();
            if !detail.is_empty() {
                reply.extend([detail.as_bytes(), b"5.1.6 ", text, b"\r\n"].concat());
            }
            for smtputf8 in [false, true] {
                puppet.pull(offers().reply("RCPT", &reply).reply(".", &reply));
                let mut client = greeted(&host.namespace);
                let parameter = if smtputf8 { " SMTPUTF8" } else { "" };
                told(&mut client, &format!("MAIL FROM:<a@client.example>{parameter}"));
                let lines = {
                    let recipient = recipients.next().expect("one more");
                    lines(&mut client, &format!("RCPT TO:<{recipient}>"))
                };
                let shown = lines.join("\n");
                assert!(lines.iter().all(|line| line.len() <= 510), "{shown}");
                let (last, first) = lines.split_last().expect("a line");
                assert!(first.iter().all(|line| line.starts_with("550-5.1.6 ")), "{shown}");
                assert!(last.starts_with("550 5.1.6 "), "{shown}");
                let printable = |letter: char| {
                    (' '..='~').contains(&letter) || (smtputf8 && letter == '\u{e4}')
                };
                assert!(shown.replace('\n', "").chars().all(printable), "{shown:?}");
                let has = |text: &str| shown.contains(text);
                assert_eq!(text.starts_with(b"Empf") && !smtputf8, has("Empf?nger?unbekannt?"));
                assert_eq!(text.starts_with(b"Empf") && smtputf8, has("Empf\u{e4}nger?unbekannt?"));
                let count = |text: &[u8]| text.iter().filter(|byte| **byte == b'x').count();
                assert_eq!(count(shown.as_bytes()), count(&reply), "nothing is lost");
            }
        }
    }
    // A greeting and a reply of our own are as short.
    let mut client = greeted(&host.namespace);
    for line in lines(&mut client, &format!("EHLO {}", "a".repeat(255))) {
        assert!(line.len() <= 510, "{line}");
    }
    let long = format!("{}@{}.example", "a".repeat(255), vec!["b".repeat(60); 4].join("."));
    for command in [format!("MAIL FROM:<{long}>"), format!("RCPT TO:<{long}>")] {
        let lines = lines(&mut client, &command);
        assert!(lines.iter().all(|line| line.len() <= 510), "{lines:?}");
        assert!(lines[0].starts_with("250") || lines[0].starts_with("554"), "{lines:?}");
    }
}

/// A reply of a backend before the final dot, complete or not, is not its reply to the
/// message. RFC 5321 section 4.5.4.1 has the transfer of responsibility in the reply to
/// the end.
#[test]
fn a_reply_that_begins_before_the_end_is_not_believed() {
    let host = Host::new();
    host.configure("", &domains(&[("example.org", PORT, "")]));
    let puppet = puppet(&host, PORT, Strings::default());
    let _daemon = start(&host);
    let whole = "250-2.0.0 first\r\n250 2.0.0 queued\r\n";
    for cut in 1..=whole.len() {
        let (before, after) = whole.split_at(cut);
        puppet.pull(
            Strings::default().reply("DATA", format!("354 go on\r\n{before}")).reply(".", after),
        );
        let mut client = in_data(&host.namespace, "bob@example.org");
        // It is there before the message ends.
        std::thread::sleep(Duration::from_millis(5));
        let reply = told(&mut client, "Subject: s\r\n\r\nx\r\n.");
        assert!(reply.starts_with("451 4.4.2 "), "cut at {cut}: {reply}");
        assert!(!reply.contains("queued") && !reply.contains("first"), "{reply}");
        // The session goes on, and its next message has a connection of its own.
        puppet.pull(Strings::default());
        told(&mut client, "MAIL FROM:<a@client.example>");
        assert!(told(&mut client, "RCPT TO:<bob@example.org>").starts_with("250 "));
        assert!(told(&mut client, "DATA").starts_with("354 "));
        assert!(told(&mut client, "Subject: s\r\n\r\nx\r\n.").starts_with("250 2.0.0 queued"));
    }
    // The same before DATA is said.
    for before in ["3", "354 go", "354 go on\r\n"] {
        puppet.pull(Strings::default().reply("RCPT", format!("250 2.1.5 ok\r\n{before}")));
        let mut client = greeted(&host.namespace);
        told(&mut client, "MAIL FROM:<a@client.example>");
        told(&mut client, "RCPT TO:<bob@example.org>");
        let reply = told(&mut client, "DATA");
        assert!(reply.starts_with("451 4.4.2 "), "{before:?}: {reply}");
    }
}
