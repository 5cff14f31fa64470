//! The header of a message: what the mail log keeps of it, how many hosts it has passed, and the
//! Received field that is added.

use std::net::IpAddr;

use mail_parser::MessageParser;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::address::{ForwardPath, Host};

/// The fields that the mail log keeps, in lower case. No other field is parsed, which bounds the
/// cost of what a client sends.
const FIELDS: [&[u8]; 3] = [b"message-id", b"from", b"subject"];

/// The octets that are kept of each field. Decoding may take quadratic time (encoded words that do
/// not end), and runs on the threads that move bytes.
const KEPT: usize = 2048;

/// The longest field name that is compared.
const LONGEST_NAME: usize = 16;

/// The longest text that is kept of a field, in characters.
const FIELD: usize = 512;

const RECEIVED: &[u8] = b"received";

/// What the mail log keeps of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFacts {
    /// Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// The first address of From.
    pub from: Option<String>,
    /// Subject, decoded.
    pub subject: Option<String>,
}

impl MessageFacts {
    /// The same facts, each cut to `longest` bytes.
    #[must_use]
    pub fn cut(&self, longest: usize) -> Self {
        let cut = |text: &Option<String>| {
            text.as_ref().map(|text| text[..text.floor_char_boundary(longest)].to_owned())
        };
        Self {
            message_id: cut(&self.message_id),
            from: cut(&self.from),
            subject: cut(&self.subject),
        }
    }
}

/// Watches a header as it streams by.
#[derive(Debug, Default)]
pub struct HeaderScan {
    /// The last occurrence of each field that is kept, with its name, and folded as it arrived.
    kept: [Vec<u8>; FIELDS.len()],
    ended: bool,
    /// The octets since the last line end.
    column: usize,
    line: Line,
    hops: u32,
    is_beyond_ascii: bool,
}

/// The current line.
#[derive(Debug, Default)]
enum Line {
    /// The name of a field as far as it has arrived, in lower case.
    Name(Vec<u8>),
    /// A field that is kept.
    Kept(usize),
    /// Any other.
    #[default]
    Other,
}

impl HeaderScan {
    /// At the start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Scans a piece of the message.
    pub fn look(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.ended {
                return;
            }
            self.next(*byte);
        }
    }

    fn next(&mut self, byte: u8) {
        if self.column == 0 && !b" \t".contains(&byte) {
            self.line = Line::Name(Vec::with_capacity(LONGEST_NAME));
        }
        self.column += 1;
        self.is_beyond_ascii |= !byte.is_ascii();
        match &mut self.line {
            Line::Name(name) if byte == b':' => {
                let name = std::mem::take(name);
                self.line = self.field(name.trim_ascii_end());
            }
            Line::Name(name) if name.len() < LONGEST_NAME => name.push(byte.to_ascii_lowercase()),
            Line::Name(_) => self.line = Line::Other,
            Line::Kept(index) => {
                if let Some(kept) = self.kept.get_mut(*index)
                    && kept.len() < KEPT
                {
                    kept.push(byte);
                }
            }
            Line::Other => {}
        }
        if byte == b'\n' {
            // Lines end with CRLF, so an empty one has its CR only.
            self.ended = self.column == 2;
            self.column = 0;
        }
    }

    /// A field begins.
    fn field(&mut self, name: &[u8]) -> Line {
        if name == RECEIVED {
            self.hops += 1;
        }
        let Some(index) = FIELDS.iter().position(|known| *known == name) else {
            return Line::Other;
        };
        let Some(kept) = self.kept.get_mut(index) else { return Line::Other };
        kept.clear();
        kept.extend_from_slice(name);
        kept.push(b':');
        Line::Kept(index)
    }

    /// The Received lines so far.
    #[must_use]
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// Whether the header is ASCII so far.
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        !self.is_beyond_ascii
    }

    /// What the mail log keeps.
    #[must_use]
    pub fn facts(&self) -> MessageFacts {
        let header = self.kept.iter().filter(|field| !field.is_empty());
        let lines = header.map(|field| [field.trim_ascii_end(), b"\r\n"].concat());
        let header = lines.collect::<Vec<_>>().concat();
        let Some(message) = MessageParser::new().parse_headers(header.as_slice()) else {
            return MessageFacts::default();
        };
        let from = message.from().and_then(|from| from.first()).and_then(|from| from.address());
        MessageFacts {
            message_id: message.message_id().map(clean),
            from: from.map(clean),
            subject: message.subject().map(clean),
        }
    }
}

/// A text of the message for the mail log: short, and on one line.
fn clean(text: &str) -> String {
    let letters = text.chars().take(FIELD);
    letters.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The contents of the Received field that is added.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// The name in the client's HELO or EHLO.
    pub helo: &'a str,
    /// Its name by reverse DNS, if it is confirmed.
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
        // A HELO name that is neither a domain nor a literal would break the field's grammar.
        let helo = match Host::parse(self.helo) {
            Ok(host) => host.to_string(),
            Err(_) => "unknown".to_owned(),
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
        assert!(scan.kept.iter().all(|field| field.len() <= KEPT));
        assert!(scan.facts().subject.unwrap_or_default().len() <= FIELD);
    }

    /// Source: 64 KB of encoded words that do not end took 0.7 s on a thread that moves bytes.
    #[test]
    fn only_a_part_of_three_fields_is_decoded() {
        let words = "=?aa?q?x".repeat(8180);
        for name in ["Subject", "From", "Comments", "List-Id", "Content-Type", "Message-ID"] {
            let scan = scan(&format!("{name}: {words}\r\nSubject : b\r\n\r\n"), 4096);
            assert!(scan.kept.iter().map(Vec::len).sum::<usize>() <= 3 * KEPT);
            assert_eq!(scan.facts().subject.as_deref(), Some("b"), "{name}");
        }
        // Fields that come twice: the last counts.
        let scan = scan("Subject: c\r\nX: y\r\nSubject: a\r\n\tb\r\n\r\n", 1);
        assert_eq!(scan.facts().subject.as_deref(), Some("a b"));
    }

    #[test]
    fn charsets_of_the_east_are_read() {
        for (word, text) in [
            ("=?gb2312?B?xOO6ww==?=", "你好"),
            ("=?big5?B?p0Gmbg==?=", "你好"),
            ("=?shift_jis?B?k/qWew==?=", "日本"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?euc-kr?B?x9GxuQ==?=", "한국"),
        ] {
            let scan = scan(&format!("Subject: {word}\r\n\r\n"), 7);
            assert_eq!(scan.facts().subject.as_deref(), Some(text), "{word}");
        }
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
