//! Addresses with wildcards, as people search for them.

use std::fmt;

/// An address in which `*` stands for any text; case does not count. `<>` is the
/// null sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// What stands between the wildcards, in lower case; at least one piece.
    pieces: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; angle brackets around it are taken off.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let pieces = inner.to_lowercase().split('*').map(str::to_owned).collect();
        Self { text: text.to_owned(), pieces }
    }

    /// Whether an address is meant.
    #[must_use]
    pub fn matches(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|whole| *whole == address);
        };
        let Some(rest) = address.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        // The leftmost place of each piece leaves most for those behind it.
        for piece in middle {
            let Some(place) = rest.find(piece.as_str()) else { return false };
            rest = &rest[place + piece.len()..];
        }
        true
    }

    /// The address itself, in lower case, where there is no wildcard.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [whole] => Some(whole),
            _ => None,
        }
    }

    /// What stands between the wildcards, in lower case.
    #[must_use]
    pub fn pieces(&self) -> &[String] {
        &self.pieces
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_any_text() {
        for (pattern, address, is_meant) in [
            ("a@example.org", "a@example.org", true),
            ("<a@example.org>", "A@Example.ORG", true),
            ("a@example.org", "ba@example.org", false),
            ("*@example.org", "a@example.org", true),
            ("*@example.org", "a@mail.example.org", false),
            ("*example.org", "a@mail.example.org", true),
            ("john*", "John.Doe@example.org", true),
            ("john*@*.org", "john.doe@example.org", true),
            ("*a*a*", "a@b", false),
            ("*a*a*", "a@a", true),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("<>", "", true),
            ("<>", "a@b", false),
            ("*ü*", "GRÜN@bücher.example", true),
            ("*\u{130}*", "i\u{307}@x", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(address), is_meant, "{pattern} {address}");
        }
    }
}
