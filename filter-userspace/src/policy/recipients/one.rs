//! One recipient, as files and directories write it.

use crate::lists::{Why, invisible};
use crate::smtp::address::{Domain, Mailbox};

/// The longest address, in bytes: more than RFC 5321 section 4.5.3.1 permits, since
/// characters that are not ASCII take several.
const LONGEST: usize = 1024;

/// A recipient that is valid, or a domain all of whose recipients are.
#[derive(Clone, Debug)]
pub(super) enum Recipient {
    /// All of a domain: `@example.org` or `*@example.org`.
    All(Domain),
    /// A mailbox of a domain.
    One(Mailbox),
}

impl Recipient {
    /// Reads an address, with or without angle brackets.
    pub(super) fn parse(text: &str) -> Result<Self, Why> {
        let text = plain(text)?;
        match text.strip_prefix("*@") {
            Some(domain) => Self::all(domain),
            None => Self::literal(text),
        }
    }

    /// Reads an address in which a `*` is a local part as any other: nobody writes
    /// patterns into the entry of a person.
    pub(super) fn literal(text: &str) -> Result<Self, Why> {
        let text = plain(text)?;
        if let Some(domain) = text.strip_prefix('@') {
            return Self::all(domain);
        }
        let mailbox = Mailbox::parse(text).map_err(|_| "is not an address")?;
        match mailbox.domain() {
            Some(_) => Ok(Self::One(mailbox)),
            None => Err("has an IP address for a domain"),
        }
    }

    fn all(domain: &str) -> Result<Self, Why> {
        Domain::parse(domain).map(Self::All).map_err(|_| "has no domain behind the `@`")
    }

    /// The domain that it is of.
    pub(super) fn domain(&self) -> Option<&Domain> {
        match self {
            Self::All(domain) => Some(domain),
            Self::One(mailbox) => mailbox.domain(),
        }
    }
}

/// A text without angle brackets around it, if it may be an address.
fn plain(text: &str) -> Result<&str, Why> {
    if text.len() > LONGEST {
        return Err("is longer than an address may be");
    }
    if let Some(why) = invisible(text) {
        return Err(why);
    }
    let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    // The dot of the root behind a domain, as in a session.
    match text.strip_suffix('.') {
        Some(name) if name.contains('@') && !name.ends_with('.') => Ok(name),
        _ => Ok(text),
    }
}
