//! Text files as a whole: what is not a text file of addresses at all, and the lines of
//! what is one.

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileLine<'a> {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Its bytes, without the line end.
    pub(crate) bytes: &'a [u8],
    /// Whether it has a line end. A last line without one may have been cut.
    pub(crate) has_end: bool,
}

/// The lines of a file. LF, CR LF and a single CR end a line; behind the last line end
/// there is none.
pub(crate) fn file_lines(bytes: &[u8]) -> impl Iterator<Item = FileLine<'_>> {
    let mut rest = bytes;
    (1_u32..).map_while(move |number| {
        if rest.is_empty() {
            return None;
        }
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
            let line = std::mem::take(&mut rest);
            return Some(FileLine { number, bytes: line, has_end: false });
        };
        let line = &rest[..end];
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
        Some(FileLine { number, bytes: line, has_end: true })
    })
}

/// The bytes without the byte-order mark of UTF-8 in front.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Why a file is not a text file of addresses, where its beginning says so: one error
/// for the file instead of one for each line, and none that is skipped.
pub(crate) fn not_text(bytes: &[u8]) -> Option<&'static str> {
    const SEEN: usize = 512;
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Some("the file is UTF-32 text; save it as UTF-8");
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Some("the file is UTF-16 text; save it as UTF-8");
        }
        [0x1f, 0x8b, ..] => return Some("the file is compressed with gzip; unpack it"),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => {
            return Some("the file is compressed with bzip2; unpack it");
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            return Some("the file is compressed with xz; unpack it");
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            return Some("the file is compressed with zstd; unpack it");
        }
        [b'P', b'K', 3, 4, ..] => {
            return Some("the file is a ZIP archive or a spreadsheet; save it as text");
        }
        _ => {}
    }
    let start = &bytes[..bytes.len().min(SEEN)];
    // UTF-16 without a mark: every other byte of ASCII text is NUL.
    let nuls = |odd: usize| {
        let every_other = start.iter().skip(odd).step_by(2);
        let count = every_other.clone().count();
        count >= 4 && every_other.filter(|byte| **byte == 0).count() * 4 >= count * 3
    };
    if nuls(0) != nuls(1) {
        return Some("the file is UTF-16 text; save it as UTF-8");
    }
    let text = without_mark(start).trim_ascii_start();
    let begins =
        |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let is_page = [&b"<!doctype"[..], b"<html", b"<head", b"<body", b"<!--", b"<?xml", b"<error"]
        .iter()
        .any(|word| begins(word));
    is_page.then_some("the file is an HTML or XML page, an error page perhaps, and not a list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_ends_a_line() {
        let lines = |text: &'static str| {
            let lines = file_lines(text.as_bytes());
            let text = |line: FileLine<'static>| {
                let text = std::str::from_utf8(line.bytes).expect("text");
                (line.number, text, line.has_end)
            };
            lines.map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            lines("a\nb\r\nc\rd\r\r\ne"),
            [
                (1, "a", true),
                (2, "b", true),
                (3, "c", true),
                (4, "d", true),
                (5, "", true),
                (6, "e", false)
            ]
        );
        assert_eq!(lines(""), []);
        assert_eq!(lines("\n"), [(1, "", true)]);
    }

    #[test]
    fn what_is_not_text_is_said_once() {
        let utf16: Vec<u8> = "192.0.2.1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let swapped: Vec<u8> = "192.0.2.1\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, what) in [
            (&b"\xff\xfe1\0"[..], "UTF-16"),
            (b"\xfe\xff\x001", "UTF-16"),
            (&utf16, "UTF-16"),
            (&swapped, "UTF-16"),
            (b"\xff\xfe\0\0", "UTF-32"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"PK\x03\x04", "ZIP"),
            (b"\xef\xbb\xbf\n <!DOCTYPE html>", "HTML"),
            (b"<HTML><body>503", "HTML"),
            (b"<?xml version='1.0'?>", "HTML or XML"),
        ] {
            assert!(not_text(bytes).is_some_and(|why| why.contains(what)), "{what}");
        }
        for bytes in
            [&b""[..], b"192.0.2.1", b"<ann@example.org>\n", b"\0\0\0\0\0\0\0\0\0\0", b"\xff"]
        {
            assert_eq!(not_text(bytes), None);
        }
    }
}
