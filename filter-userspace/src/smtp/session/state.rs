//! The state of a session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::body::{Begin, Ending, Message, Skip};
use super::counts::Counts;
use super::facts::{Action, Client, Settings, Tls};
use super::link::{Link, Outgoing};
use super::transaction::{Envelope, Rcpt, Transaction};
use crate::smtp::line::Lines;

/// What a client may still send when its session is over. Closing with unread bytes would reset the
/// connection, and the client might never read the last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Nothing: the client has been told the end, or is gone.
    Nothing,
    /// A few commands.
    Reply,
    /// The rest of a message.
    Message,
}

/// What the session is waiting for.
#[derive(Debug)]
pub(super) enum State {
    /// The pause before the greeting.
    Pause,
    /// A command.
    Ready,
    /// The answer to a question.
    Asked(Asked),
    /// A backend's connection, for a recipient.
    Opening(Rcpt),
    /// The backend's replies to MAIL and RCPT.
    Envelope(Envelope),
    /// The backend's 354, for DATA or the first BDAT.
    Begin(Begin),
    /// The client's message.
    Message(Box<Message>),
    /// Octets of a chunk that is discarded.
    Skip(Skip),
    /// The backend's reply to a message.
    Ending(Ending),
    /// The TLS handshake.
    StartTls,
    /// Nothing: what was written is sent, and then the session is over.
    Closed,
}

/// The question that is open.
#[derive(Debug)]
pub(super) enum Asked {
    Mail(Box<Transaction>),
    Rcpt(Rcpt),
}

/// A session with a client. Its fields are grouped by how long they last.
#[derive(Debug)]
pub struct Session {
    // As long as the connection.
    pub(super) settings: Arc<Settings>,
    pub(super) client: Client,
    pub(super) input: Lines,
    pub(super) to_client: Outgoing,
    pub(super) actions: VecDeque<Action>,
    pub(super) link: Option<Box<Link>>,
    pub(super) counts: Counts,
    /// The number of references given out.
    pub(super) references: u32,
    /// When the client last accepted bytes, while some are waiting for it.
    pub(super) client_took: Instant,
    pub(super) ending: bool,
    /// What the client may still send after the session.
    pub(super) linger: Linger,
    /// Until TLS begins: the handshake replaces it.
    pub(super) channel: Channel,
    /// From MAIL to the end of the message: RSET, EHLO, HELO and STARTTLS set it to none (RFC 5321
    /// section 4.1.4), and discard nothing else.
    pub(super) transaction: Option<Box<Transaction>>,
    // Until the next state.
    pub(super) state: State,
    /// When the state times out.
    pub(super) deadline: Instant,
}

/// What the client has said since the connection or TLS began. What it said before TLS could have
/// been altered, and is discarded (RFC 3207 section 4.2).
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// TLS, when it is in use.
    pub(super) tls: Option<Tls>,
    /// The last EHLO or HELO.
    pub(super) hello: Option<Hello>,
}

/// How a client introduced itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The name that it gave.
    pub(super) name: Box<str>,
    /// Whether it said EHLO, and not HELO.
    pub(super) is_extended: bool,
}
