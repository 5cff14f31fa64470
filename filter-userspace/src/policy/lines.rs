//! Text files with an address or a pattern a line.

use std::str;

use crate::lists::Why;

/// The longest line, in bytes.
const LINE_LIMIT: usize = 4096;

/// A line that is not empty and not a comment.
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u32,
    /// All of it, to be shown.
    pub(super) bytes: &'a [u8],
    /// Its first field; what stands behind it is a note.
    pub(super) field: Result<&'a str, Why>,
}

/// The lines of a file. A byte order mark and CRLF are tolerated; `#` and `;`
/// start a comment at the start of a line only, as an address may hold a `#`.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let bytes = without_mark(bytes);
    (1_u32..).zip(bytes.split(|byte| *byte == b'\n')).filter_map(|(number, bytes)| {
        let trimmed = bytes.trim_ascii();
        let is_content = !matches!(trimmed, [] | [b'#' | b';', ..]);
        let field = || match trimmed.len() {
            0..=LINE_LIMIT => text(trimmed).map(first_field),
            _ => Err("the line is longer than 4096 bytes"),
        };
        is_content.then(|| Line { number, bytes, field: field() })
    })
}

/// The bytes without the byte order mark of UTF-8.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The text of a line or a cell, if it is one.
pub(super) fn text(line: &[u8]) -> Result<&str, Why> {
    if line.contains(&0) {
        return Err("the line has a NUL byte");
    }
    str::from_utf8(line).map_err(|_| "the line is not UTF-8 text")
}

/// The text up to the first white space that is not in a quoted local part.
fn first_field(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (index, letter) in line.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted || index == 0 => quoted = !quoted,
            _ if letter.is_whitespace() && !quoted => return &line[..index],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Vec<(u32, Result<&str, Why>)> {
        lines(bytes).map(|line| (line.number, line.field)).collect()
    }

    #[test]
    fn fields_are_told_from_comments_and_notes() {
        let text = b"\xef\xbb\xbfa@b\r\n\r\n# c\n ; c\n\t\"x y\"@d  note\na#b@c # note\n";
        let expected = [(1, Ok("a@b")), (5, Ok("\"x y\"@d")), (6, Ok("a#b@c"))];
        assert_eq!(fields(text), expected);
        assert_eq!(fields(b"\"\\\" x\"@d n"), [(1, Ok("\"\\\" x\"@d"))]);
    }

    #[test]
    fn what_is_no_text_is_an_error_of_its_line() {
        let found = fields(b"a@b\nc\0@d\n\xff@e\n");
        assert_eq!(found[1], (2, Err("the line has a NUL byte")));
        assert_eq!(found[2], (3, Err("the line is not UTF-8 text")));
        assert!(fields(&[b'a'; 5000])[0].1.is_err());
    }
}
