//! PROXY headers, versions 1 and 2, of load balancers in front.

mod header;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use header::bad;
pub use header::{Begins, parse};

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
