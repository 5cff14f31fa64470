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
    /// Reads a pattern that an address can match.
    ///
    /// # Errors
    ///
    /// Where no address can: what to write instead.
    pub fn read(text: &str) -> Result<Self, String> {
        let pattern = Self::new(text);
        let text = text.trim();
        let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let write = |what: &str| Err(format!("`{text}` {what}"));
        // Within quotes everything may stand (RFC 5321 section 4.1.2).
        let is_quoted = inner.contains('"');
        if inner.is_empty() || is_quoted {
            return Ok(pattern);
        }
        if inner.contains(char::is_whitespace) {
            return write(
                "has a space, which no address has: in a URL, write + as %2B, so that \
                 a+b@example.org is a%2Bb@example.org",
            );
        }
        if inner.contains(char::is_control) {
            return write("has a control character, which no address has");
        }
        if inner.contains([',', ';', '<', '>']) {
            return write("is not one address: write bob@example.org, or *@example.org for any");
        }
        let at = inner.matches('@').count();
        let is_whole = !inner.contains('*');
        if at > 1 {
            return write("has more than one @: write bob@example.org");
        }
        if at == 0 && is_whole && !inner.eq_ignore_ascii_case("postmaster") {
            return write(
                "is only a part of an address: write bob@example.org, bob@* or *@example.org",
            );
        }
        if inner.starts_with('@') {
            return write("has nothing before the @: write *@example.org for any");
        }
        if inner.ends_with('@') {
            return write("has nothing behind the @: write bob@* for any domain");
        }
        Ok(pattern)
    }

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

    #[test]
    fn what_no_address_can_match_is_refused() {
        for text in [
            "a b@example.com",
            "bob",
            "@example.org",
            "bob@",
            "a@b@c",
            "a@b,c@d",
            "<a@b",
            "a\u{7}@b",
        ] {
            assert!(Pattern::read(text).is_err(), "{text:?}");
        }
        assert!(Pattern::read("a b@example.com").unwrap_err().contains("%2B"));
        for text in
            ["a+b@example.com", "<>", "*", "bob*", "*example.org", "\"a b\"@x", "postmaster"]
        {
            assert!(Pattern::read(text).is_ok(), "{text:?}");
        }
    }
}
