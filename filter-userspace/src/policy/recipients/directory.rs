//! What a directory says of recipients, and how it is kept: an address a line, as a JSON
//! string, since a valid address may begin like a comment or hold white space.

use super::import::{Import, ImportError, ImportOptions};
use super::one::Recipient;
use super::reader::{Reader, Stop};
use super::values::{UNKNOWN_SCHEME, Written, written};
use crate::lists::{Why, file_lines};

/// The address in a value of a directory, in the form in which it is kept: `a@b`, or
/// `smtp:a@b` as Exchange has it, or `mailto:a@b`; none in one of another known kind, such
/// as `X400:`.
///
/// # Errors
///
/// Why the value is not an address.
pub fn address_of(value: &str) -> Result<Option<String>, Why> {
    let address = match written(value.trim_ascii()) {
        Written::Address(address) => address,
        Written::Other => return Ok(None),
        Written::Unknown => return Err(UNKNOWN_SCHEME),
    };
    Ok(Some(match Recipient::literal(address)? {
        Recipient::All(domain) => format!("*@{domain}"),
        Recipient::One(mailbox) => {
            let written = mailbox.to_string();
            // Quotes change nothing of what a local part means, and what is kept without
            // them would be all recipients of the domain.
            match written.strip_prefix("*@") {
                Some(host) => format!("\"*\"@{host}"),
                None => written,
            }
        }
    }))
}

/// Addresses in the form in which they are kept.
#[must_use]
pub fn to_kept<'a>(addresses: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for address in addresses {
        // A string has a JSON form.
        text.push_str(&serde_json::to_string(address).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// Reads what [`to_kept`] wrote. The number of an address counts as its line.
///
/// # Errors
///
/// Lines that it did not write; too many addresses.
pub fn from_kept(bytes: &[u8], name: &str, options: ImportOptions) -> Result<Import, ImportError> {
    let mut reader = Reader::new(name, options);
    let read = read(bytes, &mut reader);
    reader.finish(read)
}

fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    for line in file_lines(bytes) {
        match serde_json::from_slice::<String>(line.bytes) {
            Ok(address) => reader.address(&address, line.number)?,
            Err(_) => reader.bad(line.number, line.bytes, "is not a JSON string"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::set::{Found, RecipientSet};
    use super::*;
    use crate::lists::OnBadLine;
    use crate::smtp::address::Mailbox;

    #[test]
    fn values_of_a_directory() {
        for (value, address) in [
            ("bob@example.org", Some("bob@example.org")),
            (" SMTP:Bob@example.org ", Some("Bob@example.org")),
            ("#sales@example.org", Some("#sales@example.org")),
            ("\"a b;c\"@example.org", Some("\"a b;c\"@example.org")),
            ("@example.org", Some("*@example.org")),
            ("x400:C=us;A= ;", None),
            ("sip:bob@example.org", None),
            ("GWISE:x.y.bob", None),
            ("mailto:bob@example.org", Some("bob@example.org")),
            ("MailTo:bob@example.org?subject=x", Some("bob@example.org")),
            ("*@example.org", Some("\"*\"@example.org")),
            ("<*@example.org>", Some("\"*\"@example.org")),
            ("smtp:*@example.org", Some("\"*\"@example.org")),
            ("\"*\"@example.org", Some("\"*\"@example.org")),
            ("*x@example.org", Some("*x@example.org")),
        ] {
            assert_eq!(address_of(value), Ok(address.map(str::to_owned)), "{value}");
        }
        for (value, why) in [
            ("root@[192.0.2.1]", "has an IP address for a domain"),
            ("root", "is not an address"),
            ("", "is not an address"),
            ("bob@example.org ann@example.org", "is not an address"),
            ("ann\u{200b}@example.org", "U+200B ZERO WIDTH SPACE"),
            ("foo:bob@example.org", "is of a kind that is not known"),
            ("mailto:bob", "is not an address"),
            ("mailto:b%6Fb@example.org", "is of a kind that is not known"),
            (&format!("{}@example.org", "x".repeat(2000)), "longer than"),
        ] {
            assert!(address_of(value).is_err_and(|error| error.contains(why)), "{value}");
        }
    }

    #[test]
    fn a_star_in_a_directory_is_somebody_and_not_everybody() {
        let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 10 };
        let address = address_of("*@example.org").expect("an address").expect("one");
        let kept = to_kept(std::iter::once(address.as_str()));
        let import = from_kept(kept.as_bytes(), "ldap", options).expect("read");
        let mut set = RecipientSet::default();
        set.import(import);
        let found = |text: &str| set.check(&Mailbox::parse(text).expect("an address"), None);
        assert_eq!(found("*@example.org"), Found::Valid { source: "ldap", line: 1 });
        assert_eq!(found("nobody@example.org"), Found::Invalid);
    }

    proptest! {
        /// What is kept of a value makes that address valid, and no other.
        #[test]
        fn what_is_kept_means_what_was_said(local in "[*@a\\\\\"#; ]{1,4}", quoted: bool) {
            let local = if quoted { format!("{local:?}") } else { local };
            let text = format!("{local}@example.org");
            let Ok(mailbox) = Mailbox::parse(&text) else { return Ok(()) };
            let Ok(Some(address)) = address_of(&text) else { return Ok(()) };
            let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 10 };
            let kept = to_kept(std::iter::once(address.as_str()));
            let mut set = RecipientSet::default();
            set.import(from_kept(kept.as_bytes(), "ldap", options).expect("read"));
            let source = "ldap";
            prop_assert_eq!(set.check(&mailbox, None), Found::Valid { source, line: 1 });
            let other = Mailbox::parse("nobody.at.all@example.org").expect("an address");
            prop_assert_eq!(set.check(&other, None), Found::Invalid);
        }
    }

    #[test]
    fn every_valid_address_comes_back() {
        let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 10 };
        let addresses = [
            "#sales@example.org",
            "\"a b;,c\"@example.org",
            "\"\\\"\"@example.org",
            "用户@example.org",
            "bob@example.org",
            "a'b@example.org",
        ];
        let kept = to_kept(addresses.into_iter());
        let import = from_kept(kept.as_bytes(), "ldap", options).expect("read");
        assert_eq!(import.len(), addresses.len());
        let mut set = RecipientSet::default();
        set.import(import);
        for (line, address) in (1..).zip(addresses) {
            let mailbox = Mailbox::parse(address).expect("an address");
            let found = set.check(&mailbox, None);
            assert_eq!(found, Found::Valid { source: "ldap", line }, "{address}");
        }
        assert!(from_kept(b"bob@example.org\n", "ldap", options).is_err());
        assert!(from_kept(b"\"bob@exam", "ldap", options).is_err());
    }
}
