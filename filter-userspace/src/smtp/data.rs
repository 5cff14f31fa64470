//! Message bytes: decoded strictly from the wire ([`Decoder`]), encoded canonically onto it
//! ([`Stuffer`]).
//!
//! Between the two is the message itself: lines that end with CRLF, without the dots for
//! transparency (RFC 5321 section 4.5.2). Whatever a client sends, a backend sees every line end as
//! CRLF and exactly one line of a single dot, which is ours: two implementations cannot interpret
//! it differently.

use memchr::{memchr3, memmem};

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadData {
    /// A CR that no LF follows.
    BareCr,
    /// An LF that no CR precedes.
    BareLf,
    /// A NUL, which only BINARYMIME could carry; it is not offered.
    Nul,
}

/// What bare line ends in a message do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewlines {
    /// A bare line end fails the message.
    #[default]
    Refuse,
    /// Each becomes a CRLF; none of them can end the message.
    Normalise,
}

/// How far a decoder got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The bytes that were used.
    pub used: usize,
    /// Whether the message has ended; what follows is the next command.
    pub ended: bool,
}

/// The position of the decoder in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At its start, behind a CRLF.
    Start,
    /// Behind its first dot, which was not passed on.
    Dot,
    /// Behind a first dot and CR.
    DotCr,
    /// Within it.
    Inside,
    /// Behind a CR, which was not passed on.
    Cr,
}

/// Reads the bytes of DATA, up to and with the line of a single dot, or those of
/// BDAT chunks.
#[derive(Debug)]
pub struct Decoder {
    at: At,
    /// Whether dots are for transparency: in DATA, not in BDAT.
    dots: bool,
    bare: BareNewlines,
}

impl Decoder {
    /// For DATA.
    #[must_use]
    pub const fn data(bare: BareNewlines) -> Self {
        Self { at: At::Start, dots: true, bare }
    }

    /// For BDAT (RFC 3030): the bytes are counted, so dots have no meaning, and a bare line end
    /// cannot end the message. What becomes of one is configured all the same.
    #[must_use]
    pub const fn chunks(bare: BareNewlines) -> Self {
        Self { at: At::Start, dots: false, bare }
    }

    /// Reads `bytes`, and gives the message in them to `sink` in pieces.
    ///
    /// # Errors
    ///
    /// When the bytes are not a message; what was given to `sink` before is not taken back.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Decoded, BadData> {
        let mut used = 0;
        // A CR at the end is held until its LF arrives, so that a line end is never split.
        while let Some(&byte) = bytes.get(used) {
            match self.at {
                At::Start if byte == b'.' && self.dots => {
                    self.at = At::Dot;
                    used += 1;
                }
                At::Dot if byte == b'\r' => {
                    self.at = At::DotCr;
                    used += 1;
                }
                At::DotCr if byte == b'\n' => return Ok(Decoded { used: used + 1, ended: true }),
                At::DotCr => {
                    self.bare(BadData::BareCr)?;
                    // The dot was the whole line, and this was not the end.
                    sink(b".\r\n");
                    self.at = At::Inside;
                }
                At::Dot if byte == b'\n' => {
                    self.bare(BadData::BareLf)?;
                    sink(b".\r\n");
                    self.at = At::Inside;
                    used += 1;
                }
                At::Cr => {
                    sink(b"\r\n");
                    if byte == b'\n' {
                        self.at = At::Start;
                        used += 1;
                    } else {
                        self.bare(BadData::BareCr)?;
                        self.at = At::Inside;
                    }
                }
                At::Start | At::Dot | At::Inside => used += self.run(&bytes[used..], &mut sink)?,
            }
        }
        Ok(Decoded { used, ended: false })
    }

    /// Ends chunks: after the last one no CR may be open.
    ///
    /// # Errors
    ///
    /// When one is.
    pub fn end_of_chunks(&mut self, mut sink: impl FnMut(&[u8])) -> Result<(), BadData> {
        if self.at == At::Cr {
            self.bare(BadData::BareCr)?;
            sink(b"\r\n");
        }
        Ok(())
    }

    /// Passes on as many bytes as possible in one piece.
    fn run(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<usize, BadData> {
        let mut end = 0;
        self.at = At::Inside;
        while let Some(found) = memchr3(b'\r', b'\n', 0, &bytes[end..]) {
            let at = end + found;
            match (bytes[at], bytes.get(at + 1)) {
                (b'\r', Some(b'\n')) if bytes.get(at + 2) == Some(&b'.') && self.dots => {
                    sink(&bytes[..at + 2]);
                    self.at = At::Start;
                    return Ok(at + 2);
                }
                (b'\r', Some(b'\n')) => {
                    end = at + 2;
                    if end == bytes.len() {
                        self.at = At::Start;
                    }
                }
                (b'\r', _) => {
                    sink(&bytes[..at]);
                    self.at = At::Cr;
                    return Ok(at + 1);
                }
                (b'\n', _) => {
                    sink(&bytes[..at]);
                    self.bare(BadData::BareLf)?;
                    sink(b"\r\n");
                    return Ok(at + 1);
                }
                _ => {
                    sink(&bytes[..at]);
                    return Err(BadData::Nul);
                }
            }
        }
        sink(bytes);
        Ok(bytes.len())
    }

    const fn bare(&self, error: BadData) -> Result<(), BadData> {
        match self.bare {
            BareNewlines::Refuse => Err(error),
            BareNewlines::Normalise => Ok(()),
        }
    }
}

