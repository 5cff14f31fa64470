//! The daemon's side of the control socket.
//!
//! [`ControlSocket::bind`] makes the socket, [`serve`] reads requests and hands
//! each to the daemon as an [`Incoming`]; the daemon answers whenever it is
//! ready. Clients are bounded in number, in time and in what they may send; a
//! client that misbehaves costs its own connection and nothing else.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream, unix};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::protocol::{Failure, FailureKind, REQUEST_LIMIT, Reply, Request};
pub use super::socket::{BindError, ControlSocket};
use crate::io::clock;
use crate::io::places::{Activity, Bounds, Places};
use crate::record::Change;

/// The part of the places that one process leaves to others.
const RESERVED: usize = 4;

/// How often a place is looked for while there is none.
const WAIT: Duration = Duration::from_millis(10);

/// How long accepting rests after it failed, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client of the control socket.
    Socket {
        /// The user id.
        uid: u32,
        /// The process id, if it is in a process namespace that this one sees.
        pid: Option<i32>,
    },
    /// A client of the web console or the API.
    Web {
        /// The name of its token, or that it had none.
        who: String,
        /// Where it is.
        address: IpAddr,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Socket { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Self::Web { who, address } => write!(f, "{who} from {address}"),
        }
    }
}

/// A request that waits for the daemon's answer.
#[derive(Debug)]
pub struct Incoming {
    /// What is asked.
    pub request: Request,
    /// By whom.
    pub peer: Peer,
    reply: oneshot::Sender<Reply<Value>>,
}

impl Incoming {
    /// Answers it. A client that has gone away does not concern the daemon.
    /// An `Incoming` that is dropped is answered with a failure.
    pub fn answer<T: Serialize>(self, outcome: Result<T, Failure>) {
        let value = outcome.and_then(|value| {
            serde_json::to_value(value).map_err(|error| Failure {
                kind: FailureKind::System,
                message: format!("the answer has no JSON form: {error}"),
            })
        });
        let reply = match value {
            Ok(value) => Reply::Ok(value),
            Err(failure) => Reply::Error(failure),
        };
        let _ = self.reply.send(reply);
    }
}

/// Takes every change that an operator asks for.
pub type Audit = Arc<dyn Fn(Change) + Send + Sync>;

/// Where requests are asked, wherever they come from.
#[derive(Clone)]
pub struct Desk {
    /// To the daemon.
    pub requests: mpsc::Sender<Incoming>,
    /// What was changed, by whom.
    pub audit: Audit,
}

/// What clients may take of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. One more takes the place of one that has stood still, neither
    /// asking nor taking its answer, for a tenth of the patience; else it waits.
    pub connections: usize,
    /// How long a client may take to send a whole request, and to take a reply.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, patience: Duration::from_secs(10) }
    }
}

