//! What a format of list files must say of itself, and what a line of one says.

use std::borrow::Cow;

use super::super::bad_lines::Why;
use super::super::nets::Nets;

/// A way to write the lines of a list. There is a value for each file that is read, so that a
/// format can remember what earlier lines said.
pub(super) trait Format {
    /// Its name, in lower case.
    fn name(&self) -> &'static str;

    /// Whether a line is written in this format. The line is not empty and not a comment, and
    /// has no white space around it.
    fn claims(&self, line: &[u8]) -> bool;

    /// Reads a line that it claims.
    ///
    /// # Errors
    ///
    /// The line, or the file as a whole, is not what it should be.
    fn read<'a>(&mut self, line: &Line<'a>) -> Result<Item<'a>, Flaw>;

    /// Whether the file is whole, as far as the format can tell after the last line.
    ///
    /// # Errors
    ///
    /// The line behind which something is missing, and what.
    fn finish(&self) -> Result<(), (u32, Why)> {
        Ok(())
    }
}

/// A line that is not empty and not a comment.
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Its bytes, without white space around them.
    pub(super) bytes: &'a [u8],
    /// The same, or why they are not a text of bounded length.
    pub(super) text: Result<&'a [u8], Why>,
}

/// Why a line cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Flaw {
    /// The line is bad: it is skipped, or the file is refused with all bad lines.
    Line(Why),
    /// The line shows that the file is not all of a list: it is refused at once.
    File(String),
}

impl From<Why> for Flaw {
    fn from(why: Why) -> Self {
        Self::Line(why)
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Item<'a> {
    /// Nothing: it is empty, a comment or a header.
    Nothing,
    /// Addresses, and the note beside them.
    Entry {
        nets: Nets,
        note: Cow<'a, [u8]>,
        /// Whether one more digit at its end would make it narrower: `/3` of `/32`.
        may_be_cut: bool,
    },
}
