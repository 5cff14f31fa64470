//! The text of a record and its meaning (RFC 7208 section 12).

use ipnet::{Ipv4Net, Ipv6Net};

use super::evaluation::Outcome;
use super::macros::MacroString;

/// The maximum number of terms of a record; no useful record has as many.
const TERMS: usize = 1000;

/// A valid record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<MacroString>,
    pub(super) exp: Option<MacroString>,
}

/// A mechanism, and what its match means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) outcome: Outcome,
    pub(super) mechanism: Mechanism,
    /// As it is written in the record.
    pub(super) text: String,
}

/// What an address is compared with. Without a name, the current domain is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(MacroString),
    A(Option<MacroString>, Lengths),
    Mx(Option<MacroString>, Lengths),
    Ptr(Option<MacroString>),
    Ip4(Ipv4Net),
    Ip6(Ipv6Net),
    Exists(MacroString),
}

/// The bits of an address that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// Whether a text is a record at all: the version, alone or with a space behind it (RFC 7208
/// section 4.5).
pub(super) fn is_record(text: &[u8]) -> bool {
    let version = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"));
    version && matches!(text.get(6), None | Some(b' '))
}

/// Parses a whole record; one error makes all of it invalid (RFC 7208 section 4.6).
pub(super) fn parse(text: &[u8]) -> Result<Record, String> {
    let Ok(text) = std::str::from_utf8(text) else { return Err("it is not ASCII".to_owned()) };
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("it is not printable ASCII".to_owned());
    }
    let mut record = Record::default();
    let terms = text.get(6..).unwrap_or_default().split(' ').filter(|term| !term.is_empty());
    for (index, term) in terms.enumerate() {
        if index >= TERMS {
            return Err(format!("it has more than {TERMS} terms"));
        }
        let read = match modifier(term) {
            Some((name, value)) => add_modifier(&mut record, name, value),
            None => directive(term).map(|directive| record.directives.push(directive)),
        };
        read.map_err(|wrong| format!("`{term}`: {wrong}"))?;
    }
    Ok(record)
}

/// The name and the value of a modifier: a name and `=`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let mut letters = name.bytes();
    let begins = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
    let is_name = letters.all(|letter| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter));
    (begins && is_name).then_some((name, value))
}

fn add_modifier(record: &mut Record, name: &str, value: &str) -> Result<(), String> {
    let slot = match name.to_ascii_lowercase().as_str() {
        "redirect" => &mut record.redirect,
        "exp" => &mut record.exp,
        // Unknown modifiers are ignored, but must be valid (RFC 7208 section 6).
        _ => return MacroString::text(value).map(|_| ()),
    };
    if slot.is_some() {
        return Err("stands twice".to_owned());
    }
    *slot = Some(MacroString::domain(value)?);
    Ok(())
}

fn directive(term: &str) -> Result<Directive, String> {
    let (outcome, rest) = match term.as_bytes().first() {
        Some(b'+') => (Outcome::Pass, &term[1..]),
        Some(b'-') => (Outcome::Fail, &term[1..]),
        Some(b'~') => (Outcome::SoftFail, &term[1..]),
        Some(b'?') => (Outcome::Neutral, &term[1..]),
        _ => (Outcome::Pass, term),
    };
    Ok(Directive { outcome, mechanism: mechanism(rest)?, text: term.to_owned() })
}

fn mechanism(text: &str) -> Result<Mechanism, String> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let value = rest.strip_prefix(':');
    match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Ok(Mechanism::All),
        "all" => Err("takes nothing".to_owned()),
        "include" => Ok(Mechanism::Include(MacroString::domain(needed(value)?)?)),
        "exists" => Ok(Mechanism::Exists(MacroString::domain(needed(value)?)?)),
        "a" => name_and_lengths(rest).map(|(name, lengths)| Mechanism::A(name, lengths)),
        "mx" => name_and_lengths(rest).map(|(name, lengths)| Mechanism::Mx(name, lengths)),
        "ptr" => match (value, rest.is_empty()) {
            (Some(value), _) => Ok(Mechanism::Ptr(Some(MacroString::domain(value)?))),
            (None, true) => Ok(Mechanism::Ptr(None)),
            (None, false) => Err("takes no length".to_owned()),
        },
        "ip4" => ip4(needed(value)?).map(Mechanism::Ip4),
        "ip6" => ip6(needed(value)?).map(Mechanism::Ip6),
        _ => Err("is no mechanism".to_owned()),
    }
}

