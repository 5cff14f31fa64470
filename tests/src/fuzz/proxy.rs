//! PROXY headers, and a second reading of them.

use std::net::{IpAddr, SocketAddr};

use mxdp::io::smtp::proxy::{Begins, parse};

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whatever a connection begins with: what is taken for a header is one, is read as
/// [`plainly`] reads it, and is found by whoever has seen more or just as much.
///
/// # Panics
///
/// When that is not so, or an incomplete header is accepted.
pub fn proxy_header(data: &[u8]) {
    match parse(data) {
        Ok(Begins::Header { length, source }) => {
            assert!(length <= data.len(), "{length} of {} bytes", data.len());
            assert_eq!(Some((length, source)), plainly(data), "{}", data.escape_ascii());
            let exactly = parse(&data[..length]).expect("the header alone");
            assert_eq!(exactly, Begins::Header { length, source });
            for cut in 0..length {
                let is_taken = matches!(parse(&data[..cut]), Ok(Begins::Header { .. }));
                assert!(!is_taken, "{} is a header", data[..cut].escape_ascii());
            }
        }
        Ok(Begins::Unfinished) => {
            // More bytes may come, but not for ever.
            assert!(data.len() < 16 + usize::from(u16::MAX), "it never ends");
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
    }
}

/// The length of the header and the sender that it names, by sections 2.1 and 2.2 of
/// the PROXY protocol's specification.
fn plainly(data: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let Some(rest) = data.strip_prefix(SIGNATURE) else {
        let end = data.windows(2).position(|two| two == b"\r\n")?;
        let text = std::str::from_utf8(&data[..end]).ok()?;
        let mut words = text.strip_prefix("PROXY ")?.split(' ');
        let source = match words.next()? {
            "UNKNOWN" => None,
            family => {
                let source: IpAddr = words.next()?.parse().ok()?;
                let _destination: IpAddr = words.next()?.parse().ok()?;
                assert_eq!(family, if source.is_ipv4() { "TCP4" } else { "TCP6" });
                Some(SocketAddr::new(source, words.next()?.parse().ok()?))
            }
        };
        return Some((end + 2, source));
    };
    let [version, family, high, low, behind @ ..] = rest else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let body = behind.get(..length)?;
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let source = match (version, family >> 4) {
        (0x21, 1) => Some(SocketAddr::new(IpAddr::from(*body.first_chunk::<4>()?), port(8))),
        (0x21, 2) => Some(SocketAddr::new(IpAddr::from(*body.first_chunk::<16>()?), port(32))),
        (0x20 | 0x21, _) => None,
        _ => return None,
    };
    Some((16 + length, source))
}
