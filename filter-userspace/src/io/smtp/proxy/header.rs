//! From the first bytes of a connection to a header. Pure, and fuzzed.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult as _, v1, v2};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// A header.
    Header {
        /// Its length in octets.
        length: usize,
        /// The sender; none when the balancer speaks for itself.
        source: Option<SocketAddr>,
    },
    /// The beginning of one.
    Unfinished,
}

/// Finds the header in the first bytes of a connection.
///
/// # Errors
///
/// They are no header, whatever follows.
pub fn parse(bytes: &[u8]) -> io::Result<Begins> {
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        return Ok(Begins::Unfinished);
    }
    let (length, source) = match parsed {
        // The library takes a bare LF behind UNKNOWN.
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

pub(super) fn bad(text: &str) -> io::Error {
    // The library's words have line ends in them, and a log line has one.
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
