//! The lines of a file that could not be read, kept to be shown.

use crate::text;

/// How many bad lines are kept to be shown.
const KEPT: usize = 20;

/// How much of a bad line is shown, in characters.
const SHOWN: usize = 80;

/// What is wrong with a line, in words for an operator.
pub(crate) type Why = &'static str;

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u32,
    /// Its beginning, fit to be shown.
    pub text: String,
    /// What is wrong with it.
    pub why: Why,
}

impl BadLine {
    /// The line of a file, as operators read it.
    pub(super) fn display(&self, file: &str) -> String {
        format!("{file}:{}: {}", self.line, self.said())
    }

    /// The text and what is wrong with it.
    pub(super) fn said(&self) -> String {
        format!("`{}`: {}", self.text, self.why)
    }
}

/// The first bad lines, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadLines {
    first: Vec<BadLine>,
    total: usize,
}

impl BadLines {
    /// Counts a bad line, and keeps it if it is one of the first.
    pub(crate) fn add(&mut self, line: u32, bytes: &[u8], why: Why) {
        self.total += 1;
        if self.first.len() < KEPT {
            let start = &bytes[..bytes.len().min(4 * SHOWN)];
            let text = sanitise(String::from_utf8_lossy(start).trim());
            let mut shown: String = text.chars().take(SHOWN).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            self.first.push(BadLine { line, text: shown, why });
        }
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> &[BadLine] {
        &self.first
    }

    /// How many there are.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// A line of text for each, with the file's name, and how many more there are.
    pub(crate) fn named(&self, file: &str) -> impl Iterator<Item = String> {
        let more = self.total - self.first.len();
        let rest = (more > 0).then(|| format!("{file}: and {more} more bad lines"));
        self.first.iter().map(move |bad| bad.display(file)).chain(rest)
    }
}

/// The text with what acts escaped: it goes to terminals and logs.
pub(crate) fn sanitise(text: &str) -> String {
    text::escape_untrusted(text, |_| false).into_owned()
}
