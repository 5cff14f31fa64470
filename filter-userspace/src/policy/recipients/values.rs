//! The names of columns and attributes that hold addresses, and their values.

use super::reader::{Reader, Stop};
use crate::lists::Why;

/// Whose values are addresses, without `-`, `_` and spaces, in lower case.
const ADDRESSES: [&str; 12] = [
    "email",
    "emailaddress",
    "emailaddresses",
    "mail",
    "mailaddress",
    "mailalternateaddress",
    "mailalternativeaddress",
    "mailequivalentaddress",
    "maillocaladdress",
    "primarysmtpaddress",
    "proxyaddresses",
    "rfc822mailbox",
];

/// Whose values are addresses or names without a domain, which say nothing.
const ALIASES: [&str; 7] =
    ["alias", "aliases", "emailalias", "emailaliases", "mailalias", "mailaliases", "othermailbox"];

/// What a column or an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses.
    Addresses,
    /// Addresses among other names.
    Aliases,
}

/// What is held under a name, if it is addresses.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let name = plain(name);
    let is = |names: &[&str]| names.contains(&name.as_str());
    match name {
        _ if is(&ADDRESSES) => Some(Kind::Addresses),
        _ if is(&ALIASES) => Some(Kind::Aliases),
        _ => None,
    }
}

/// A name in lower case without `-`, `_` and spaces.
pub(super) fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| !matches!(letter, '-' | '_') && !letter.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Reads a value that is one address.
pub(super) fn read_one(value: &str, line: u32, reader: &mut Reader) -> Result<(), Stop> {
    match written(value.trim_ascii()) {
        Written::Address(address) => reader.address(address, line),
        Written::Other => Ok(()),
        Written::Unknown => {
            let start: String = value.trim_ascii().chars().take(40).collect();
            let start = start.escape_debug();
            reader.remark(line, &format!("`{start}` is passed over: it {UNKNOWN_SCHEME}"));
            Ok(())
        }
    }
}

/// Why a value is passed over.
pub(super) const UNKNOWN_SCHEME: Why =
    "is of a kind that is not known; mail addresses stand alone or behind `smtp:` or `mailto:`";

/// What stands before the `:` of addresses for others than mail, in lower case.
const OTHERS: [&str; 35] = [
    "airsync",
    "cc",
    "ccmail",
    "eum",
    "ex",
    "exum",
    "fax",
    "groupwise",
    "gw",
    "gwise",
    "h323",
    "im",
    "meum",
    "mhs",
    "ms",
    "msmail",
    "msn",
    "notes",
    "profs",
    "rfax",
    "sip",
    "sips",
    "skype",
    "sms",
    "snads",
    "spo",
    "tel",
    "telex",
    "ttx",
    "uucp",
    "vines",
    "x121",
    "x400",
    "x500",
    "xmpp",
];

/// A value as its scheme has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// It is to be an address for mail.
    Address(&'a str),
    /// It is for something else than mail.
    Other,
    /// Nobody can tell what it is for.
    Unknown,
}

/// What a value is by its scheme.
pub(super) fn written(value: &str) -> Written<'_> {
    let (Some(scheme), address) = scheme(value) else { return Written::Address(value) };
    let is = |known: &str| scheme.eq_ignore_ascii_case(known);
    if is("smtp") {
        return Written::Address(address);
    }
    if is("mailto") {
        // RFC 6068: what stands behind a `?` is for the message.
        let address = address.split('?').next().unwrap_or_default();
        return if address.contains('%') { Written::Unknown } else { Written::Address(address) };
    }
    if OTHERS.into_iter().any(is) { Written::Other } else { Written::Unknown }
}

/// Reads a value of a kind that is one address.
pub(super) fn read_kind(
    kind: Kind,
    value: &str,
    line: u32,
    reader: &mut Reader,
) -> Result<(), Stop> {
    if kind == Kind::Aliases && !value.contains('@') {
        return Ok(());
    }
    read_one(value, line, reader)
}

/// Reads a cell of addresses with `;`, `,` or white space between them.
pub(super) fn read_many(
    kind: Kind,
    cell: &str,
    line: u32,
    reader: &mut Reader,
) -> Result<(), Stop> {
    // Other white space than ASCII's would make two words of one address.
    let is_separator = |letter: char| matches!(letter, ';' | ',') || letter.is_ascii_whitespace();
    // A quoted local part may hold anything.
    if cell.trim_ascii().starts_with('"') {
        return read_kind(kind, cell, line, reader);
    }
    // X.400 and X.500 addresses hold separators: `X400:C=US;A= ;P=Org`.
    let mut inside_other = false;
    for item in cell.split(is_separator).filter(|item| !item.is_empty()) {
        let has_scheme = scheme(item).0.is_some();
        if inside_other && !has_scheme && !item.contains('@') {
            continue;
        }
        inside_other = !matches!(written(item), Written::Address(_));
        read_kind(kind, item, line, reader)?;
    }
    Ok(())
}

/// The scheme before a `:`, as Exchange writes it, and what stands behind it.
pub(super) fn scheme(value: &str) -> (Option<&str>, &str) {
    let is_scheme = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match value.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest.trim_start()),
        _ => (None, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        for name in ["mail", "E-Mail", "EMAIL ADDRESS", "proxyAddresses", "Primary_SMTP_Address"] {
            assert_eq!(kind(name), Some(Kind::Addresses), "{name}");
        }
        assert_eq!(kind("Alias"), Some(Kind::Aliases));
        for name in ["name", "mailbox size", "", "mailForwardingAddress", "maildrop"] {
            assert_eq!(kind(name), None, "{name}");
        }
    }

    #[test]
    fn schemes_are_told_from_addresses() {
        assert_eq!(scheme("SMTP: a@b"), (Some("SMTP"), "a@b"));
        assert_eq!(scheme("a@b"), (None, "a@b"));
        assert_eq!(scheme("a@[IPv6:::1]"), (None, "a@[IPv6:::1]"));
        assert_eq!(scheme("\"a:b\"@c"), (None, "\"a:b\"@c"));
        for (value, expected) in [
            ("a@b", Written::Address("a@b")),
            ("MAILTO:a@b", Written::Address("a@b")),
            ("mailto:a@b?subject=x%20y", Written::Address("a@b")),
            ("Notes:a/b@c", Written::Other),
            ("mailto:a%2Bb@c", Written::Unknown),
            ("foo:a@b", Written::Unknown),
        ] {
            assert_eq!(written(value), expected, "{value}");
        }
    }
}
