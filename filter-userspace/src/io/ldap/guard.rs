//! Checks what a directory sends before the library parses it: the library recurses to any depth
//! and keeps any number of elements in memory, and a directory belongs to somebody else.

/// The maximum depth: an answer to a search has seven levels, controls a few more.
const DEPTH: usize = 32;

/// The maximum number of elements of one message: a group with 100,000 members has about as many.
const ELEMENTS: usize = 500_000;

/// The maximum number of bytes of one message.
const BYTES: u64 = 64 << 20;

/// An element that contains others.
const CONSTRUCTED: u8 = 0x20;

/// Checks messages of LDAP as they arrive, in BER with definite lengths (RFC 4511 section 5.1).
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// The bytes that are left of each open element, the innermost last.
    open: Vec<u64>,
    /// The bytes of the next element's tag and length that have arrived.
    head: Vec<u8>,
    /// The bytes that are left of an element without others in it.
    contents: u64,
    /// The number of elements of this message.
    elements: usize,
}

impl Guard {
    /// Checks bytes that arrived.
    ///
    /// # Errors
    ///
    /// Why they must not be parsed.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            if self.contents > 0 {
                let came = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(self.contents);
                self.contents -= came;
                bytes = &bytes[usize::try_from(came).unwrap_or(bytes.len())..];
                self.end_elements();
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(length) = length(&self.head)? {
                self.begin(length)?;
            }
        }
        Ok(())
    }

    /// The tag and length of an element have arrived.
    fn begin(&mut self, length: u64) -> Result<(), &'static str> {
        let head = std::mem::take(&mut self.head);
        let size = u64::try_from(head.len()).unwrap_or(u64::MAX).saturating_add(length);
        match self.open.last_mut() {
            None if length > BYTES => return Err("an answer is larger than 64 MiB"),
            None => self.elements = 0,
            Some(left) => {
                *left = left.checked_sub(size).ok_or("an element is longer than what it is in")?;
            }
        }
        self.elements += 1;
        if self.elements > ELEMENTS {
            return Err("an answer has more than 500,000 elements");
        }
        if head[0] & CONSTRUCTED == 0 {
            self.contents = length;
        } else if self.open.len() == DEPTH {
            return Err("an answer is nested too deeply");
        } else {
            self.open.push(length);
        }
        self.end_elements();
        Ok(())
    }

    /// Closes the elements that are complete.
    fn end_elements(&mut self) {
        while self.contents == 0 && self.open.last() == Some(&0) {
            self.open.pop();
        }
    }
}

/// The declared length of an element, once its header has arrived whole.
fn length(head: &[u8]) -> Result<Option<u64>, &'static str> {
    if head[0] & 0x1f == 0x1f {
        return Err("an answer has a tag that LDAP does not have");
    }
    match head.get(1) {
        None => Ok(None),
        Some(short @ 0..0x80) => Ok(Some(u64::from(*short))),
        Some(0x80) => Err("an answer has a length that is not definite"),
        Some(long) => {
            let count = usize::from(long & 0x7f);
            if count > size_of::<u64>() {
                return Err("an answer is larger than 64 MiB");
            }
            let digits = &head[2..];
            let value = || digits.iter().fold(0, |sum, digit| (sum << 8) | u64::from(*digit));
            Ok((digits.len() == count).then(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, contents].concat()
    }

    /// The result for bytes, in one piece and byte by byte.
    fn look(bytes: &[u8]) -> Result<(), &'static str> {
        let mut guard = Guard::default();
        let whole = guard.look(bytes);
        let mut guard = Guard::default();
        let parts = bytes.iter().try_for_each(|byte| guard.look(&[*byte]));
        assert_eq!(whole, parts);
        if whole.is_ok() {
            assert!(guard.open.is_empty() && guard.head.is_empty() && guard.contents == 0);
        }
        whole
    }

    #[test]
    fn answers_pass_and_what_is_none_does_not() {
        // A bind response (RFC 4511 section 4.2.2), twice.
        let bound = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(look(&[&bound[..], bound].concat()), Ok(()));
        assert_eq!(look(&element(0x30, &element(0x04, &[b'x'; 5000]))), Ok(()));
        assert_eq!(look(b"\x30\x00"), Ok(()));
        assert_eq!(look(b"\x30\x03\x04\x05\x01"), Err("an element is longer than what it is in"));
        assert!(look(b"\x30\x80\x00\x00").is_err());
        assert!(look(b"\x3f\x81\x01\x00").is_err());
        assert!(look(b"\x30\x84\xff\xff\xff\xff").is_err());
        assert!(look(b"\x30\x89\x01\x01\x01\x01\x01\x01\x01\x01\x01").is_err());
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth: usize| (0..depth).fold(Vec::new(), |inner, _| element(0x30, &inner));
        assert_eq!(look(&nested(DEPTH)), Ok(()));
        assert_eq!(look(&nested(DEPTH + 1)), Err("an answer is nested too deeply"));
        let many = |count: usize| element(0x30, &[4, 0].repeat(count));
        assert_eq!(look(&many(ELEMENTS - 1)), Ok(()));
        assert!(look(&many(ELEMENTS)).is_err());
    }
}
