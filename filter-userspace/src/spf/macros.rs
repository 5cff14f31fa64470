//! Macros in names and explanations (RFC 7208 section 7).

use std::fmt::Write as _;

/// The longest name that is queried (RFC 7208 section 7.3).
const NAME: usize = 253;

/// The longest text that a macro may expand to, in bytes.
const TEXT: usize = 4096;

/// A text with macros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro(Macro),
}

/// `%{` letter, digits, `r`, delimiters `}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: u8,
    /// Whether the letter was in upper case: then the value is escaped for URLs.
    escaped: bool,
    /// The number of parts from the right; none means all.
    parts: Option<usize>,
    reversed: bool,
    /// What separates parts.
    delimiters: String,
}

impl MacroString {
    /// A name (domain-spec): it ends with a macro or a top-level domain.
    pub(super) fn domain(text: &str) -> Result<Self, String> {
        let parsed = parse(text, false)?;
        let ends = match parsed.0.last() {
            Some(Part::Macro(_)) => true,
            Some(Part::Literal(literal)) => {
                let name = text.strip_suffix('.').unwrap_or(text);
                // The dot may belong to a literal before a macro: `%{d}.example`.
                literal.contains('.')
                    && name.rsplit_once('.').is_some_and(|(_, top)| is_top_label(top))
            }
            None => false,
        };
        if ends { Ok(parsed) } else { Err("does not end with a domain or a macro".to_owned()) }
    }

    /// The value of an unknown modifier.
    pub(super) fn text(text: &str) -> Result<Self, String> {
        parse(text, true)
    }

    /// An explanation, which may have spaces.
    pub(super) fn explanation(text: &str) -> Result<Self, String> {
        parse(text, true)
    }

    /// Whether anything in it depends on the message.
    pub(super) fn has_macros(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro(_)))
    }

    /// The text with every macro replaced by what `value` has for its letter.
    pub(super) fn expand<E>(
        &self,
        mut value: impl FnMut(u8) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Macro(one) => text.push_str(&one.transform(&value(one.letter)?)),
            }
            if text.len() > TEXT {
                break;
            }
        }
        Ok(text)
    }
}

impl Macro {
    fn transform(&self, value: &str) -> String {
        let mut parts: Vec<_> = value.split(|letter| self.delimiters.contains(letter)).collect();
        if self.reversed {
            parts.reverse();
        }
        let skipped = self.parts.map_or(0, |count| parts.len().saturating_sub(count));
        let text = parts.split_off(skipped).join(".");
        if self.escaped { escape(&text) } else { text }
    }
}

/// Escapes everything but the unreserved characters of RFC 3986 as `%XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Removes labels on the left of a name until it is short enough to be queried.
pub(super) fn shortened(mut name: &str) -> &str {
    name = name.strip_suffix('.').unwrap_or(name);
    while name.len() > NAME {
        match name.split_once('.') {
            Some((_, rest)) => name = rest,
            None => return name,
        }
    }
    name
}

fn parse(text: &str, explains: bool) -> Result<MacroString, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        let escaped = &rest[at + 1..];
        rest = match escaped.as_bytes().first() {
            Some(b'%') => {
                literal.push('%');
                &escaped[1..]
            }
            Some(b'_') => {
                literal.push(' ');
                &escaped[1..]
            }
            Some(b'-') => {
                literal.push_str("%20");
                &escaped[1..]
            }
            Some(b'{') => {
                let (inside, rest) =
                    escaped[1..].split_once('}').ok_or("has a macro without its end")?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Macro(macro_of(inside, explains)?));
                rest
            }
            _ => return Err("has a % that begins no macro".to_owned()),
        };
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(MacroString(parts))
}

fn macro_of(inside: &str, explains: bool) -> Result<Macro, String> {
    let wrong = || format!("has a macro that is none: %{{{inside}}}");
    let letter = *inside.as_bytes().first().ok_or_else(wrong)?;
    let known: &[u8] = if explains { b"slodiphcrtv" } else { b"slodiphv" };
    if !known.contains(&letter.to_ascii_lowercase()) {
        return Err(wrong());
    }
    let rest = &inside[1..];
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    let parts = match digits {
        "" => None,
        digits => {
            // A number that is larger than the parts of any value means all of them.
            let count = digits.parse().unwrap_or(usize::MAX);
            if count == 0 {
                return Err(wrong());
            }
            Some(count)
        }
    };
    let (reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.bytes().all(|byte| b".-+,/_=".contains(&byte)) {
        return Err(wrong());
    }
    Ok(Macro {
        letter: letter.to_ascii_lowercase(),
        escaped: letter.is_ascii_uppercase(),
        parts,
        reversed,
        delimiters: if delimiters.is_empty() { "." } else { delimiters }.to_owned(),
    })
}

/// Letters, digits and hyphens inside, and not digits alone.
fn is_top_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    label.bytes().all(inner)
        && outer(label.as_bytes().first())
        && outer(label.as_bytes().last())
        && !label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The values of RFC 7208 section 7.4.
    fn value(letter: u8) -> Result<String, Infallible> {
        Ok(match letter {
            b's' => "strong-bad@email.example.com",
            b'o' | b'd' => "email.example.com",
            b'l' => "strong-bad",
            b'i' => "192.0.2.3",
            b'v' => "in-addr",
            _ => "?",
        }
        .to_owned())
    }

    #[test]
    fn the_examples_of_rfc_7208_section_7_4() {
        for (text, expanded) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{S}", "strong-bad%40email.example.com"),
            ("a%%b%_c%-d", "a%b c%20d"),
            ("%{d99999999999999999999999}", "email.example.com"),
        ] {
            let parsed = MacroString::explanation(text).unwrap();
            assert_eq!(parsed.expand(value).unwrap(), expanded, "{text}");
        }
    }

    #[test]
    fn long_names_lose_labels_on_their_left() {
        let label = "x".repeat(60);
        let long = format!("{label}.{label}.{label}.{label}.{label}.example.");
        assert_eq!(shortened(&long), format!("{label}.{label}.{label}.{label}.example"));
        assert_eq!(shortened("example.org"), "example.org");
    }
}
