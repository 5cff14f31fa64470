//! The accepted recipients of a message.

use std::fmt::Write as _;

use crate::smtp::address::ForwardPath;
use crate::smtp::command;
use crate::smtp::line::COMMAND_LINE;

/// The maximum size of all recipients together: 1,000 of 64 bytes. A client with more or longer
/// ones sends the rest in another message (RFC 5321 section 4.5.3.1.10).
const BYTES: usize = 64 * 1024;

/// How much is allocated at once, so that little memory is idle.
const STEP: usize = 4 * 1024;

/// The accepted recipients, kept as the text that the client wrote, since thousands of sessions may
/// have thousands of recipients.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    /// A line each: no path has a line end.
    text: String,
    count: usize,
}

impl Recipients {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), count: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether one more recipient fits.
    pub(super) fn has_room(&self, path: &ForwardPath) -> bool {
        self.text.len() + path.to_string().len() < BYTES
    }

    pub(super) fn push(&mut self, path: &ForwardPath) {
        if self.text.capacity() - self.text.len() <= COMMAND_LINE {
            self.text.reserve_exact(STEP);
        }
        // Writing to a string does not fail.
        _ = writeln!(self.text, "{path}");
        self.count += 1;
    }

    /// The recipient, if it is the only one.
    pub(super) fn only(&self) -> Option<ForwardPath> {
        self.iter().next().filter(|_| self.count == 1)
    }

    /// All recipients, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = ForwardPath> {
        self.text.lines().filter_map(|path| command::recipient(path).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_come_back_as_they_were_written() {
        let mut recipients = Recipients::new();
        let written = [
            "Bob@Example.ORG",
            "postmaster",
            "\"a b\\\"@c\"@example.org",
            "x@[192.0.2.1]",
            "x@[IPv6:2001:db8::1]",
            "jürgen@bücher.example",
        ];
        for path in written {
            recipients.push(&command::recipient(path).unwrap());
        }
        assert_eq!(recipients.len(), written.len());
        assert!(recipients.iter().map(|path| path.to_string()).eq(written));
        assert_eq!(recipients.only(), None);
    }

    #[test]
    fn they_are_bounded_in_bytes() {
        let mut recipients = Recipients::new();
        let path = command::recipient(&format!("{}@example.org", "x".repeat(240))).unwrap();
        while recipients.has_room(&path) {
            recipients.push(&path);
        }
        assert_eq!(recipients.len(), 259);
        assert!(recipients.text.capacity() <= BYTES + STEP);
        // 1,000 of ordinary length fit.
        let mut recipients = Recipients::new();
        let path =
            command::recipient("customer.with.a.long.name@subdomain.customers.example").unwrap();
        for _ in 0..1000 {
            assert!(recipients.has_room(&path));
            recipients.push(&path);
        }
    }
}
