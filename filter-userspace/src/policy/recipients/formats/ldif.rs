//! Recipients in the export of a directory (LDIF, RFC 2849).

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::one::Recipient;
use super::super::reader::{Reader, Stop};
use super::super::values::{self, Written};
use super::format::Format;
use crate::lists::{file_lines, invisible, without_mark};
use crate::policy::lines::text;

/// The export of a directory (RFC 2849).
pub(super) const FORMAT: Format = Format { name: "ldif", endings: &["ldif", "ldf"], read };

fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    let mut lines = file_lines(without_mark(bytes)).peekable();
    let mut others = BTreeSet::new();
    while let Some(first) = lines.next() {
        let mut line = Cow::Borrowed(first.bytes);
        let mut has_end = first.has_end;
        // A line that starts with a space goes on with the one before (note 2).
        while let Some(next) = lines.next_if(|next| next.bytes.starts_with(b" ")) {
            line.to_mut().extend(&next.bytes[1..]);
            has_end = next.has_end;
        }
        reader.set_open(!has_end);
        read_line(&line, first.number, &mut others, reader)?;
    }
    Ok(())
}

/// Reads a line. `others` are the attributes of which it was said that they hold addresses.
fn read_line(
    line: &[u8],
    number: u32,
    others: &mut BTreeSet<String>,
    reader: &mut Reader,
) -> Result<(), Stop> {
    if matches!(line, [] | [b'#', ..]) {
        return Ok(());
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        reader.bad(number, line, "is not `attribute: value`");
        return Ok(());
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // Options such as `;lang-de` do not change what an attribute is.
    let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    if !name.is_ascii() {
        let why = invisible(&name).unwrap_or("the name of the attribute is not ASCII");
        reader.bad(number, line, why);
        return Ok(());
    }
    if name.eq_ignore_ascii_case("changetype") {
        let is_add = value.trim_ascii().eq_ignore_ascii_case(b"add");
        let why = "is a change, not an entry: export all recipients instead";
        return if is_add { Ok(()) } else { Err(Stop::Unusable(number, why)) };
    }
    let Some(kind) = values::kind(&name) else {
        if others.len() < OTHERS && holds_address(value) && others.insert(values::plain(&name)) {
            let name: String = name.chars().take(40).flat_map(char::escape_debug).collect();
            let what = format!("the attribute `{name}` holds addresses and is not read");
            reader.remark(number, &what);
        }
        return Ok(());
    };
    let decoded = match value {
        [b':', encoded @ ..] => match STANDARD.decode(encoded.trim_ascii()) {
            Ok(decoded) => Cow::Owned(decoded),
            Err(_) => {
                reader.bad(number, line, "is not base64");
                return Ok(());
            }
        },
        [b'<', ..] => {
            reader.bad(number, line, "names a file or URL instead of an address");
            return Ok(());
        }
        plain => Cow::Borrowed(plain),
    };
    match text(decoded.trim_ascii()) {
        Ok("") => Ok(()),
        Ok(value) => values::read_kind(kind, value, number, reader),
        Err(why) => {
            reader.bad(number, line, why);
            Ok(())
        }
    }
}

/// How many attributes that are not read are named.
const OTHERS: usize = 20;

/// Whether a value of an attribute that is not read is an address.
fn holds_address(value: &[u8]) -> bool {
    // Pictures and keys are longer.
    const LONGEST: usize = 2048;
    let decoded = match value {
        _ if value.len() > LONGEST => return false,
        [b':', encoded @ ..] => STANDARD.decode(encoded.trim_ascii()).unwrap_or_default(),
        plain if plain.contains(&b'@') => plain.to_vec(),
        _ => return false,
    };
    text(decoded.trim_ascii()).is_ok_and(|value| match values::written(value) {
        Written::Address(address) => Recipient::parse(address).is_ok(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::import::ImportOptions;
    use super::super::parse;
    use super::super::tests::{fails, reads};
    use super::FORMAT;
    use crate::lists::OnBadLine;

    #[test]
    fn entries_of_a_directory() {
        let text = b"version: 1\n# a comment\n  that goes on: mail\n\ndn: uid=bob,dc=a\r\n\
            changetype: add\r\nMail: bob@a.exa\r\n mple\r\nmail;lang-de: b.de@a.example\r\n\
            mailAlternateAddress:: Yi5iQGEuZXhhbXBsZQ==\nproxyAddresses: SMTP:bob@b.example\n\
            proxyAddresses: x500:/o=x\nmailLocalAddress:bob@c.example\nrfc822Mailbox:\n\
            description: mail: x\n\ndn:: YQ==\nmailaddress:: YW5uQGEu\n ZXhhbXBsZQ==\nalias: ann\n";
        let expected = [
            ("bob@a.example", 7),
            ("b.de@a.example", 9),
            ("b.b@a.example", 10),
            ("bob@b.example", 11),
            ("bob@c.example", 13),
            ("ann@a.example", 18),
        ];
        reads(text, &FORMAT, &expected);
        reads(b"", &FORMAT, &[]);
    }

    #[test]
    fn bad_values_are_named_with_the_line_where_they_start() {
        let text = b"dn: a\nmail: bob\n b\nmail:: ?\nmail:< file:///x\nnonsense\nmail:: /w==\n";
        let error = fails(text, &FORMAT);
        let starts: Vec<_> = error.lines().map(|line| line.split(':').nth(1).unwrap()).collect();
        assert_eq!(starts, ["2", "4", "5", "6", "7"], "{error}");
    }

    #[test]
    fn nothing_is_passed_over() {
        let text = b"dn: a\rmail: bob@a.example\r\rdn: b\rmail: ann@a.example\r";
        reads(text, &FORMAT, &[("bob@a.example", 2), ("ann@a.example", 5)]);
        let joined = "dn: a\nmail: bob@a.example\n\u{feff}mail: ann@a.example\n";
        let error = fails(joined.as_bytes(), &FORMAT);
        assert!(error.starts_with("f:3: ") && error.contains("U+FEFF"), "{error}");
        let hidden = "dn: a\nmail: ann\u{200b}@a.example\n";
        assert!(fails(hidden.as_bytes(), &FORMAT).contains("U+200B ZERO WIDTH SPACE"));
        let encoded = "dn: a\nmail:: YW5u4oCLQGEuZXhhbXBsZQ==\n";
        assert!(fails(encoded.as_bytes(), &FORMAT).contains("U+200B ZERO WIDTH SPACE"));
        assert!(fails(b"dn: a\nmail: bob@a.example ann@a.example\n", &FORMAT).starts_with("f:2: "));
    }

    #[test]
    fn addresses_elsewhere_are_remarked_once() {
        let text = b"dn: a\nmail: mailto:bob@a.example\nuserPrincipalName: bob@a.example\n\
            zimbraMailAlias:: Yi5iQGEuZXhhbXBsZQ==\ndescription: ask x@y.example\n\
            jpegPhoto:: /9j/4A==\n\ndn: b\nmail: ann@a.example\nuserPrincipalName: ann@a.example\n";
        reads(text, &FORMAT, &[("bob@a.example", 2), ("ann@a.example", 9)]);
        let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 9 };
        let import = parse(text, &FORMAT, "f", options).expect("read");
        assert_eq!(
            import.remarks(),
            [
                "f:3: the attribute `userPrincipalName` holds addresses and is not read",
                "f:4: the attribute `zimbraMailAlias` holds addresses and is not read",
            ]
        );
    }

    #[test]
    fn changes_are_not_a_list_of_recipients() {
        for change in ["modify", "delete", "modrdn", " moddn"] {
            let text =
                format!("dn: a\nmail: a@b.c\n\ndn: b\nchangetype: {change}\ndelete: mail\n-\n");
            assert!(fails(text.as_bytes(), &FORMAT).starts_with("f:5: is a change"));
        }
    }
}
