//! The envelope of a message, and where it stands with the backend.

use std::collections::VecDeque;

use super::body::Message;
use super::facts::{BackendName, Now};
use super::recipients::Recipients;
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::command::{MailParameters, RcptParameters};
use crate::smtp::refusal::Refusal;
use crate::smtp::reply::Reply;

/// A recipient of the client, with its parameters.
#[derive(Debug)]
pub(super) struct Rcpt {
    pub(super) path: ForwardPath,
    pub(super) parameters: RcptParameters,
    /// Header fields that come with it.
    pub(super) headers: Vec<String>,
}

/// A message's envelope, from MAIL on.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) sender: ReversePath,
    pub(super) parameters: MailParameters,
    pub(super) accepted: Recipients,
    /// The number of recipients that do not exist.
    pub(super) invalid: u32,
    /// Header fields above our Received field, each once.
    pub(super) headers: Vec<String>,
    pub(super) started_ms: u64,
    /// Why MAIL was refused: so is every recipient.
    pub(super) refused: Option<Refusal>,
    /// The mail log entry of that, until a recipient has one of its own.
    pub(super) unrecorded: Option<(Refusal, Reply, String)>,
    /// A message in chunks, between two of them.
    pub(super) message: Option<Box<Message>>,
    pub(super) backend: Option<BackendName>,
    /// The backend's reply to MAIL, if it refused that.
    pub(super) mail_refused: Option<Reply>,
    /// Whether the backend has accepted MAIL on the current connection.
    pub(super) begun: bool,
    /// Whether a connection broke on which recipients had been accepted.
    pub(super) lost: bool,
    /// The backend and server of the last connection that served it.
    pub(super) served: Option<(String, String)>,
}

impl Transaction {
    pub(super) const fn new(sender: ReversePath, parameters: MailParameters, now: Now) -> Self {
        Self {
            sender,
            parameters,
            accepted: Recipients::new(),
            invalid: 0,
            headers: Vec::new(),
            started_ms: now.unix_ms,
            refused: None,
            unrecorded: None,
            message: None,
            backend: None,
            mail_refused: None,
            begun: false,
            lost: false,
            served: None,
        }
    }

    pub(super) fn refused_by(&mut self, refusal: Refusal, reply: Reply, reference: String) {
        self.unrecorded = Some((refusal.clone(), reply, reference));
        self.refused = Some(refusal);
    }

    /// The backend's connection has broken.
    pub(super) fn lose(&mut self) {
        self.begun = false;
        self.lost |= !self.accepted.is_empty();
    }
}

/// A command that the backend is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rset,
    Mail,
    Rcpt,
}

/// A recipient that is being offered to the backend.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) rcpt: Rcpt,
    pub(super) unsent: VecDeque<Step>,
    pub(super) unanswered: VecDeque<Step>,
    pub(super) mail_refused: Option<Reply>,
    /// Whether the connection was opened for this recipient.
    pub(super) fresh: bool,
}

impl Envelope {
    /// Whether a command was sent that has no reply yet.
    pub(super) fn awaits_reply(&self) -> bool {
        !self.unanswered.is_empty()
    }
}
