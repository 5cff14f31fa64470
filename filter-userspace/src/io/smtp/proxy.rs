//! PROXY headers, versions 1 and 2: from load balancers, and towards backends.

mod header;
mod towards;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

pub use header::{Begins, parse};
use header::{LONGEST, bad};
pub(super) use towards::{version_1, version_2};

/// The time limit for a header.
const TIME: Duration = Duration::from_secs(5);

/// One bad header is logged per interval, and further ones are counted.
const LOGGED: Duration = Duration::from_secs(60);

/// The beginning of a balancer's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A header: the client in it, or none if the balancer speaks for itself.
    Header(Option<SocketAddr>),
    /// It was closed without a byte, as health checks do.
    Nothing,
}

/// Balancers' connections that are not a client's.
#[derive(Debug, Default)]
pub(super) struct Balancers {
    silent: AtomicU64,
    malformed: AtomicU64,
    /// When one was logged, and how many were not since then.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Balancers {
    /// The numbers of connections without a byte, and without a valid header.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.silent.load(Ordering::Relaxed), self.malformed.load(Ordering::Relaxed))
    }

    /// Counts a connection without a byte, which is only a check.
    pub(super) fn checked(&self, peer: SocketAddr) {
        self.silent.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, "closed without a PROXY header, like a health check");
    }

    /// Counts a header that could not be read, and logs it.
    pub(super) fn failed(&self, peer: SocketAddr, error: &io::Error) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let unlogged = match &mut *logged {
            Some((at, unlogged)) if at.elapsed() < LOGGED => {
                *unlogged += 1;
                return;
            }
            Some((_, unlogged)) => *unlogged,
            None => 0,
        };
        *logged = Some((Instant::now(), 0));
        drop(logged);
        tracing::warn!(%peer, unlogged, "{error}");
    }
}

/// Reads the header at the start of a connection, and nothing behind it.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Opening> {
    let late = || bad(&format!("did not come within {} s", TIME.as_secs()));
    tokio::time::timeout(TIME, header(stream)).await.unwrap_or_else(|_| Err(late()))
}

async fn header(stream: &mut TcpStream) -> io::Result<Opening> {
    let mut buffer = vec![0; LONGEST];
    // The bytes that were read, which all belong to the header.
    let mut had = 0;
    while had < LONGEST {
        // The bytes behind the header are the client's, and stay in the socket.
        let seen = match stream.peek(&mut buffer[had..]).await {
            Ok(0) | Err(_) if had == 0 => return Ok(Opening::Nothing),
            Ok(0) => return Err(bad("the connection was closed within it")),
            Ok(seen) => had + seen,
            Err(error) => return Err(error),
        };
        let (length, opening) = match parse(&buffer[..seen])? {
            Begins::Header { length, source } => (length, Some(Opening::Header(source))),
            Begins::Unfinished => (seen, None),
        };
        let rest = buffer.get_mut(had..length).unwrap_or_default();
        stream.read_exact(rest).await?;
        if let Some(opening) = opening {
            return Ok(opening);
        }
        had = length;
    }
    Err(bad("too long"))
}
