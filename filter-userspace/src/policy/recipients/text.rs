//! Recipients as text, an address a line.

use super::super::lines::lines;
use super::import::{Reader, Stop};

pub(super) fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    for line in lines(bytes) {
        match line.field {
            Ok(address) => reader.address(address, line.number)?,
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
}
