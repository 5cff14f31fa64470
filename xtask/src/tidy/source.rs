//! A Rust file as the rules need it: code without comments and literals, and the
//! paths that it names.

/// A word, number or punctuation mark of code, with its line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The tokens of `source`; comments and the insides of literals are left out,
/// so that a rule never sees what is only spoken about.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let letters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&letter) = letters.get(at) {
        let end = match letter {
            '/' if letters.get(at + 1) == Some(&'/') => find(&letters, at, |rest| rest[0] == '\n'),
            '/' if letters.get(at + 1) == Some(&'*') => block_comment(&letters, at),
            '"' => string(&letters, at + 1),
            'r' | 'b' | 'c' if literal_prefix(&letters, at).is_some() => {
                literal_prefix(&letters, at).unwrap_or(at + 1)
            }
            '\'' => quote(&letters, at),
            _ if letter.is_alphanumeric() || letter == '_' => {
                let end = find(&letters, at, |rest| !rest[0].is_alphanumeric() && rest[0] != '_');
                tokens.push(Token { text: letters[at..end].iter().collect(), line });
                end
            }
            ':' if letters.get(at + 1) == Some(&':') => {
                tokens.push(Token { text: "::".to_owned(), line });
                at + 2
            }
            _ => {
                if !letter.is_whitespace() {
                    tokens.push(Token { text: letter.to_string(), line });
                }
                at + 1
            }
        };
        line += letters[at..end].iter().filter(|letter| **letter == '\n').count();
        at = end;
    }
    tokens
}

/// The first place from `at` on whose rest satisfies `stop`, or the end.
fn find(letters: &[char], at: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    (at..letters.len()).find(|&index| stop(&letters[index..])).unwrap_or(letters.len())
}

/// Block comments nest (Rust reference, "Comments").
fn block_comment(letters: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < letters.len() {
        match letters[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of a string whose inside starts at `at`.
fn string(letters: &[char], mut at: usize) -> usize {
    while let Some(letter) = letters.get(at) {
        match letter {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    letters.len()
}

/// The end of a literal like `b"…"`, `r#"…"#`, `br"…"` or `c"…"`, if one starts
/// at `at`.
fn literal_prefix(letters: &[char], at: usize) -> Option<usize> {
    let previous = at.checked_sub(1).map(|index| letters[index]);
    if previous.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
        return None;
    }
    let word_end = find(letters, at, |rest| !matches!(rest[0], 'r' | 'b' | 'c'));
    let is_raw = letters[at..word_end].contains(&'r');
    let inside = find(letters, word_end, |rest| rest[0] != '#');
    let hashes = inside - word_end;
    if word_end - at > 2 || letters.get(inside) != Some(&'"') || (hashes > 0 && !is_raw) {
        return None;
    }
    if !is_raw {
        return Some(string(letters, inside + 1));
    }
    let closes = |rest: &[char]| {
        rest[0] == '"'
            && rest.len() > hashes
            && rest[1..=hashes].iter().all(|letter| *letter == '#')
    };
    Some((find(letters, inside + 1, closes) + 1 + hashes).min(letters.len()))
}

/// A character literal ends after its closing quote; a lifetime's quote is alone.
fn quote(letters: &[char], at: usize) -> usize {
    match letters[at + 1..] {
        ['\\', _, ..] => find(letters, at + 3, |rest| rest[0] == '\'') + 1,
        [_, '\'', ..] => at + 3,
        _ => at + 1,
    }
    .min(letters.len())
}

/// A path that code names, `use` groups written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

impl Named {
    /// Whether the path starts with, or is, `prefix` (like `std::fs`).
    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        prefix.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    }

    /// Whether `part` (like `Instant::now`) stands in the path, wherever.
    pub(super) fn contains(&self, part: &str) -> bool {
        let part: Vec<_> = part.split("::").collect();
        self.segments.windows(part.len()).any(|window| window == part)
    }
}

/// All paths in the code, single names included.
pub(super) fn paths(tokens: &[Token]) -> Vec<Named> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        at = if is_word(&tokens[at]) { path(tokens, at, &[], &mut found) } else { at + 1 };
    }
    found
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// Reads the path that starts at `at`, as the continuation of `prefix`; returns
/// the place after it.
fn path(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].line;
    loop {
        segments.push(tokens[at].text.clone());
        at += 1;
        let is_separator = |index: usize| tokens.get(index).is_some_and(|token| token.text == "::");
        if !is_separator(at) {
            break;
        }
        match tokens.get(at + 1) {
            Some(next) if is_word(next) => at += 1,
            Some(next) if next.text == "{" => return group(tokens, at + 2, &segments, found),
            _ => break,
        }
    }
    found.push(Named { segments, line });
    at
}

/// Reads a group from after its brace; returns the place after its end.
fn group(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    if let Some(token) = tokens.get(at) {
        found.push(Named { segments: prefix.to_vec(), line: token.line });
    }
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "}" => return at + 1,
            "as" => at += 2,
            _ if is_word(token) => at = path(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        for source in [
            "// unsafe",
            "/* a /* nested */ unsafe */",
            "\"unsafe \\\" unsafe\"",
            "r#\"unsafe \" unsafe\"#",
            "b\"unsafe\"",
            "br\"unsafe\\\"",
            "'\\''",
            "'\\u{1F600}'",
            "'\"'",
        ] {
            assert_eq!(words(&format!("{source}\n end")), ["end"], "{source}");
        }
        assert_eq!(words("<'a, 'b>(&'a x)").concat(), "<a,b>(&ax)");
        assert_eq!(words("r#type b x"), ["r", "#", "type", "b", "x"]);
        assert_eq!(words("\"never closed"), [""; 0]);
    }

    #[test]
    fn lines_are_counted_through_what_is_left_out() {
        let found = tokens("/* one\ntwo */ a\n\"x\ny\"\nb");
        assert_eq!(found.iter().map(|token| token.line).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn groups_are_written_out() {
        let found =
            paths(&tokens("use std::{fs as f, net::{IpAddr, TcpStream}};\nlet x = a::b(c::D);"));
        let shown: Vec<_> = found.iter().map(|path| path.segments.join("::")).collect();
        for expected in ["std::fs", "std::net::IpAddr", "std::net::TcpStream", "a::b", "c::D"] {
            assert!(shown.iter().any(|path| path == expected), "{expected} in {shown:?}");
        }
        assert!(found.iter().any(|path| path.starts_with("std::fs") && path.line == 1));
        assert!(found.iter().any(|path| path.contains("b") && path.line == 2));
        assert!(!found.iter().any(|path| path.starts_with("std::f")));
    }
}
