//! The header of a message: what the record keeps of it, the hops it has made,
//! and the one line that is added.

use std::net::IpAddr;

use mail_parser::MessageParser;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::address::{ForwardPath, Host};

/// The octets of a header that are looked at for the record.
const KEPT: usize = 64 * 1024;

/// The longest text that is kept of a field, in characters.
const FIELD: usize = 512;

const RECEIVED: &[u8] = b"received:";

/// What the record keeps of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFacts {
    /// Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// The first address of From.
    pub from: Option<String>,
    /// Subject, decoded.
    pub subject: Option<String>,
}

/// Watches a header as it streams by.
#[derive(Debug, Default)]
pub struct HeaderScan {
    kept: Vec<u8>,
    ended: bool,
    /// The octets since the last line end.
    column: usize,
    /// How many of them are the start of `Received:`; none when they are not.
    matched: Option<usize>,
    hops: u32,
}

impl HeaderScan {
    /// At the start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self { matched: Some(0), ..Self::default() }
    }

    /// Looks at a piece of the message.
    pub fn look(&mut self, piece: &[u8]) {
        if self.ended {
            return;
        }
        for (index, byte) in piece.iter().enumerate() {
            if *byte == b'\n' {
                // Lines end with CRLF, so an empty one has its CR only.
                if self.column == 1 {
                    self.ended = true;
                    self.keep(&piece[..=index]);
                    return;
                }
                self.column = 0;
                self.matched = Some(0);
                continue;
            }
            self.column += 1;
            self.matched = match self.matched {
                Some(at) if RECEIVED.get(at) == Some(&byte.to_ascii_lowercase()) => Some(at + 1),
                _ => None,
            };
            if self.matched == Some(RECEIVED.len()) {
                self.hops += 1;
            }
        }
        self.keep(piece);
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = KEPT - self.kept.len().min(KEPT);
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The Received lines so far.
    #[must_use]
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// What the record keeps.
    #[must_use]
    pub fn facts(&self) -> MessageFacts {
        let parsed = MessageParser::new().parse_headers(self.kept.as_slice());
        let Some(message) = parsed else { return MessageFacts::default() };
        let from = message.from().and_then(|from| from.first()).and_then(|from| from.address());
        MessageFacts {
            message_id: message.message_id().map(clean),
            from: from.map(clean),
            subject: message.subject().map(clean),
        }
    }
}

/// A text of the message for the record: short, in one line.
fn clean(text: &str) -> String {
    let letters = text.chars().take(FIELD);
    letters.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// What stands in the line that is added.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// What the client called itself.
    pub helo: &'a str,
    /// Its name by reverse DNS, where it is confirmed.
    pub name: Option<&'a str>,
    /// Its address.
    pub client: IpAddr,
    /// This host.
    pub hostname: &'a str,
    /// The protocol keyword (RFC 3848, RFC 6531).
    pub protocol: &'static str,
    /// Version and cipher of TLS.
    pub tls: Option<&'a str>,
    /// The reference of the message.
    pub id: &'a str,
    /// The recipient, where there is only one.
    pub recipient: Option<&'a ForwardPath>,
    /// Seconds of the Unix epoch.
    pub unix: u64,
}

impl Received<'_> {
    /// The field, folded, with its CRLF (RFC 5321 section 4.4).
    #[must_use]
    pub fn field(&self) -> String {
        let client = Host::Literal(self.client.to_canonical());
        // What is no name and no literal would break the field's grammar.
        let helo = match Host::parse(self.helo) {
            Some(host) => host.to_string(),
            None => "unknown".to_owned(),
        };
        let name = self.name.map_or_else(String::new, |name| format!("{name} "));
        let mut field =
            format!("Received: from {helo} ({name}{client})\r\n\tby {} (mxdp)", self.hostname);
        field.push_str(&format!(" with {} id {}", self.protocol, self.id));
        if let Some(tls) = self.tls {
            field.push_str(&format!("\r\n\t({tls})"));
        }
        if let Some(recipient) = self.recipient {
            field.push_str(&format!("\r\n\tfor <{recipient}>"));
        }
        field.push_str(&format!(";\r\n\t{}\r\n", date(self.unix)));
        field
    }
}

/// RFC 5322 section 3.3, in UTC.
fn date(unix: u64) -> String {
    let time =
        i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // Fails for years before 1900 only.
    time.format(&Rfc2822).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str, step: usize) -> HeaderScan {
        let mut scan = HeaderScan::new();
        for piece in text.as_bytes().chunks(step) {
            scan.look(piece);
        }
        scan
    }

    #[test]
    fn hops_and_facts_come_from_the_header_alone() {
        let text = "Received: a\r\nX-Received: b\r\nRECEIVED: c\r\n\treceived: folded\r\n\
            Message-ID: <1@x>\r\nFrom: \"A, B\" <a@x>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n\
            Received: body\r\nSubject: body\r\n";
        for step in [1, 2, 3, 1000] {
            let scan = scan(text, step);
            assert_eq!(scan.hops(), 2);
            let facts = scan.facts();
            assert_eq!(facts.message_id.as_deref(), Some("1@x"));
            assert_eq!(facts.from.as_deref(), Some("a@x"));
            assert_eq!(facts.subject.as_deref(), Some("Grüße"));
        }
        assert_eq!(scan("\r\nReceived: body\r\n", 9).hops(), 0);
        assert_eq!(scan("", 1).facts(), MessageFacts::default());
    }

    #[test]
    fn a_long_header_is_bounded() {
        let scan = scan(&format!("Subject: {}\r\n\r\n", "x".repeat(1_000_000)), 4096);
        assert!(scan.kept.len() <= KEPT);
        assert!(scan.facts().subject.unwrap_or_default().len() <= FIELD);
    }

    #[test]
    fn the_line_that_is_added() {
        let mut received = Received {
            helo: "mail.example.com",
            name: None,
            client: "::ffff:192.0.2.1".parse().unwrap(),
            hostname: "mx.example.org",
            protocol: "ESMTPS",
            tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384"),
            id: "X-1",
            recipient: Some(&ForwardPath::Postmaster),
            unix: 1_795_407_247,
        };
        assert_eq!(
            received.field(),
            "Received: from mail.example.com ([192.0.2.1])\r\n\tby mx.example.org (mxdp) with ESMTPS \
             id X-1\r\n\t(TLSv1.3 TLS13_AES_256_GCM_SHA384)\r\n\tfor <postmaster>;\r\n\t\
             Mon, 23 Nov 2026 04:14:07 +0000\r\n"
        );
        received.name = Some("mail.example.net");
        let field = received.field();
        assert!(field.starts_with(
            "Received: from mail.example.com (mail.example.net [192.0.2.1])\r\n\tby "
        ));
        received.name = None;
        received.helo = "a(b";
        assert!(received.field().starts_with("Received: from unknown ([192.0.2.1])"));
    }
}
