//! Replies of mxdp and of backends (RFC 5321 section 4.2, RFC 2034).

use std::fmt;

use memchr::memchr;

use crate::text::is_active;

/// The longest line of a backend's reply, and the most octets of all its lines.
const LINE: usize = 4096;
const REPLY: usize = 32 * 1024;

/// The longest line that a client is sent, in octets with its CRLF (RFC 5321 section
/// 4.5.3.1.5).
pub(super) const CLIENT_LINE: usize = 512;

/// The most lines of a reply that a client is sent.
const CLIENT_LINES: usize = 64;

/// An enhanced status code (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Enhanced {
    /// The code that `text` starts with, and the rest.
    fn split(text: &str) -> Option<(Self, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = code.split('.');
        let is_number =
            |part: &&str| part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut part = || parts.next().filter(is_number)?.parse::<u16>().ok();
        let (class, subject, detail) = (part()?, part()?, part()?);
        let class = u8::try_from(class).ok().filter(|class| [2, 4, 5].contains(class))?;
        parts.next().is_none().then_some((Self(class, subject, detail), rest))
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The enhanced status code; greetings, EHLO and 354 have none.
    pub enhanced: Option<Enhanced>,
    /// The text, a line each; never empty, without control characters.
    pub lines: Vec<String>,
}

impl Reply {
    /// Its first line alone.
    #[must_use]
    pub fn start(&self) -> Self {
        Self { lines: self.lines.iter().take(1).cloned().collect(), ..*self }
    }

    /// A reply of one line.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<Enhanced>, text: impl Into<String>) -> Self {
        Self { code, enhanced, lines: vec![text.into()] }
    }

    /// Whether it is 2xx.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it is 5xx.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends it to what is sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }

    /// The reply for a client that was promised enhanced codes: where a backend gave none, the
    /// general code of its class (RFC 3463 section 3.1). A reply whose enhanced code is of another
    /// class than its code contradicts itself (RFC 2034 section 4): the code counts, since every
    /// client acts on it, and the text is replaced by ours.
    #[must_use]
    pub fn with_enhanced(self) -> Self {
        let class = u8::try_from(self.code / 100).unwrap_or(5);
        let text = match (class, self.enhanced) {
            (2 | 4 | 5, None) => {
                return Self { enhanced: Some(Enhanced(class, 0, 0)), ..self };
            }
            (_, Some(enhanced)) if enhanced.0 == class => return self,
            (2, _) => "accepted by the mail system",
            (4, _) => "the mail system refuses temporarily, try again later",
            (5, _) => "the mail system refuses",
            _ => return Self { enhanced: None, ..self },
        };
        Self::new(self.code, Some(Enhanced(class, 0, 0)), text)
    }

    /// The reply as it may go over the wire to a client: printable ASCII (RFC 5321
    /// section 4.2), or what is printable at all where the client said SMTPUTF8
    /// (RFC 6531 section 3.7.4), in lines of at most 512 octets.
    #[must_use]
    pub fn for_client(&self, smtputf8: bool) -> Self {
        let printable = |letter: char| match letter {
            '\t' => ' ',
            letter if is_active(letter) || letter == char::REPLACEMENT_CHARACTER => '?',
            letter if letter.is_ascii() || smtputf8 => letter,
            _ => '?',
        };
        // The code, its separator, the enhanced code and the line's end.
        let enhanced = self.enhanced.map_or(0, |enhanced| enhanced.to_string().len() + 1);
        let room = CLIENT_LINE - 4 - enhanced - 2;
        let mut lines = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            let line: String = line.chars().map(printable).collect();
            fold(&line, room, &mut lines);
        }
        lines.truncate(CLIENT_LINES);
        Self { lines, ..*self }
    }

    /// The text in one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
}

impl fmt::Display for Reply {
    /// As it goes over the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            let separator = if index == last { ' ' } else { '-' };
            write!(f, "{}{separator}", self.code)?;
            if let Some(enhanced) = self.enhanced {
                write!(f, "{enhanced} ")?;
            }
            write!(f, "{line}\r\n")?;
        }
        Ok(())
    }
}

/// Cuts a text into lines of at most `room` octets, behind a space where there is one.
fn fold(text: &str, room: usize, lines: &mut Vec<String>) {
    let mut rest = text;
    while rest.len() > room {
        let mut end = room;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let cut = rest[..end].rfind(' ').filter(|space| *space > room / 2);
        let (line, more) = rest.split_at(cut.unwrap_or(end));
        lines.push(line.to_owned());
        rest = more.strip_prefix(' ').unwrap_or(more);
    }
    lines.push(rest.to_owned());
}

/// Bytes from a backend are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

/// Assembles a backend's replies from its bytes.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    used: usize,
    lines: Vec<String>,
    octets: usize,
}

