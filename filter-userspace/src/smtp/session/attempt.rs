//! What became of a recipient that a client attempted.

use std::sync::Arc;

use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::header::MessageFacts;
use crate::smtp::refusal::Refusal;
use crate::smtp::reply::Reply;

/// A recipient that a client attempted, and what became of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The reference of its mail log entry.
    pub reference: String,
    /// When the transaction began, in milliseconds of the Unix epoch.
    pub started_ms: u64,
    /// When the outcome was decided.
    pub ended_ms: u64,
    /// The sender; none if there was no MAIL.
    pub sender: Option<ReversePath>,
    /// The recipient; none if there was no RCPT.
    pub recipient: Option<ForwardPath>,
    /// The outcome: shared by all recipients of a message, since a backend's reply may be long.
    pub outcome: Arc<Outcome>,
    /// The reply as it was sent; none if the client had disconnected.
    pub reply: Option<Arc<Reply>>,
    /// The octets of the message.
    pub size: u64,
    /// Facts from the message header.
    pub message: Option<Arc<MessageFacts>>,
    /// The backend, and its server's address.
    pub backend: Option<(String, String)>,
}

/// What became of a recipient.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The backend has the message.
    Accepted,
    /// It was refused.
    Refused(Refusal),
}
