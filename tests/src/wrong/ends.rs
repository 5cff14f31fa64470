//! Where a message ends, as strict and as lenient backends have it.

/// Where a message ends, and what it and its end take.
pub(super) fn end_of_data(bytes: &[u8], from: usize, lenient: bool) -> Option<(usize, usize)> {
    for at in from..bytes.len() {
        if bytes[at] != b'.' {
            continue;
        }
        let (before, behind) = (&bytes[..at], &bytes[at + 1..]);
        if !lenient {
            if (at == 0 || before.ends_with(b"\r\n")) && behind.starts_with(b"\r\n") {
                return Some((at, at + 3));
            }
            continue;
        }
        // Any line end before, any after, and characters that some servers ignore.
        let inner = before.iter().rev().find(|byte| **byte != 0);
        let starts = inner.is_none_or(|byte| b"\r\n".contains(byte));
        let blank = behind.iter().position(|byte| !b"\0 \t\r".contains(byte));
        let Some(blank) = blank else { continue };
        let ends = behind[blank] == b'\n' || behind[..blank].contains(&b'\r');
        if starts && ends {
            let newline = usize::from(behind[blank] == b'\n');
            return Some((at, at + 1 + blank + newline));
        }
    }
    None
}

/// A message without dots for transparency.
pub(super) fn unstuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    out
}
