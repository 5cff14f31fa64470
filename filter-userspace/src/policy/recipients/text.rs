//! Recipients as text, an address a line.

use super::super::lines::{entries, lines};
use super::import::{Reader, Stop};
use super::one::Recipient;

pub(super) fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    let is_entry = |field: &str| Recipient::parse(field).is_ok();
    for line in lines(bytes) {
        match line.text.and_then(|text| entries(text, is_entry)) {
            Ok(addresses) => {
                for address in addresses {
                    reader.address(address, line.number)?;
                    if !line.has_end
                        && let Ok(recipient) = Recipient::parse(address)
                    {
                        reader.ends_with(&recipient, line.number);
                    }
                }
            }
            Err(why) => reader.bad(line.number, line.bytes, why),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Format::Text;
    use super::super::import::tests::{fails, reads};

    #[test]
    fn an_address_a_line() {
        let text = b"\xef\xbb\xbfBob@A.example\r\n# comment\r\n\r\n<ann@b.example> Ann\r\n\
                     \"x y\"@c.example\n; c\nbob@a.example";
        reads(text, Text, &[("bob@a.example", 1), ("ann@b.example", 4), ("\"x y\"@c.example", 5)]);
        reads(b"", Text, &[]);
        reads("Ä@bücher.example".as_bytes(), Text, &[("ä@xn--bcher-kva.example", 1)]);
        assert_eq!(fails(b"a@b.c\n\0\n\xff\n", Text).lines().count(), 2);
    }

    #[test]
    fn nothing_is_passed_over() {
        reads(
            b"bob@a.example ann@a.example\n",
            Text,
            &[("bob@a.example", 1), ("ann@a.example", 1)],
        );
        reads(
            b"bob@a.example\rann@a.example\r",
            Text,
            &[("bob@a.example", 1), ("ann@a.example", 2)],
        );
        reads(
            b"<bob@a.example>, <ann@a.example>",
            Text,
            &[("bob@a.example", 1), ("ann@a.example", 1)],
        );
        for (text, name) in [
            (
                "bob@a.example\n\u{feff}ann@a.example\n",
                "f:2: `\\u{feff}ann@a.example`: holds an invisible character: U+FEFF",
            ),
            ("ann\u{200b}@a.example\n", "U+200B ZERO WIDTH SPACE"),
            ("bob@a.example ann\u{200b}@a.example\n", "U+200B ZERO WIDTH SPACE"),
            ("ann\u{a0}@a.example\n", "U+00A0 NO-BREAK SPACE"),
            ("bob@a.example or ann@a.example\n", "write one address a line"),
            ("b\0o\0b\0@\0a\0.\0c\0\n\0", "UTF-16"),
            ("<!DOCTYPE html>\n<p>bob@a.example", "HTML"),
        ] {
            let error = fails(text.as_bytes(), Text);
            assert!(error.contains(name), "{error}");
        }
    }
}
