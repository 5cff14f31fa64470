//! The lines of a file that could not be read, kept to be shown.

use crate::text;

/// How many bad lines are kept to be shown.
const KEPT: usize = 20;

/// How much of a bad line is shown, in characters.
const SHOWN: usize = 80;

/// What is wrong with a line, in words for an operator.
pub(crate) type Why = &'static str;

/// The first bad lines, and how many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct BadLines {
    first: Vec<String>,
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
            self.first.push(format!("{line}: `{shown}`: {why}"));
        }
    }

    /// The first of them, `line: text: why` each.
    pub(crate) fn first(&self) -> &[String] {
        &self.first
    }

    /// How many there are.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// A line of text for each, with the file's name, and how many more there are.
    pub(crate) fn named(&self, file: &str) -> impl Iterator<Item = String> {
        let more = self.total - self.first.len();
        let rest = (more > 0).then(|| format!("{file}: and {more} more bad lines"));
        self.first.iter().map(move |bad| format!("{file}:{bad}")).chain(rest)
    }
}

/// The text with what acts escaped: it goes to terminals and logs.
pub(crate) fn sanitise(text: &str) -> String {
    text::escape_untrusted(text, |_| false).into_owned()
}
