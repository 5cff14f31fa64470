//! Text of others, on its way to terminals, logs and files that people read. Pure.

use std::borrow::Cow;

/// Whether a letter does something instead of showing something: control characters, what
/// breaks a line, and what turns the direction of the text around it (Unicode UAX 9), so
/// that it reads other than it is.
#[must_use]
pub fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// The text with every letter that acts in sight, but for those that `may` stay.
#[must_use]
pub fn harmless(text: &str, may: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escaped = |letter: char| acts(letter) && !may(letter);
    if !text.contains(escaped) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if escaped(letter) {
            harmless.extend(letter.escape_default());
        } else {
            harmless.push(letter);
        }
    }
    Cow::Owned(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown() {
        let text =
            "a\u{1b}[2J\nb\u{85}c\u{9b}\u{2028}\u{202e}d\u{2069}e\u{feff} grüße 例子 \u{1f600}";
        assert_eq!(
            harmless(text, |letter| letter == '\n'),
            "a\\u{1b}[2J\nb\\u{85}c\\u{9b}\\u{2028}\\u{202e}d\\u{2069}e\\u{feff} grüße 例子 \u{1f600}"
        );
        assert!(matches!(harmless("plain text", |_| false), Cow::Borrowed(_)));
        assert_eq!(harmless("two\nlines", |_| false), "two\\nlines");
    }
}
