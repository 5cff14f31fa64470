//! The formats that list files are written in: a file each, and a row each in [`formats`].

mod format;
mod json;
mod plain;

use std::str;

pub(super) use self::format::{Flaw, Item};
use self::format::{Format, Line};
use super::bad_lines::Why;

/// The longest line, in bytes.
const LINE_LIMIT: usize = 4096;

/// The formats. The first that claims a line reads it; the last claims every line.
fn formats() -> Vec<Box<dyn Format>> {
    vec![Box::new(json::Json::default()), Box::new(plain::Plain)]
}

/// The formats of a file that is being read.
pub(super) struct Formats {
    rows: Vec<Row>,
}

struct Row {
    format: Box<dyn Format>,
    is_used: bool,
}

impl Formats {
    /// Before the first line.
    pub(super) fn new() -> Self {
        let rows = formats().into_iter().map(|format| Row { format, is_used: false });
        Self { rows: rows.collect() }
    }

    /// Reads a line by the first format that claims it. Empty lines and comments, which begin
    /// with `#` or `;`, say nothing in any format.
    pub(super) fn read<'a>(&mut self, number: u32, line: &'a [u8]) -> Result<Item<'a>, Flaw> {
        let bytes = line.trim_ascii();
        // A comment may be written in any encoding.
        if line.len() <= LINE_LIMIT && matches!(bytes, [] | [b'#' | b';', ..]) {
            return Ok(Item::Nothing);
        }
        let line = Line { number, bytes, text: text(line, bytes) };
        let Some(row) = self.rows.iter_mut().find(|row| row.format.claims(bytes)) else {
            return Err(Flaw::Line("is not written in any format of lists"));
        };
        row.is_used = true;
        row.format.read(&line)
    }

    /// What is missing behind a line, after the last one.
    pub(super) fn finish(&self) -> Result<(), (u32, Why)> {
        self.rows.iter().try_for_each(|row| row.format.finish())
    }

    /// The names of the formats that claimed a line.
    pub(super) fn used(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().filter(|row| row.is_used).map(|row| row.format.name())
    }
}

/// A line without white space around it, if it is a text of bounded length.
fn text<'a>(line: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Why> {
    if line.len() > LINE_LIMIT {
        return Err("the line is longer than 4096 bytes");
    }
    match bytes.is_ascii() || str::from_utf8(bytes).is_ok() {
        true => Ok(bytes),
        false => Err("the line is not UTF-8 text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_format_and_names_are_told_apart() {
        let names: Vec<_> = formats().iter().map(|format| format.name()).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for line in [&b"x"[..], b"{", b"\xff", b"192.0.2.1", b"="] {
            assert!(formats().iter().any(|format| format.claims(line)), "{line:?}");
        }
    }

    #[test]
    fn a_comment_is_not_a_line_of_a_format_and_a_long_or_damaged_line_is_an_error() {
        let mut formats = Formats::new();
        for line in [&b""[..], b" \t", b"# x", b" ; y", b"# Gr\xf6\xdfe", b"; \xff"] {
            assert_eq!(formats.read(1, line), Ok(Item::Nothing));
        }
        assert_eq!(formats.used().count(), 0);
        let long = [b"#".repeat(LINE_LIMIT + 1), b"{".repeat(LINE_LIMIT + 1)];
        for line in &long {
            let error = formats.read(1, line).expect_err("too long");
            assert_eq!(error, Flaw::Line("the line is longer than 4096 bytes"));
        }
        let damaged = formats.read(1, b"192.0.2.1 \xff");
        assert_eq!(damaged, Err(Flaw::Line("the line is not UTF-8 text")));
        assert_eq!(formats.used().collect::<Vec<_>>(), ["json", "plain"]);
    }
}