/// Writes a message as DATA: dots doubled at the starts of lines, one line of a
/// single dot at its end.
#[derive(Debug)]
pub struct Stuffer {
    at_start: bool,
}

impl Stuffer {
    /// At the start of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { at_start: true }
    }

    /// Appends a piece of the message to `out`.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(last) = piece.last() else { return };
        if self.at_start && piece[0] == b'.' {
            out.push(b'.');
        }
        let mut copied = 0;
        for found in memmem::find_iter(piece, b"\n.") {
            out.extend_from_slice(&piece[copied..=found]);
            out.push(b'.');
            copied = found + 1;
        }
        out.extend_from_slice(&piece[copied..]);
        self.at_start = *last == b'\n';
    }

    /// Ends the message.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.at_start { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The message in `wire`, cut at every `step` bytes, and the bytes used.
    fn decode(
        mut decoder: Decoder,
        wire: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, usize, bool), BadData> {
        let mut message = Vec::new();
        let mut used = 0;
        for piece in wire.chunks(step) {
            let decoded = decoder.decode(piece, |piece| message.extend_from_slice(piece))?;
            used += decoded.used;
            if decoded.ended {
                return Ok((message, used, true));
            }
            assert_eq!(decoded.used, piece.len(), "everything is used until the end");
        }
        decoder.end_of_chunks(|piece| message.extend_from_slice(piece))?;
        Ok((message, used, false))
    }

    fn strict(wire: &[u8]) -> Result<(Vec<u8>, usize, bool), BadData> {
        let whole = decode(Decoder::data(BareNewlines::Refuse), wire, wire.len().max(1));
        for step in 1..8 {
            assert_eq!(decode(Decoder::data(BareNewlines::Refuse), wire, step), whole, "{step}");
        }
        whole
    }

    fn message(text: &str) -> (Vec<u8>, bool) {
        let (message, _, ended) = strict(text.as_bytes()).unwrap();
        (message, ended)
    }

    #[test]
    fn the_message_is_what_stands_between() {
        assert_eq!(message("a\r\nb\r\n.\r\nQUIT\r\n"), (b"a\r\nb\r\n".to_vec(), true));
        assert_eq!(message(".\r\n"), (Vec::new(), true));
        assert_eq!(message("..\r\n...\r\n.x\r\n.\r\n"), (b".\r\n..\r\nx\r\n".to_vec(), true));
        assert_eq!(message("a.\r\n.\r\n"), (b"a.\r\n".to_vec(), true));
        assert_eq!(message("a\r\n."), (b"a\r\n".to_vec(), false));
        assert_eq!(strict(b"a\r\n.\r\nQUIT").unwrap().1, 6);
    }

    #[test]
    fn nothing_else_ends_a_message() {
        for (wire, error) in [
            (&b"a\n.\n"[..], BadData::BareLf),
            (b"a\n.\r\n", BadData::BareLf),
            (b"a\r\n.\n", BadData::BareLf),
            (b"a\r\n.\r\r\n", BadData::BareCr),
            (b"a\r.\r\n", BadData::BareCr),
            (b"a\r\n.\rb", BadData::BareCr),
            (b"a\r\r\n.\r\n", BadData::BareCr),
            (b"a\r\n\r.\r\n", BadData::BareCr),
            (b"a\r\n.\0\r\n", BadData::Nul),
            (b"a\r\n\0.\r\n", BadData::Nul),
            (b"\n", BadData::BareLf),
            (b"\ra", BadData::BareCr),
            (b".\n", BadData::BareLf),
        ] {
            assert_eq!(strict(wire), Err(error), "{wire:?}");
        }
    }

    #[test]
    fn normalising_makes_lines_and_never_an_end() {
        let normal = |wire: &[u8]| {
            let whole = decode(Decoder::data(BareNewlines::Normalise), wire, wire.len()).unwrap();
            for step in 1..5 {
                let cut = decode(Decoder::data(BareNewlines::Normalise), wire, step).unwrap();
                assert_eq!(cut, whole, "{step}");
            }
            (String::from_utf8(whole.0).unwrap(), whole.2)
        };
        assert_eq!(normal(b"a\nb\r\n.\r\n"), ("a\r\nb\r\n".to_owned(), true));
        assert_eq!(normal(b"a\n.\nb\r\n.\r\n"), ("a\r\n.\r\nb\r\n".to_owned(), true));
        assert_eq!(normal(b"a\n.\r\nb\r\n.\r\n"), ("a\r\n.\r\nb\r\n".to_owned(), true));
        assert_eq!(normal(b"a\r\n.\nb\r\n.\r\n"), ("a\r\n.\r\nb\r\n".to_owned(), true));
        assert_eq!(normal(b"a\r\n.\r\r\n.\r\n"), ("a\r\n.\r\n\r\n".to_owned(), true));
        assert_eq!(normal(b"a\rb\r\n.\r\n"), ("a\r\nb\r\n".to_owned(), true));
    }

    #[test]
    fn chunks_have_no_dots_for_transparency() {
        let chunks = |wire: &[u8]| {
            let whole = decode(Decoder::chunks(BareNewlines::Refuse), wire, wire.len());
            assert_eq!(decode(Decoder::chunks(BareNewlines::Refuse), wire, 1), whole);
            whole.map(|(message, ..)| message)
        };
        assert_eq!(chunks(b"a\r\n.\r\n..b\r\nc"), Ok(b"a\r\n.\r\n..b\r\nc".to_vec()));
        assert_eq!(chunks(b"a\r"), Err(BadData::BareCr));
        assert_eq!(chunks(b"a\n.\n"), Err(BadData::BareLf));
        assert_eq!(chunks(b"a\0"), Err(BadData::Nul));
    }

    /// A CR at the end of a chunk and an LF at the beginning of the next are one line
    /// end; alone, each is one.
    #[test]
    fn chunks_are_normalised_wherever_they_are_cut() {
        for (wire, message) in [
            (&b"a\nb"[..], &b"a\r\nb"[..]),
            (b"a\rb\r", b"a\r\nb\r\n"),
            (b"\n\r\n\r", b"\r\n\r\n\r\n"),
            (b"a\r\r\n.\n.\r", b"a\r\n\r\n.\r\n.\r\n"),
        ] {
            for step in 1..=wire.len() {
                let whole = decode(Decoder::chunks(BareNewlines::Normalise), wire, step);
                assert_eq!(whole.map(|(found, ..)| found), Ok(message.to_vec()), "{step}");
            }
        }
        let nul = decode(Decoder::chunks(BareNewlines::Normalise), b"a\0", 1);
        assert_eq!(nul.map(|_| ()), Err(BadData::Nul));
    }

    fn stuffed(message: &[u8], step: usize) -> Vec<u8> {
        let mut stuffer = Stuffer::new();
        let mut out = Vec::new();
        for piece in message.chunks(step) {
            stuffer.write(piece, &mut out);
        }
        stuffer.end(&mut out);
        out
    }

    #[test]
    fn dots_are_doubled_and_a_last_line_is_ended() {
        assert_eq!(stuffed(b"", 1), b".\r\n");
        assert_eq!(stuffed(b".\r\n.a\r\nb.\r\n..", 99), b"..\r\n..a\r\nb.\r\n...\r\n.\r\n");
    }

    proptest! {
        /// The output never contains what a lenient reader could take for an end, and a strict
        /// reader decodes the same message again.
        #[test]
        fn what_goes_out_has_one_reading(
            wire in prop::collection::vec(prop::sample::select(&b"\r\n.\0ab\x85"[..]), 0..40),
            step in 1_usize..9,
            dots: bool,
            normalise: bool,
        ) {
            let bare = if normalise { BareNewlines::Normalise } else { BareNewlines::Refuse };
            let decoder = if dots { Decoder::data(bare) } else { Decoder::chunks(bare) };
            let Ok((message, ..)) = decode(decoder, &wire, step) else { return Ok(()) };
            let out = stuffed(&message, step);
            let text: Vec<_> = out.split(|byte| *byte == b'\n').collect();
            for (index, line) in text.iter().enumerate() {
                prop_assert!(index + 1 == text.len() || line.ends_with(b"\r"), "a bare LF");
                let inner = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(!inner.contains(&b'\r') && !inner.contains(&0));
                prop_assert_eq!(inner == b".", index + 2 == text.len(), "one end, the last line");
            }
            let (again, used, ended) = decode(Decoder::data(BareNewlines::Refuse), &out, step)
                .expect("strict");
            prop_assert!(ended && used == out.len());
            let mut message = message;
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                message.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(again, message);
        }
    }
}
