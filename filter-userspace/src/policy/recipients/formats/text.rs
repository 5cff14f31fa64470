//! Recipients as text, an address a line.

use super::super::one::Recipient;
use super::super::reader::{Reader, Stop};
use super::format::Format;
use crate::policy::lines::{Contrary, entries, lines, note, says_refuse};

/// An address a line.
pub(super) const FORMAT: Format = Format { name: "text", endings: &["txt"], read };

fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    let is_entry = |field: &str| Recipient::parse(field).is_ok();
    let mut contrary = Contrary::default();
    for line in lines(bytes) {
        reader.set_open(!line.has_end);
        // An access table of Postfix, which lists whom it refuses too.
        if line.text.is_ok_and(|text| says_refuse(note(text))) {
            contrary.add(line.number);
        }
        match line.text.and_then(|text| entries(text, is_entry)) {
            Ok(addresses) => {
                for address in addresses {
                    reader.address(address, line.number)?;
                }
            }
            Err(why) => reader.bad(line.number, line.bytes, why),
        }
    }
    if let Some((line, what)) =
        contrary.said("the note says to refuse the address, and this file makes it valid")
    {
        reader.remark(line, &what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::import::ImportOptions;
    use super::super::parse;
    use super::super::tests::{fails, reads};
    use super::FORMAT;
    use crate::lists::OnBadLine;

    #[test]
    fn an_address_a_line() {
        let text = b"\xef\xbb\xbfBob@A.example\r\n# comment\r\n\r\n<ann@b.example> Ann\r\n\
                     \"x y\"@c.example\n; c\nbob@a.example";
        reads(
            text,
            &FORMAT,
            &[("bob@a.example", 1), ("ann@b.example", 4), ("\"x y\"@c.example", 5)],
        );
        reads(b"", &FORMAT, &[]);
        reads("Ä@bücher.example".as_bytes(), &FORMAT, &[("ä@xn--bcher-kva.example", 1)]);
        assert_eq!(fails(b"a@b.c\n\0\n\xff\n", &FORMAT).lines().count(), 2);
    }

    #[test]
    fn a_table_of_whom_to_refuse_is_remarked() {
        let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 10 };
        let remarks = |text: &str| {
            parse(text.as_bytes(), &FORMAT, "f", options).expect("read").remarks().to_vec()
        };
        assert_eq!(
            remarks("bob@b.c OK\nann@b.c REJECT\neve@b.c\t550 5.1.1 gone\n"),
            ["f:2: the note says to refuse the address, and this file makes it valid (and 1 more \
              lines like it)"]
        );
        for text in ["a@b.c x\n", "a@b.c reject@b.c\n", "a@b.c 550\n", "a@b.c Ann Reject\n"] {
            assert_eq!(remarks(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn nothing_is_passed_over() {
        reads(
            b"bob@a.example ann@a.example\n",
            &FORMAT,
            &[("bob@a.example", 1), ("ann@a.example", 1)],
        );
        reads(
            b"bob@a.example\rann@a.example\r",
            &FORMAT,
            &[("bob@a.example", 1), ("ann@a.example", 2)],
        );
        reads(
            b"<bob@a.example>, <ann@a.example>",
            &FORMAT,
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
            let error = fails(text.as_bytes(), &FORMAT);
            assert!(error.contains(name), "{error}");
        }
    }
}