/// Serves the socket until the receiver of the desk's requests is dropped and what was
/// answered before has reached the clients. Who drops the future instead cuts
/// off every connection, that of the request to end among them.
///
/// # Errors
///
/// If the socket cannot be used in this runtime; nothing was served then.
pub async fn serve(socket: &ControlSocket, desk: Desk, limits: Limits) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.nonblocking_listener()?)?;
    let mut connections = JoinSet::new();
    tokio::select! {
        never = accept(&listener, &desk, limits, &mut connections) => match never? {},
        () = desk.requests.closed() => {}
    }
    // No connection outlasts this: it ends when it has no reply to write.
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Accepts for ever, a connection for each free slot.
async fn accept(
    listener: &UnixListener,
    desk: &Desk,
    limits: Limits,
    connections: &mut JoinSet<()>,
) -> io::Result<Infallible> {
    // One process leaves places for others.
    let each = limits.connections - (limits.connections / RESERVED).min(limits.connections - 1);
    let places = Places::new(Bounds { total: limits.connections, each, greedy: usize::MAX });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
                let place = loop {
                    match places.try_enter(process, limits.patience / 10) {
                        Some(place) => break place,
                        // Those behind it wait in the kernel's backlog.
                        None => tokio::time::sleep(WAIT).await,
                    }
                };
                let desk = desk.clone();
                connections.spawn(async move {
                    let served = converse(stream, &desk, limits.patience, &place.activity);
                    tokio::select! {
                        served = served => if let Err(error) = served {
                            tracing::debug!(%error, "a control connection broke");
                        },
                        () = place.taken() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket accepts nobody at the moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        // Collects what has ended, so that the set does not grow.
        while connections.try_join_next().is_some() {}
    }
}

/// What came of waiting for a line.
enum Line {
    Text(Vec<u8>),
    End,
    TooLong,
    TooSlow,
}

/// One connection: requests in sequence, each answered before the next is read.
async fn converse(
    stream: UnixStream,
    desk: &Desk,
    patience: Duration,
    activity: &Activity,
) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let peer = Peer::Socket { uid: credentials.uid(), pid: credentials.pid() };
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let line = tokio::select! {
            line = read_line(&mut read, patience) => line?,
            () = desk.requests.closed() => return Ok(()),
        };
        let (reply, goes_on) = match line {
            Line::End => return Ok(()),
            Line::Text(line) => match serde_json::from_slice(&line) {
                Ok(request) => {
                    // However long the daemon takes, it is not the client that stands still.
                    activity.set_working(true);
                    let reply = desk.ask(request, peer.clone()).await;
                    activity.set_working(false);
                    (reply, true)
                }
                Err(error) => (bad_request(format!("no request of mxdp's: {error}")), true),
            },
            // The rest of such a line is not worth reading.
            Line::TooLong => {
                (bad_request(format!("a request has at most {REQUEST_LIMIT} bytes")), false)
            }
            Line::TooSlow => {
                let seconds = patience.as_secs_f32();
                (bad_request(format!("no whole request came within {seconds} s")), false)
            }
        };
        let mut line = serde_json::to_vec(&reply)?;
        line.push(b'\n');
        timeout(patience, write.write_all(&line)).await??;
        if !goes_on {
            return Ok(());
        }
    }
}

async fn read_line(
    read: &mut BufReader<unix::OwnedReadHalf>,
    patience: Duration,
) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut bounded = read.take(REQUEST_LIMIT + 1);
    let Ok(outcome) = timeout(patience, bounded.read_until(b'\n', &mut line)).await else {
        // Who has asked for nothing needs no answer.
        return Ok(if line.is_empty() { Line::End } else { Line::TooSlow });
    };
    outcome?;
    // The last line may end with the connection instead.
    let text = line.strip_suffix(b"\n").unwrap_or(&line).len() as u64;
    Ok(match line.len() {
        0 => Line::End,
        _ if text > REQUEST_LIMIT => Line::TooLong,
        _ => Line::Text(line),
    })
}

impl Desk {
    /// Asks the daemon; what changes anything is logged and recorded.
    pub async fn ask(&self, request: Request, peer: Peer) -> Reply<Value> {
        let Some(what) = request.change() else { return self.pass_on(request, peer).await };
        // Whoever asked may go before it is done; it is done all the same, and recorded.
        let desk = self.clone();
        let asked = tokio::spawn(async move { desk.change(what, request, peer).await });
        asked.await.unwrap_or_else(|_| ending())
    }

    async fn change(&self, what: String, request: Request, peer: Peer) -> Reply<Value> {
        let (who, described) = (peer.to_string(), line(&what));
        tracing::info!(%peer, "control: {described}");
        let reply = self.pass_on(request, peer).await;
        let outcome = match &reply {
            Reply::Ok(_) => "done".to_owned(),
            Reply::Error(failure) => {
                // `?` escapes what could start a line of its own.
                tracing::warn!(
                    peer = who, message = ?failure.message, "control: refused: {described}"
                );
                format!("refused: {}", failure.message)
            }
        };
        (self.audit)(Change { time: clock::unix_ms(), who, what, outcome });
        reply
    }

    async fn pass_on(&self, request: Request, peer: Peer) -> Reply<Value> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(Incoming { request, peer, reply }).await;
        match (sent, answer.await) {
            (Ok(()), Ok(reply)) => reply,
            _ => ending(),
        }
    }
}

fn ending() -> Reply<Value> {
    Reply::Error(Failure {
        kind: FailureKind::System,
        message: "the daemon is ending and did not carry it out".to_owned(),
    })
}

/// What a request changes, as a part of one line of the log: control characters are escaped,
/// and a note of any length takes a bounded space.
fn line(what: &str) -> String {
    const LONGEST: usize = 500;
    let mut text = what.escape_debug().to_string();
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

fn bad_request(message: String) -> Reply<Value> {
    Reply::Error(Failure { kind: FailureKind::BadRequest, message })
}

#[cfg(test)]
mod tests;
