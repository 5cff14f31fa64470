//! PROXY headers, versions 1 and 2, of load balancers in front.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// How long a header may take to come.
const TIME: Duration = Duration::from_secs(5);

/// The longest header that is taken, in octets.
const LONGEST: usize = 4096;

/// Reads the header that a connection begins with, and nothing behind it. None
/// when it speaks for the sender itself.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    tokio::time::timeout(TIME, header(stream)).await.unwrap_or_else(|_| Err(bad("timed out")))
}

async fn header(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let seen = stream.peek(&mut buffer).await?;
        match parse(&buffer[..seen])? {
            Begins::Header { length, source } => {
                stream.read_exact(&mut buffer[..length]).await?;
                return Ok(source);
            }
            Begins::Unfinished if seen == 0 => return Err(bad("the connection was closed")),
            Begins::Unfinished if seen == LONGEST => return Err(bad("too long")),
            // What was peeked at stays: there is nothing to wait for but time.
            Begins::Unfinished => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

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

fn bad(text: &str) -> io::Error {
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
