//! Lines of a peer: bytes up to CRLF. Nothing else is a line end (RFC 5321 section 2.3.8).

use memchr::memchr3;

use super::command::is_chunk;

/// The longest line that is accepted from a client, in octets with its CRLF.
///
/// RFC 5321 section 4.5.3.1.4 allows 512 for a command; the parameters that are offered here add 26
/// (SIZE), 17 (BODY), 10 (SMTPUTF8) and 500 each for DSN.
pub const COMMAND_LINE: usize = 2048;

/// Why bytes are not a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// A CR that no LF follows.
    BareCr,
    /// An LF that no CR precedes.
    BareLf,
    /// A NUL.
    Nul,
    /// Longer than permitted.
    TooLong {
        /// Whether it begins as BDAT does: then what follows may be a chunk.
        chunk: bool,
    },
}

/// Bytes that have arrived and are not used yet.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// The bytes before this index are used.
    start: usize,
    /// The bytes from `start` to this index contain no line end.
    searched: usize,
    /// The rest of a line that was too long is passed over.
    skipping: bool,
}

impl Lines {
    /// Adds bytes of the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes that are not used yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether everything was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Marks `count` bytes of [`Self::rest`] as used.
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.bytes.len() - self.start);
        self.searched = 0;
        if self.is_empty() {
            // An idle connection holds no buffer.
            self.bytes = Vec::new();
            self.start = 0;
        } else if self.start > 16 * 1024 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Discards all unused bytes, as STARTTLS requires (RFC 3207 section 4.2).
    pub fn discard(&mut self) {
        *self = Self::default();
    }

    /// Takes the next line, without its CRLF; none if it has not arrived whole.
    ///
    /// # Errors
    ///
    /// When the bytes are not a line of at most `limit` octets. A line that is too long is skipped
    /// as it arrives, and reported once; after the other errors nothing that follows can be
    /// trusted.
    pub fn next(&mut self, limit: usize) -> Result<Option<Vec<u8>>, BadLine> {
        loop {
            let rest = &self.bytes[self.start..];
            let Some(found) = memchr3(b'\r', b'\n', 0, &rest[self.searched..]) else {
                if self.skipping || rest.len() > limit {
                    let first = !self.skipping;
                    self.skipping = true;
                    let chunk = is_chunk(rest);
                    self.consume(usize::MAX);
                    return if first { Err(BadLine::TooLong { chunk }) } else { Ok(None) };
                }
                self.searched = rest.len();
                return Ok(None);
            };
            let at = self.searched + found;
            match (rest[at], rest.get(at + 1)) {
                (b'\n', _) => return Err(BadLine::BareLf),
                (0, _) => return Err(BadLine::Nul),
                (_, None) => {
                    self.searched = at;
                    return Ok(None);
                }
                (_, Some(b'\n')) => {}
                (_, Some(_)) => return Err(BadLine::BareCr),
            }
            let line = rest[..at].to_vec();
            self.consume(at + 2);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            return if line.len() + 2 > limit {
                Err(BadLine::TooLong { chunk: is_chunk(&line) })
            } else {
                Ok(Some(line))
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Result<Option<Vec<u8>>, BadLine>> {
        let mut lines = Lines::default();
        lines.push(bytes);
        let mut all = Vec::new();
        loop {
            let line = lines.next(16);
            let end = matches!(line, Ok(None) | Err(BadLine::BareLf | BadLine::BareCr));
            all.push(line);
            if end {
                return all;
            }
        }
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let line = |text: &str| Ok(Some(text.as_bytes().to_vec()));
        assert_eq!(lines(b"A\r\n\r\nB\r\nC"), [line("A"), line(""), line("B"), Ok(None)]);
        assert_eq!(lines(b"A\nB\r\n"), [Err(BadLine::BareLf)]);
        assert_eq!(lines(b"A\rB\r\n"), [Err(BadLine::BareCr)]);
        assert_eq!(lines(b"A\r\r\n"), [Err(BadLine::BareCr)]);
        assert_eq!(lines(b"A\r"), [Ok(None)]);
    }

    #[test]
    fn bytes_may_come_one_by_one() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for byte in b"EHLO a\r\nQUIT\r\n" {
            lines.push(&[*byte]);
            got.extend(lines.next(16).unwrap());
        }
        assert_eq!(got, [b"EHLO a".to_vec(), b"QUIT".to_vec()]);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_long_line_is_reported_once_and_passed_over() {
        let mut lines = Lines::default();
        let mut errors = 0;
        for _ in 0..1000 {
            lines.push(b"0123456789");
            errors += usize::from(lines.next(16).is_err());
            assert!(lines.rest().len() <= 26, "it is not kept");
        }
        assert_eq!(errors, 1);
        lines.push(b"\r\nNOOP\r\n");
        assert_eq!(lines.next(16), Ok(Some(b"NOOP".to_vec())));

        lines.push(b"0123456789abcdef\r\nNOOP\r\n");
        assert_eq!(lines.next(16), Err(BadLine::TooLong { chunk: false }));
        assert_eq!(lines.next(16), Ok(Some(b"NOOP".to_vec())));
    }

    #[test]
    fn a_long_line_that_announces_a_chunk_is_told_apart() {
        let mut lines = Lines::default();
        lines.push(b"bdat 5                  \r\n");
        assert_eq!(lines.next(16), Err(BadLine::TooLong { chunk: true }));
        lines.push(b"BDAT 5                  ");
        assert_eq!(lines.next(16), Err(BadLine::TooLong { chunk: true }));
    }
}
