//! Parses a header from the first bytes of a connection. Pure, and fuzzed.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult as _, v1, v2};

/// The longest header that is accepted, in octets.
pub(super) const LONGEST: usize = 4096;

/// The longest header of version 1, with its CRLF (PROXY protocol section 2.1).
const LONGEST_1: usize = 107;

/// The signatures of version 2 and of version 1.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// A header.
    Header {
        /// Its length in octets.
        length: usize,
        /// The client; none if the balancer speaks for itself.
        source: Option<SocketAddr>,
    },
    /// The beginning of a header.
    Unfinished,
}

/// Finds the header in the first bytes of a connection.
///
/// # Errors
///
/// When they are not a header, whatever follows.
pub fn parse(bytes: &[u8]) -> io::Result<Begins> {
    let unfinished = || hopeless(bytes).map_or(Ok(Begins::Unfinished), |why| Err(bad(why)));
    // The library rejects some beginnings of a valid version 1 line.
    let has_line = !bytes.starts_with(WORD) || bytes.windows(2).any(|two| two == b"\r\n");
    if !has_line {
        return unfinished();
    }
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        return unfinished();
    }
    let (length, source) = match parsed {
        // The library accepts a bare LF behind UNKNOWN.
        HeaderResult::V1(Ok(header)) if !header.header.ends_with("\r\n") => {
            return Err(bad("version 1 ends with CR LF"));
        }
        HeaderResult::V1(Ok(header)) => (header.header.len(), source_v1(&header.addresses)),
        HeaderResult::V2(Ok(header)) => {
            let speaks = header.command == v2::Command::Proxy;
            let source = speaks.then(|| source_v2(&header.addresses)).flatten();
            (header.as_bytes().len(), source)
        }
        HeaderResult::V1(Err(error)) => return Err(bad(&error.to_string())),
        HeaderResult::V2(Err(error)) => return Err(bad(&error.to_string())),
    };
    Ok(Begins::Header { length, source })
}

/// Why these bytes can never become a header, whatever follows: then there is nothing to wait for.
fn hopeless(bytes: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| {
        let common = bytes.len().min(with.len());
        bytes[..common] == with[..common]
    };
    if begins(SIGNATURE) {
        let fields = bytes.get(SIGNATURE.len()..).unwrap_or_default();
        return match fields {
            [version, ..] if version >> 4 != 2 => Some("the version is not 2"),
            [command, ..] if command & 15 > 1 => Some("the command is not LOCAL or PROXY"),
            [_, family, ..] if family >> 4 > 3 || family & 15 > 2 => {
                Some("the address family or protocol is unknown")
            }
            [_, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                (SIGNATURE.len() + 4 + length > LONGEST).then_some("too long")
            }
            _ => None,
        };
    }
    if !begins(WORD) {
        return Some("expected a PROXY header of version 1 or 2");
    }
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte));
    match end.map(|at| (bytes[at], bytes.get(at + 1))) {
        Some((b'\r', None)) => None,
        Some((b'\r', Some(b'\n'))) => Some("the line ends before all of its fields"),
        Some(_) => Some("version 1 ends with CR LF"),
        None if bytes.len() > LONGEST_1 - 2 => Some("the line is longer than 107 octets"),
        None => None,
    }
}

pub(super) fn bad(text: &str) -> io::Error {
    // The library's errors contain line ends, and a log line must not.
    let text = text.replace('\r', "\\r").replace('\n', "\\n");
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY header: {text}"))
}

fn source_v1(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn source_v2(addresses: &v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        v2::Addresses::IPv4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v2::Addresses::IPv6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROXY protocol section 2: a receiver may not wait for what cannot come.
    #[test]
    fn what_cannot_become_a_header_is_refused_at_once() {
        for bytes in [
            &b"PROXY TCP4 203.0.113.7\r\n"[..],
            b"PROXY TCP4 203.0.113.7 192.0.2.25\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.25 40000\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.25 40000 \r\n",
            b"PROXY TCP6 2001:db8::1 2001:db8::25 1\r\n",
            b"PROXY TCP4\r\n",
            b"PROXY \r\n",
            b"PROXY\r\n",
            b"PROXY TCP4 203.0.113.7\n",
            b"PROXY TCP4 203.0.113.7\rx",
            b"PROXY UNKNOWN\n",
            b"proxy TCP4",
            b"EHLO client.example\r\n",
            b"\x16\x03\x01",
            b"\r\n\r\nX",
            b"\r\n\r\n\0\r\nQUIT\n\x11",
            b"\r\n\r\n\0\r\nQUIT\n\x22",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x41",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x13",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        assert!(parse(&long).is_err());
        for header in [
            &b"PROXY TCP4 203.0.113.7 192.0.2.25 40000 25\r\n"[..],
            b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x19\x9c\x40\0\x19",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        ] {
            for cut in 0..header.len() {
                let begins = parse(&header[..cut]).unwrap();
                assert_eq!(begins, Begins::Unfinished, "{}", header[..cut].escape_ascii());
            }
            assert!(matches!(parse(header), Ok(Begins::Header { .. })));
        }
    }
}
