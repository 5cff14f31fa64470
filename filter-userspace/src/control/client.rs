//! The command line's side of the control socket: one request, one reply.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{Failure, FailureKind, REQUEST_LIMIT, Reply, Request};
use super::socket::connect_within;

/// How long the daemon may take to accept, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to answer to a reload: lists of many millions take a while,
/// and a slow disk more.
const RELOAD_PATIENCE: Duration = Duration::from_secs(1800);

/// The longest reply, in bytes: more than the fullest list of runtime entries
/// or temporary blocks takes.
const REPLY_LIMIT: u64 = 512 << 20;

/// Why a request was not answered, or what was answered instead.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no socket.
    #[error(
        "mxdp is not running (no socket at {}). Start it: `systemctl start mxdp`; another \
         instance: `--socket`",
        .0.display()
    )]
    NoSocket(PathBuf),
    /// There is a socket, and nobody listens.
    #[error(
        "mxdp is not running (it left the socket {} behind). Start it: `systemctl start mxdp`; \
         another instance: `--socket`",
        .0.display()
    )]
    NobodyListens(PathBuf),
    /// This user may not ask.
    #[error("no permission to use {}: only root may talk to the daemon; try `sudo mxdp …`", .0.display())]
    NoPermission(PathBuf),
    /// The daemon did not answer in time. What was asked may still happen.
    #[error("mxdp did not answer in time at {}; see its log for what it is doing", .0.display())]
    TimedOut(PathBuf),
    /// The connection broke.
    #[error("{}: the connection to mxdp broke: {error}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The reply was not understood.
    #[error(
        "{}: the reply was not understood ({error}); is the daemon of another version?",
        socket.display()
    )]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What was wrong with it.
        error: serde_json::Error,
    },
    /// The daemon did not do it, and says why.
    #[error("{}", .0.message)]
    Refused(Failure),
}

/// Asks the daemon at `socket` and waits for its answer: half a minute, and half an
/// hour for a reload.
///
/// # Errors
///
/// If the daemon cannot be asked or does not carry the request out.
pub fn call<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, CallError> {
    let patience =
        if matches!(request, Request::Reload { .. }) { RELOAD_PATIENCE } else { PATIENCE };
    call_within(socket, request, patience)
}

fn call_within<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<T, CallError> {
    let broken = |error| explain(socket, error);
    let mut text = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    if text.len() as u64 > REQUEST_LIMIT {
        // Sending it would break the connection before the reply is read.
        return Err(CallError::Refused(Failure {
            kind: FailureKind::BadRequest,
            message: format!("a request has at most {REQUEST_LIMIT} bytes"),
        }));
    }
    text.push(b'\n');
    let line = exchange(socket, &text, patience).map_err(broken)?;
    match serde_json::from_slice(&line) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(failure)) => Err(CallError::Refused(failure)),
        Err(error) => Err(CallError::Garbled { socket: socket.to_owned(), error }),
    }
}

fn exchange(socket: &Path, request: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = connect_within(socket, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request)?;
    let mut reply = Vec::new();
    BufReader::new(stream).take(REPLY_LIMIT).read_until(b'\n', &mut reply)?;
    if reply.ends_with(b"\n") { Ok(reply) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn explain(socket: &Path, error: io::Error) -> CallError {
    let socket = socket.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => CallError::NoSocket(socket),
        io::ErrorKind::ConnectionRefused => CallError::NobodyListens(socket),
        io::ErrorKind::PermissionDenied => CallError::NoPermission(socket),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::TimedOut(socket),
        _ => CallError::Broken { socket, error },
    }
}
