//! Characters that nobody sees, and that make an address another one.

use super::bad_lines::Why;

macro_rules! named {
    ($($code:literal $name:literal,)*) => {
        /// Each with the error that names it.
        const NAMED: &[(char, Why)] = &[$((
            match char::from_u32($code) {
                Some(letter) => letter,
                None => char::REPLACEMENT_CHARACTER,
            },
            concat!("holds an invisible character: ", $name),
        ),)*];
    };
}

named! {
    0x00a0 "U+00A0 NO-BREAK SPACE",
    0x00ad "U+00AD SOFT HYPHEN",
    0x034f "U+034F COMBINING GRAPHEME JOINER",
    0x061c "U+061C ARABIC LETTER MARK",
    0x115f "U+115F HANGUL CHOSEONG FILLER",
    0x1160 "U+1160 HANGUL JUNGSEONG FILLER",
    0x1680 "U+1680 OGHAM SPACE MARK",
    0x180e "U+180E MONGOLIAN VOWEL SEPARATOR",
    0x200b "U+200B ZERO WIDTH SPACE",
    0x200c "U+200C ZERO WIDTH NON-JOINER",
    0x200d "U+200D ZERO WIDTH JOINER",
    0x200e "U+200E LEFT-TO-RIGHT MARK",
    0x200f "U+200F RIGHT-TO-LEFT MARK",
    0x2028 "U+2028 LINE SEPARATOR",
    0x2029 "U+2029 PARAGRAPH SEPARATOR",
    0x202a "U+202A LEFT-TO-RIGHT EMBEDDING",
    0x202b "U+202B RIGHT-TO-LEFT EMBEDDING",
    0x202c "U+202C POP DIRECTIONAL FORMATTING",
    0x202d "U+202D LEFT-TO-RIGHT OVERRIDE",
    0x202e "U+202E RIGHT-TO-LEFT OVERRIDE",
    0x202f "U+202F NARROW NO-BREAK SPACE",
    0x205f "U+205F MEDIUM MATHEMATICAL SPACE",
    0x2060 "U+2060 WORD JOINER",
    0x2066 "U+2066 LEFT-TO-RIGHT ISOLATE",
    0x2067 "U+2067 RIGHT-TO-LEFT ISOLATE",
    0x2068 "U+2068 FIRST STRONG ISOLATE",
    0x2069 "U+2069 POP DIRECTIONAL ISOLATE",
    0x3000 "U+3000 IDEOGRAPHIC SPACE",
    0x3164 "U+3164 HANGUL FILLER",
    0xfeff "U+FEFF, the byte-order mark (two files joined?)",
    0xffa0 "U+FFA0 HALFWIDTH HANGUL FILLER",
}

/// The error that names the first invisible character of a text, if there is one.
///
/// A zero-width joiner or non-joiner between letters that are not ASCII is part of how
/// some languages are written, and passes.
pub(crate) fn invisible(text: &str) -> Option<Why> {
    if text.is_ascii() {
        return None;
    }
    let mut before = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let found = named(letter);
        let is_joined = |letter: char| !letter.is_ascii() && named(letter).is_none();
        let joins = matches!(letter, '\u{200c}' | '\u{200d}')
            && before.is_some_and(is_joined)
            && letters.peek().is_some_and(|behind| is_joined(*behind));
        if found.is_some() && !joins {
            return found;
        }
        before = Some(letter);
    }
    None
}

fn named(letter: char) -> Option<Why> {
    match letter {
        '\u{2000}'..='\u{200a}' => Some("holds an invisible character: a typographic space"),
        '\u{2061}'..='\u{2064}' | '\u{206a}'..='\u{206f}' => {
            Some("holds an invisible character: a format character (U+2061 to U+206F)")
        }
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {
            Some("holds an invisible character: a VARIATION SELECTOR")
        }
        '\u{fff9}'..='\u{fffb}' => {
            Some("holds an invisible character: an INTERLINEAR ANNOTATION character")
        }
        '\u{e0000}'..='\u{e007f}' => Some("holds an invisible character: a TAG character"),
        '\u{80}'..='\u{9f}' => Some("holds a control character (U+0080 to U+009F)"),
        _ => NAMED.iter().find(|(known, _)| *known == letter).map(|(_, why)| *why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_named() {
        for (text, name) in [
            ("ann\u{200b}@example.org", "U+200B ZERO WIDTH SPACE"),
            ("\u{feff}ann@example.org", "U+FEFF, the byte-order mark"),
            ("ann@example.org\u{a0}", "U+00A0 NO-BREAK SPACE"),
            ("ann\u{200d}@example.org", "U+200D ZERO WIDTH JOINER"),
            ("ann\u{fc}\u{200d}@example.org", "U+200D ZERO WIDTH JOINER"),
            ("\u{928}\u{200c}\u{200d}\u{928}@example.org", "U+200C ZERO WIDTH NON-JOINER"),
            ("\u{928}@example.\u{928}\u{200d}", "U+200D ZERO WIDTH JOINER"),
            ("ann@exam\u{ad}ple.org", "U+00AD SOFT HYPHEN"),
            ("ann@example.org\u{2003}", "typographic space"),
            ("ann\u{fe0f}@example.org", "VARIATION SELECTOR"),
        ] {
            assert!(invisible(text).is_some_and(|why| why.contains(name)), "{name}");
        }
        for text in
            ["ann@example.org", "用户@例子.广告", "नमस्\u{200d}ते@example.org", "ä@bücher.example"]
        {
            assert_eq!(invisible(text), None, "{text}");
        }
    }
}
