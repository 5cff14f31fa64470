//! Envelope addresses (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
//!
//! Parsing is the only way to get one, so code that holds a [`Mailbox`] may write it into a command
//! or a header: it has no CR, LF, NUL, space or bracket that is not quoted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The longest local part that is accepted, in octets. RFC 5321 section 4.5.3.1.1 asks for 64;
/// bounce addresses are longer in practice.
const LOCAL: usize = 255;

/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
const DOMAIN: usize = 255;

/// What is wrong with a text that was to be an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It has no `@` between a local part and a host.
    NoHost,
    /// Its local part is neither atoms with dots nor one quoted string, or is too long.
    LocalPart,
    /// Its domain is not a domain name.
    Domain,
    /// Its host begins as an address literal and is not one.
    Literal,
    /// It begins as a source route and is not one.
    Route,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "has no @ with a domain behind it",
            Self::LocalPart => "has an invalid local part",
            Self::Domain => "has an invalid domain name",
            Self::Literal => "has an invalid address literal",
            Self::Route => "has an invalid source route",
        })
    }
}

impl std::error::Error for AddressError {}

/// A domain name: ASCII, in lower case, internationalised labels as A-labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

impl Domain {
    /// Parses a name as it is written behind an `@` or in a configuration. U-labels are converted
    /// (UTS 46); a final dot is refused, since RFC 5321 has none.
    ///
    /// # Errors
    ///
    /// [`AddressError::Domain`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > DOMAIN {
            return Err(AddressError::Domain);
        }
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| AddressError::Domain)?
        };
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(is_letter)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_name = ascii.len() <= 253 && ascii.split('.').all(is_label);
        if is_name { Ok(Self(ascii.into())) } else { Err(AddressError::Domain) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label: `a.example.org` gives `example.org`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name.
    Domain(Domain),
    /// An address literal (RFC 5321 section 4.1.3).
    Literal(IpAddr),
}

impl Host {
    /// Parses a domain or an address literal in brackets.
    ///
    /// # Errors
    ///
    /// [`AddressError::Literal`] or [`AddressError::Domain`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').and_then(literal);
                address.map(Self::Literal).ok_or(AddressError::Literal)
            }
            None => Domain::parse(text).map(Self::Domain),
        }
    }

    /// The domain, if it is one.
    #[must_use]
    pub const fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Domain(domain) => Some(domain),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

/// The address in a literal, without its brackets.
fn literal(text: &str) -> Option<IpAddr> {
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            text[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

/// A mailbox: local part and host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The local part as the client wrote it, quotes included.
    written_local: Box<str>,
    /// The local part without quotes and backslashes.
    local: Box<str>,
    /// The host as the client wrote it.
    written_host: Box<str>,
    host: Host,
}

impl Mailbox {
    /// Parses `local@host`, without angle brackets.
    ///
    /// # Errors
    ///
    /// The first part of it that is wrong.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, rest) = split_local(text).ok_or(AddressError::NoHost)?;
        let host = Host::parse(rest)?;
        let unquoted = unquote(local).ok_or(AddressError::LocalPart)?;
        Ok(Self {
            written_local: local.into(),
            local: unquoted.into(),
            written_host: rest.into(),
            host,
        })
    }

    /// The local part without its quotes.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part behind the `@`.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, unless the host is an address literal.
    #[must_use]
    pub const fn domain(&self) -> Option<&Domain> {
        self.host.domain()
    }

    /// The form by which lists compare addresses: the local part in lower case and without quotes,
    /// and the host in its one form.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.host)
    }

    /// Whether it has characters that need SMTPUTF8.
    #[must_use]
    pub fn is_international(&self) -> bool {
        !self.written_local.is_ascii() || !self.written_host.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    /// As the client wrote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.written_local, self.written_host)
    }
}

/// The path of MAIL FROM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`, the sender of bounces.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The mailbox, unless it is the null sender.
    #[must_use]
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl fmt::Display for ReversePath {
    /// Without angle brackets; nothing for the null sender.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |mailbox| mailbox.fmt(f))
    }
}

/// The path of RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>`, which needs no domain (RFC 5321 section 4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// The mailbox, unless it is the bare postmaster.
    #[must_use]
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl fmt::Display for ForwardPath {
    /// Without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// The end of the path that starts `text`: the index of the first byte that `ends` one
/// outside of quotes.
pub(super) fn path_end(text: &str, ends: impl Fn(u8) -> bool) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if !quoted && ends(byte) => return Some(index),
            _ => {}
        }
    }
    None
}

/// Removes a source route (RFC 5321 appendix C: accepted and ignored).
pub(super) fn without_route(path: &str) -> Result<&str, AddressError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let (route, rest) = path.split_once(':').ok_or(AddressError::Route)?;
    let is_hop = |hop: &str| hop.strip_prefix('@').is_some_and(|name| Host::parse(name).is_ok());
    if route.split(',').all(is_hop) { Ok(rest) } else { Err(AddressError::Route) }
}

