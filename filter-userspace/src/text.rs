//! Text of others, on its way to terminals, logs and files that people read. Pure.

use std::borrow::Cow;

/// Whether a terminal or a browser would interpret a character instead of showing it: control
/// characters, line separators, and those that change the direction of the text around them
/// (Unicode UAX 9), so that it reads differently.
#[must_use]
pub fn is_active(letter: char) -> bool {
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

/// Escapes characters that a terminal or a browser would interpret ([`is_active`]), except those
/// that `may` stay.
#[must_use]
pub fn escape_untrusted(text: &str, may: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escaped = |letter: char| is_active(letter) && !may(letter);
    if !text.contains(escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if escaped(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// A number with its thousands grouped: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn active_characters_are_escaped() {
        let text =
            "a\u{1b}[2J\nb\u{85}c\u{9b}\u{2028}\u{202e}d\u{2069}e\u{feff} grüße 例子 \u{1f600}";
        assert_eq!(
            escape_untrusted(text, |letter| letter == '\n'),
            "a\\u{1b}[2J\nb\\u{85}c\\u{9b}\\u{2028}\\u{202e}d\\u{2069}e\\u{feff} grüße 例子 \u{1f600}"
        );
        assert!(matches!(escape_untrusted("plain text", |_| false), Cow::Borrowed(_)));
        assert_eq!(escape_untrusted("two\nlines", |_| false), "two\\nlines");
    }
}
