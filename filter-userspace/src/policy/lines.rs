//! Text files with one address or pattern per line.

use std::str;

use crate::lists::{self, Why, file_lines, invisible, without_mark};

/// The longest line, in bytes.
const LINE_LIMIT: usize = 4096;

/// A line that is neither empty nor a comment.
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u32,
    /// The whole line, for display.
    pub(super) bytes: &'a [u8],
    /// Its text, without white space around it.
    pub(super) text: Result<&'a str, Why>,
    /// Whether it has a line end. A last line without one may be truncated.
    pub(super) has_end: bool,
}

/// The lines of a file. A leading byte-order mark is tolerated, and so is every kind of line end;
/// `#` and `;` start a comment only at the start of a line, since an address may contain a `#`.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    file_lines(without_mark(bytes)).filter_map(|line| {
        let (number, bytes) = (line.number, line.bytes);
        let trimmed = bytes.trim_ascii();
        let is_content = !matches!(trimmed, [] | [b'#' | b';', ..]);
        let text = || match trimmed.len() {
            0..=LINE_LIMIT => text(trimmed),
            _ => Err("the line is longer than 4096 bytes"),
        };
        is_content.then(|| Line { number, bytes, text: text(), has_end: line.has_end })
    })
}

/// The text of a line or a cell, if it is one.
pub(super) fn text(line: &[u8]) -> Result<&str, Why> {
    if line.contains(&0) {
        return Err("the line has a NUL byte");
    }
    str::from_utf8(line).map_err(|_| "the line is not UTF-8 text")
}

/// Whether the last line of a file has no line end, so that it may be truncated.
pub(super) fn has_open_end(bytes: &[u8]) -> bool {
    !matches!(bytes, [] | [.., b'\n' | b'\r'])
}

/// The entries of a line. Text behind the first entry is a note, unless it consists of entries too,
/// with white space, `,` or `;` between them.
///
/// # Errors
///
/// When there is an `@` behind the first entry, and not everything there is an entry: somebody's
/// address would be ignored.
pub(super) fn entries(
    text: &str,
    is_entry: impl Fn(&str) -> bool,
) -> Result<impl Iterator<Item = &str>, Why> {
    let first = fields(text).next().unwrap_or_default();
    let behind = &text[first.len()..];
    let count = if behind.trim_ascii().is_empty() || is_comment(behind) {
        1
    } else if fields(behind).all(&is_entry) {
        usize::MAX
    } else if behind.contains('@') {
        let seen = fields(behind).filter(|field| field.contains('@')).find_map(invisible);
        return Err(seen.unwrap_or(
            "an `@` stands behind the first address, and what is there cannot be read as \
             addresses; write one address a line",
        ));
    } else {
        1
    };
    Ok(fields(text).take(count))
}

/// The text behind the first entry of a line, without a comment mark.
pub(super) fn note(text: &str) -> &str {
    let first = fields(text).next().unwrap_or_default();
    let behind = text.get(first.len()..).unwrap_or_default().trim_start_matches(is_separator);
    behind.strip_prefix('#').unwrap_or(behind).trim_ascii()
}

/// Whether a note is the action of an access table that lets mail pass.
pub(super) fn says_pass(note: &str) -> bool {
    lists::says_pass(note.as_bytes())
}

/// Whether a note is the action of an access table that refuses mail, or a reply that does:
/// `550 5.1.1 gone`. A number alone may count something.
pub(super) fn says_refuse(note: &str) -> bool {
    let is_reply = || {
        let (code, text) = note.split_once(' ')?;
        let is_code = matches!(code.as_bytes(), [b'4' | b'5', b'0'..=b'9', b'0'..=b'9']);
        Some(is_code && !text.trim_ascii().is_empty() && !text.contains('@'))
    };
    lists::says_refuse(note.as_bytes()) || is_reply() == Some(true)
}

/// Lines whose notes contradict the purpose of their file.
#[derive(Debug, Default)]
pub(super) struct Contrary {
    first: u32,
    count: usize,
}

impl Contrary {
    /// Adds a line.
    pub(super) const fn add(&mut self, line: u32) {
        if self.count == 0 {
            self.first = line;
        }
        self.count += 1;
    }

    /// The warning about the first line and the number of others.
    pub(super) fn said(&self, what: &str) -> Option<(u32, String)> {
        let more = match self.count {
            0 => return None,
            1 => String::new(),
            count => format!(" (and {} more lines like it)", count - 1),
        };
        Some((self.first, format!("{what}{more}")))
    }
}

fn is_comment(behind: &str) -> bool {
    behind.starts_with(|letter: char| letter.is_ascii_whitespace())
        && behind.trim_ascii_start().starts_with('#')
}

/// The parts of a text between white space, `,` and `;` outside quoted local parts.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_separator);
        let mut quoted = false;
        let mut escaped = false;
        let mut end = rest.len();
        for (index, letter) in rest.char_indices() {
            match letter {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' if quoted || index == 0 => quoted = !quoted,
                _ if is_separator(letter) && !quoted => {
                    end = index;
                    break;
                }
                _ => {}
            }
        }
        let (field, behind) = rest.split_at(end);
        rest = behind;
        (!field.is_empty()).then_some(field)
    })
}

const fn is_separator(letter: char) -> bool {
    letter.is_ascii_whitespace() || matches!(letter, ',' | ';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<(u32, Vec<&str>)> {
        let is_entry = |field: &str| field.contains('@') && !field.contains('(');
        lines(bytes)
            .map(|line| {
                let entries = line.text.and_then(|text| entries(text, is_entry));
                (line.number, entries.map_or_else(|why| vec![why], Iterator::collect))
            })
            .collect()
    }

    #[test]
    fn entries_are_told_from_comments_and_notes() {
        let text = b"\xef\xbb\xbfa@b\r\n\r\n# c\n ; c\n\t\"x y\"@d  note\na#b@c # ask x@y\n";
        let expected = [(1, vec!["a@b"]), (5, vec!["\"x y\"@d"]), (6, vec!["a#b@c"])];
        assert_eq!(read(text), expected);
        assert_eq!(read(b"\"\\\" x\"@d n"), [(1, vec!["\"\\\" x\"@d"])]);
    }

    #[test]
    fn several_on_a_line_are_all_read_or_none() {
        for line in ["a@b c@d", "a@b,c@d", "a@b; c@d", "a@b\tc@d ", "a@b ,c@d;"] {
            assert_eq!(read(line.as_bytes()), [(1, vec!["a@b", "c@d"])], "{line}");
        }
        for line in ["a@b and c@d", "a@b (c@d", "a@b ,c@d x"] {
            assert!(read(line.as_bytes())[0].1[0].starts_with("an `@` stands behind"), "{line}");
        }
    }

    #[test]
    fn every_line_end_is_one() {
        let expected = [(1, vec!["a@b"]), (2, vec!["c@d"]), (3, vec!["e@f"])];
        for text in ["a@b\rc@d\re@f\r", "a@b\r\nc@d\ne@f", "a@b\rc@d\r\ne@f\n"] {
            assert_eq!(read(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_an_error_of_its_line() {
        let found = read(b"a@b\nc\0@d\n\xff@e\n");
        assert_eq!(found[1], (2, vec!["the line has a NUL byte"]));
        assert_eq!(found[2], (3, vec!["the line is not UTF-8 text"]));
        assert!(read(&[b'a'; 5000])[0].1[0].contains("longer than 4096"));
    }
}