/// Splits at the `@` that ends the local part, which may be quoted.
fn split_local(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('"') {
        return text.rsplit_once('@');
    }
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((&text[..=index], text[index + 1..].strip_prefix('@')?)),
            _ => {}
        }
    }
    None
}

/// The local part without quotes, if it is a dot-string or a quoted string (RFC 5321
/// section 4.1.2), with characters beyond ASCII (RFC 6531 section 3.3).
fn unquote(local: &str) -> Option<String> {
    if local.is_empty() || local.len() > LOCAL {
        return None;
    }
    let Some(quoted) = local.strip_prefix('"') else {
        let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atext);
        // Real senders have empty atoms (`a..b@`, `a.@`), against the grammar;
        // what counts is that no byte changes the meaning of a line.
        let harmless = local.split('.').all(|atom| atom.is_empty() || is_atom(atom));
        return (harmless && local != ".").then(|| local.to_owned());
    };
    let mut meaning = String::new();
    let mut letters = quoted.strip_suffix('"')?.chars();
    while let Some(letter) = letters.next() {
        let letter = if letter == '\\' { letters.next()? } else { letter };
        if letter.is_control() {
            return None;
        }
        meaning.push(letter);
    }
    Some(meaning)
}

/// RFC 5322 section 3.2.3, and what RFC 6531 adds.
fn is_atext(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(letter)
        || (!letter.is_ascii() && !letter.is_control() && !letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_parsed_and_compared_in_one_form() {
        let key = |text: &str| Mailbox::parse(text).ok().map(|mailbox| mailbox.key());
        assert_eq!(key("Bob@Example.ORG").as_deref(), Some("bob@example.org"));
        assert_eq!(key("\"bob\"@example.org").as_deref(), Some("bob@example.org"));
        assert_eq!(key("\"a\\\" @b\"@example.org").as_deref(), Some("a\" @b@example.org"));
        assert_eq!(key("a@[192.0.2.1]").as_deref(), Some("a@[192.0.2.1]"));
        assert_eq!(key("a@[ipv6:2001:DB8::1]").as_deref(), Some("a@[IPv6:2001:db8::1]"));
        assert_eq!(key("用户@例子.广告").as_deref(), Some("用户@xn--fsqu00a.xn--4rr70v"));
        assert_eq!(Mailbox::parse("Bob@Example.ORG").unwrap().to_string(), "Bob@Example.ORG");
    }

    #[test]
    fn what_is_not_a_mailbox_is_refused_with_what_is_wrong() {
        for (text, error) in [
            ("", AddressError::NoHost),
            ("@", AddressError::Domain),
            ("a", AddressError::NoHost),
            ("a@", AddressError::Domain),
            ("@b", AddressError::LocalPart),
            ("a b@c", AddressError::LocalPart),
            ("a@b c", AddressError::Domain),
            ("a@b>c", AddressError::Domain),
            ("a<@b", AddressError::LocalPart),
            ("a@???.com", AddressError::Domain),
            ("a@-b.c", AddressError::Domain),
            ("a@b..c", AddressError::Domain),
            ("a@b.", AddressError::Domain),
            ("a@[1.2.3]", AddressError::Literal),
            ("a@[::1]", AddressError::Literal),
            ("a@[IPv6:1.2.3.4]", AddressError::Literal),
            ("\"a@b", AddressError::NoHost),
            ("\"a\"b@c", AddressError::NoHost),
            ("a\"b\"@c", AddressError::LocalPart),
            ("\"a\r\nb\"@c", AddressError::LocalPart),
            ("a\0@b", AddressError::LocalPart),
            (".@b", AddressError::LocalPart),
            ("a@b@", AddressError::Domain),
            ("a,b@c", AddressError::LocalPart),
            ("(x)a@c", AddressError::LocalPart),
        ] {
            assert_eq!(Mailbox::parse(text), Err(error), "{text:?}");
        }
        let long = format!("{}@b", "a".repeat(256));
        assert_eq!(Mailbox::parse(&long), Err(AddressError::LocalPart));
        assert_eq!(Domain::parse(&format!("{}.c", "b".repeat(64))), Err(AddressError::Domain));
    }

    #[test]
    fn a_route_is_taken_off_and_quotes_hide_brackets() {
        assert_eq!(without_route("@a.b,@c:d@e"), Ok("d@e"));
        assert_eq!(without_route("@a.b,c:d@e"), Err(AddressError::Route));
        assert_eq!(without_route("d@e"), Ok("d@e"));
        assert_eq!(path_end("\"a>b\"@c> X", |byte| byte == b'>'), Some(7));
        assert_eq!(path_end("a@c", |byte| byte == b'>'), None);
    }
}