fn needed(value: Option<&str>) -> Result<&str, String> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| "names nothing".to_owned())
}

/// Parses `:name/24//64`, each part of which may be missing.
fn name_and_lengths(text: &str) -> Result<(Option<MacroString>, Lengths), String> {
    let mut lengths = Lengths { v4: 32, v6: 128 };
    let mut rest = text;
    if let Some((before, digits)) = rest.rsplit_once("//")
        && is_number(digits)
    {
        lengths.v6 = length(digits, 128)?;
        rest = before;
    }
    if let Some((before, digits)) = rest.rsplit_once('/')
        && is_number(digits)
    {
        lengths.v4 = length(digits, 32)?;
        rest = before;
    }
    match rest.strip_prefix(':') {
        Some(name) => Ok((Some(MacroString::domain(name)?), lengths)),
        None if rest.is_empty() => Ok((None, lengths)),
        None => Err("has a length that is none".to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn length(digits: &str, most: u8) -> Result<u8, String> {
    let canonical = is_number(digits) && (digits == "0" || !digits.starts_with('0'));
    let length = digits.parse().ok().filter(|length| canonical && *length <= most);
    length.ok_or_else(|| format!("has a length that is not from 0 to {most}"))
}

fn ip4(text: &str) -> Result<Ipv4Net, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, digits)) => (address, length(digits, 32)?),
        None => (text, 32),
    };
    let address = address.parse().map_err(|_| "is no IPv4 address".to_owned())?;
    Ipv4Net::new(address, bits).map_err(|error| error.to_string())
}

fn ip6(text: &str) -> Result<Ipv6Net, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, digits)) => (address, length(digits, 128)?),
        None => (text, 128),
    };
    let address = address.parse().map_err(|_| "is no IPv6 address".to_owned())?;
    Ipv6Net::new(address, bits).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_version_and_terms() {
        for (text, is) in [
            ("v=spf1", true),
            ("V=SPF1 -all", true),
            ("v=spf1  ", true),
            ("v=spf10 -all", false),
            ("v=spf1\t-all", false),
            (" v=spf1", false),
            ("spf2.0/pra", false),
            ("", false),
        ] {
            assert_eq!(is_record(text.as_bytes()), is, "{text}");
        }
    }

    #[test]
    fn terms_that_are_right() {
        for terms in [
            "",
            "  -all  ",
            "ALL",
            "a mx ptr +all",
            "a/24 a//64 a/24//64 a:b.example/0//0 mx:%{d}/32",
            "ip4:192.0.2.0/24 ip4:192.0.2.1 IP6:2001:db8::/32 ip6:::1",
            "include:_spf.%{d2} exists:%{ir}.x.example",
            "a:b.example. a:%{d/} a:x%%y.example",
            "moo= x-y_z.0=%{s} redirect=b.example exp=c.example",
        ] {
            let parsed = parse(format!("v=spf1 {terms}").as_bytes());
            assert!(parsed.is_ok(), "{terms}: {parsed:?}");
        }
    }

    #[test]
    fn one_error_spoils_a_record() {
        for term in [
            "all:x",
            "all/8",
            "al",
            "-",
            "+",
            "include",
            "include:",
            "include/24",
            "exists:",
            "a:",
            "a:museum",
            "a:museum.",
            "a/33",
            "a//129",
            "a/024",
            "a/",
            "a//",
            "a/24/24",
            "a:b.example:80",
            "ptr/24",
            "ptr:",
            "ip4",
            "ip4:",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/",
            "ip4:1.2.3.04",
            "ip6:1.2.3.4",
            "ip6:::1/129",
            "ip6:",
            "mx:1.2.3.4",
            "redirect=",
            "redirect=x",
            "redirect=b.example redirect=b.example",
            "exp=b.example exp=b.example",
            "moo=%{x}",
            "moo=%",
            "=x",
            "4a=x",
            "a:%{d0}.b.example",
            "a:%{c}.b.example",
            "a:%{d",
            "a:%{}.b.example",
            "a\u{e4}",
            "a\tb",
            "--all",
            "a:b.example-",
            "a:b.-example",
            "a:b.ex--",
            "a:b.1",
        ] {
            let parsed = parse(format!("v=spf1 {term} -all").as_bytes());
            assert!(parsed.is_err(), "{term}: {parsed:?}");
        }
    }
}
