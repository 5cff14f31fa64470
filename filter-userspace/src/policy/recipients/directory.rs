//! What a directory says of recipients, and how it is kept: an address a line, as a JSON
//! string, since a valid address may begin like a comment or hold white space.

use super::import::{Import, ImportError, ImportOptions, Reader, Stop};
use super::one::Recipient;
use super::values::scheme;
use crate::lists::{Why, file_lines};

/// The address in a value of a directory: `a@b`, or `smtp:a@b` as Exchange has it; none
/// in one of another kind, such as `X400:`.
///
/// # Errors
///
/// Why the value is not an address.
pub fn address_of(value: &str) -> Result<Option<String>, Why> {
    let address = match scheme(value.trim_ascii()) {
        (None, address) => address,
        (Some(scheme), address) if scheme.eq_ignore_ascii_case("smtp") => address,
        (Some(_), _) => return Ok(None),
    };
    Ok(Some(match Recipient::parse(address)? {
        Recipient::All(domain) => format!("*@{domain}"),
        Recipient::One(mailbox) => mailbox.to_string(),
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
    use super::super::{Found, RecipientSet};
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
        ] {
            assert_eq!(address_of(value), Ok(address.map(str::to_owned)), "{value}");
        }
        for (value, why) in [
            ("root@[192.0.2.1]", "has an IP address for a domain"),
            ("root", "is not an address"),
            ("", "is not an address"),
            ("bob@example.org ann@example.org", "is not an address"),
            ("ann\u{200b}@example.org", "U+200B ZERO WIDTH SPACE"),
            (&format!("{}@example.org", "x".repeat(2000)), "longer than"),
        ] {
            assert!(address_of(value).is_err_and(|error| error.contains(why)), "{value}");
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