impl Replies {
    /// Adds bytes of the backend.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no bytes are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == self.bytes.len() && self.lines.is_empty()
    }

    /// Takes the next reply; none if it has not arrived whole.
    ///
    /// # Errors
    ///
    /// When the bytes are not a reply, or are longer than any backend needs.
    pub fn take(&mut self) -> Result<Option<Reply>, Garbled> {
        loop {
            let rest = &self.bytes[self.used..];
            let Some(end) = memchr(b'\n', rest) else {
                return if rest.len() > LINE { Err(Garbled) } else { Ok(None) };
            };
            self.octets += end;
            if end > LINE || self.octets > REPLY {
                return Err(Garbled);
            }
            let line = rest[..end].strip_suffix(b"\r").ok_or(Garbled)?;
            let (code, is_last, text) = split(line).ok_or(Garbled)?;
            let same_code = self.lines.first().is_none_or(|first| first.starts_with(&code));
            if !same_code {
                return Err(Garbled);
            }
            self.lines.push(format!("{code}{text}"));
            self.used += end + 1;
            if is_last {
                self.octets = 0;
                return whole(&std::mem::take(&mut self.lines)).map(Some).ok_or(Garbled);
            }
        }
    }
}

/// Code, whether the reply ends here, and text of a line.
fn split(line: &[u8]) -> Option<(String, bool, String)> {
    let (code, rest) = line.split_at_checked(3)?;
    let is_code = (b'2'..=b'5').contains(&code[0]) && code.iter().all(u8::is_ascii_digit);
    let (is_last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    let text = String::from_utf8_lossy(text);
    let printable = |letter: char| match letter {
        '\t' => ' ',
        letter if is_active(letter) || letter == char::REPLACEMENT_CHARACTER => '?',
        letter => letter,
    };
    let text = text.chars().map(printable);
    is_code.then(|| (String::from_utf8_lossy(code).into_owned(), is_last, text.collect()))
}

/// A reply of lines that each begin with its code.
fn whole(lines: &[String]) -> Option<Reply> {
    let code: u16 = lines.first()?.get(..3)?.parse().ok()?;
    let all = || lines.iter().filter_map(|line| Enhanced::split(line.get(3..)?));
    // An enhanced code that contradicts the code counts, whichever line has it.
    let contradicts = |enhanced: &Enhanced| u16::from(enhanced.0) != code / 100;
    let enhanced = all().map(|(enhanced, _)| enhanced);
    let enhanced = enhanced.clone().find(contradicts).or_else(|| enhanced.clone().next());
    let text =
        lines.iter().filter_map(|line| line.get(3..)).map(|text| match Enhanced::split(text) {
            Some((_, rest)) if enhanced.is_some() => rest.to_owned(),
            _ => text.to_owned(),
        });
    Some(Reply { code, enhanced, lines: text.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(bytes: &[u8]) -> Result<Vec<Reply>, Garbled> {
        let mut replies = Replies::default();
        let mut all = Vec::new();
        for byte in bytes {
            replies.push(&[*byte]);
            all.extend(replies.take()?);
        }
        Ok(all)
    }

    #[test]
    fn replies_are_put_together_and_written_again() {
        let wire = "250-mail.example.org\r\n250-SIZE 100\r\n250 DSN\r\n550 5.1.1 <a@b>: unknown\r\n\
            451-4.3.0 one\r\n451 4.3.0 two\r\n354 go\r\n250\r\n";
        let all = replies(wire.as_bytes()).unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(all[0].lines, ["mail.example.org", "SIZE 100", "DSN"]);
        assert_eq!(all[1].enhanced, Some(Enhanced(5, 1, 1)));
        assert_eq!(all[2].lines, ["one", "two"]);
        let written: String = all.iter().map(ToString::to_string).collect();
        assert_eq!(written, wire.replace("250\r\n", "250 \r\n"));
        assert_eq!(all[4].clone().with_enhanced().to_string(), "250 2.0.0 \r\n");
    }

    #[test]
    fn nonsense_is_told_from_replies() {
        for bytes in [
            &b"hello\r\n"[..],
            b"25\r\n",
            b"2500 x\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250 x\n",
            b"250-x\r\n251 x\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x15\x03\x01\x00\x02\r\n",
        ] {
            assert_eq!(replies(bytes), Err(Garbled), "{bytes:?}");
        }
        assert_eq!(replies(&[b'2'; 5000]), Err(Garbled));
        assert_eq!(replies(&b"250-x\r\n".repeat(10_000)), Err(Garbled));
    }

    #[test]
    fn control_characters_do_not_pass() {
        let all = replies(b"250 a\x1b[2Jb\0\r\n").unwrap();
        assert_eq!(all[0].to_string(), "250 a?[2Jb?\r\n");
    }

    /// A backend's reply in the form that a client is sent.
    fn relayed(wire: &[u8], smtputf8: bool) -> String {
        let all = replies(wire).unwrap();
        assert_eq!(all.len(), 1);
        all[0].clone().with_enhanced().for_client(smtputf8).to_string()
    }

    /// RFC 5321 section 4.2: text is printable ASCII, and RFC 6531 section 3.7.4: beyond
    /// it only where SMTPUTF8 was used.
    #[test]
    fn only_printable_ascii_is_relayed() {
        let german = "550 5.1.1 Empf\u{e4}nger\u{2028}unbekannt\r\n".as_bytes();
        assert_eq!(relayed(german, false), "550 5.1.1 Empf?nger?unbekannt\r\n");
        assert_eq!(relayed(german, true), "550 5.1.1 Empf\u{e4}nger?unbekannt\r\n");
        for smtputf8 in [false, true] {
            assert_eq!(relayed(b"550 5.1.1 f\xfcr\r\n", smtputf8), "550 5.1.1 f?r\r\n");
            assert_eq!(relayed(b"550 5.1.1 a\tb\x7f\r\n", smtputf8), "550 5.1.1 a b?\r\n");
        }
    }

    /// RFC 5321 section 4.5.3.1.5: 512 octets a line, and more by more lines.
    #[test]
    fn long_lines_are_folded() {
        for wire in [
            [b"550 5.7.1 ".to_vec(), b"word ".repeat(120), b"end\r\n".to_vec()].concat(),
            [b"550 5.7.1 ".to_vec(), vec![b'x'; 3000], b"\r\n".to_vec()].concat(),
            [b"550-5.7.1 ".to_vec(), vec![b'x'; 600], b"\r\n550 5.7.1 y\r\n".to_vec()].concat(),
        ] {
            let text = relayed(&wire, false);
            let lines: Vec<_> = text.split_inclusive("\r\n").collect();
            let (last, first) = lines.split_last().unwrap();
            assert!(lines.iter().all(|line| line.len() <= CLIENT_LINE), "{text}");
            assert!(first.iter().all(|line| line.starts_with("550-5.7.1 ")), "{text}");
            assert!(!first.is_empty() && last.starts_with("550 5.7.1 "), "{text}");
            let letters =
                |text: &str| text.bytes().filter(|byte| b"wordxey".contains(byte)).count();
            assert_eq!(letters(&text), letters(&String::from_utf8_lossy(&wire)), "nothing is lost");
        }
        let many = [b"250-a\r\n".repeat(1000), b"250 b\r\n".to_vec()].concat();
        assert_eq!(relayed(&many, false).lines().count(), CLIENT_LINES);
        let letters = relayed(
            &[b"550 5.1.1 ".to_vec(), "\u{e4}".repeat(400).into_bytes(), b"\r\n".to_vec()].concat(),
            true,
        );
        assert!(letters.split_inclusive("\r\n").all(|line| line.len() <= CLIENT_LINE));
        assert_eq!(letters.matches('\u{e4}').count(), 400);
    }

    /// RFC 2034 section 4: the classes of both codes agree. Clients act on the code; the text was
    /// written for the other one.
    #[test]
    fn an_enhanced_code_never_contradicts_the_code() {
        for (wire, told) in [
            (
                "451 2.0.0 queued\r\n",
                "451 4.0.0 the mail system refuses temporarily, try again later\r\n",
            ),
            (
                "450 5.1.1 unknown\r\n",
                "450 4.0.0 the mail system refuses temporarily, try again later\r\n",
            ),
            ("550 4.2.2 full\r\n", "550 5.0.0 the mail system refuses\r\n"),
            ("550 2.1.5 ok\r\n", "550 5.0.0 the mail system refuses\r\n"),
            ("250 5.1.1 unknown\r\n", "250 2.0.0 accepted by the mail system\r\n"),
            ("250 4.2.0 greylisted\r\n", "250 2.0.0 accepted by the mail system\r\n"),
            ("550-5.1.1 no\r\n550 2.0.0 queued\r\n", "550 5.0.0 the mail system refuses\r\n"),
            ("550-no\r\n550 2.0.0 queued\r\n", "550 5.0.0 the mail system refuses\r\n"),
            ("550-no\r\n550 5.1.1 such user\r\n", "550-5.1.1 no\r\n550 5.1.1 such user\r\n"),
            ("550 +5.1.1 no\r\n", "550 5.0.0 +5.1.1 no\r\n"),
            ("550 5.1.1 no\r\n", "550 5.1.1 no\r\n"),
        ] {
            assert_eq!(relayed(wire.as_bytes(), false), told);
        }
    }
}
