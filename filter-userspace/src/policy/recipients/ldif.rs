//! Recipients in the export of a directory (LDIF, RFC 2849).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::lines::text;
use super::import::{Reader, Stop};
use super::values;
use crate::lists::{file_lines, invisible, without_mark};

pub(super) fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    let lines = file_lines(without_mark(bytes)).map(|line| (line.number, line.bytes));
    let mut lines = lines.peekable();
    while let Some((number, first)) = lines.next() {
        let mut line = Cow::Borrowed(first);
        // A line that starts with a space goes on with the one before (note 2).
        while let Some((_, [b' ', rest @ ..])) =
            lines.next_if(|(_, next)| matches!(next, [b' ', ..]))
        {
            line.to_mut().extend(rest);
        }
        read_line(&line, number, reader)?;
    }
    Ok(())
}

fn read_line(line: &[u8], number: u32, reader: &mut Reader) -> Result<(), Stop> {
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

#[cfg(test)]
mod tests {
    use super::super::Format::Ldif;
    use super::super::import::tests::{fails, reads};

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
        reads(text, Ldif, &expected);
        reads(b"", Ldif, &[]);
    }

    #[test]
    fn bad_values_are_named_with_the_line_where_they_start() {
        let text = b"dn: a\nmail: bob\n b\nmail:: ?\nmail:< file:///x\nnonsense\nmail:: /w==\n";
        let error = fails(text, Ldif);
        let starts: Vec<_> = error.lines().map(|line| line.split(':').nth(1).unwrap()).collect();
        assert_eq!(starts, ["2", "4", "5", "6", "7"], "{error}");
    }

    #[test]
    fn nothing_is_passed_over() {
        let text = b"dn: a\rmail: bob@a.example\r\rdn: b\rmail: ann@a.example\r";
        reads(text, Ldif, &[("bob@a.example", 2), ("ann@a.example", 5)]);
        let joined = "dn: a\nmail: bob@a.example\n\u{feff}mail: ann@a.example\n";
        let error = fails(joined.as_bytes(), Ldif);
        assert!(error.starts_with("f:3: ") && error.contains("U+FEFF"), "{error}");
        let hidden = "dn: a\nmail: ann\u{200b}@a.example\n";
        assert!(fails(hidden.as_bytes(), Ldif).contains("U+200B ZERO WIDTH SPACE"));
        let encoded = "dn: a\nmail:: YW5u4oCLQGEuZXhhbXBsZQ==\n";
        assert!(fails(encoded.as_bytes(), Ldif).contains("U+200B ZERO WIDTH SPACE"));
        assert!(fails(b"dn: a\nmail: bob@a.example ann@a.example\n", Ldif).starts_with("f:2: "));
    }

    #[test]
    fn changes_are_not_a_list_of_recipients() {
        for change in ["modify", "delete", "modrdn", " moddn"] {
            let text =
                format!("dn: a\nmail: a@b.c\n\ndn: b\nchangetype: {change}\ndelete: mail\n-\n");
            assert!(fails(text.as_bytes(), Ldif).starts_with("f:5: is a change"));
        }
    }
}
