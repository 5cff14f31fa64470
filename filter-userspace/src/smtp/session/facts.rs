//! What goes into a session and what comes out of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::command::MailParameters;
use crate::smtp::data::BareNewlines;
use crate::smtp::refusal::{Refusal, Rule, Stage};
use crate::smtp::reply::Reply;

/// The time, of both kinds.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For time-outs.
    pub monotonic: Instant,
    /// Milliseconds of the Unix epoch, for headers and records.
    pub unix_ms: u64,
}

/// What is the same for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, in the greeting and in Received.
    pub hostname: String,
    /// How long the greeting waits for early talkers; zero is not at all.
    pub greeting_pause: Duration,
    /// The largest message, in octets; exactly that passes.
    pub message_size: u64,
    /// The most recipients of a message.
    pub recipients: usize,
    /// The most errors of a session.
    pub errors: u32,
    /// The most invalid recipients of a session.
    pub invalid_recipients: u32,
    /// The most Received lines of a message.
    pub hops: u32,
    /// Whether bare line ends in BDAT's chunks become CRLF for every client.
    pub normalise_chunks: bool,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// Time-outs.
    pub times: Times,
}

/// Time-outs (RFC 5321 section 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For a command, from the reply to the one before.
    pub command: Duration,
    /// For the next bytes of a message.
    pub data: Duration,
    /// The octets a second that a message must come with, after a first minute.
    pub data_rate: u64,
}

/// Time-outs towards a backend (RFC 5321 section 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct BackendTimes {
    /// For its reply to MAIL, RCPT and DATA.
    pub reply: Duration,
    /// For it to take bytes of a message.
    pub data: Duration,
    /// For its reply to a message.
    pub end: Duration,
}

/// A client, as the session needs to know it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Its name by reverse DNS, once it is confirmed.
    pub name: Option<String>,
    /// Its port.
    pub port: u16,
    /// The session's id: what references begin with.
    pub id: String,
    /// What bare line ends in its messages do.
    pub bare_newlines: BareNewlines,
    /// What is offered to it beside what mxdp does by itself.
    pub offers: Offers,
}

/// TLS in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// 12 or 13, for TLS 1.2 and 1.3.
    pub version: u8,
    /// Version and cipher, for people.
    pub text: String,
    /// The fingerprint of a client certificate that was verified: `sha256:` and hex.
    pub certificate: Option<String>,
}

/// Extensions that are offered to clients where a backend has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
}

impl Offers {
    /// What is offered while no backend is known.
    pub const ALL: Self = Self { smtputf8: true, dsn: true };
}

/// What a backend has of the extensions that a message may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// The largest message that it accepts, where it says so: `u64::MAX` where it says
    /// that there is no limit (RFC 1870 section 4).
    pub size: Option<u64>,
}

impl Extensions {
    /// Everything.
    pub const ALL: Self = Self { eight_bit: true, smtputf8: true, dsn: true, size: None };

    /// Nothing, as of a backend that only knows HELO.
    pub const NONE: Self = Self { eight_bit: false, smtputf8: false, dsn: false, size: None };
}

/// What a backend's reply to EHLO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What is passed on.
    pub extensions: Extensions,
    /// PIPELINING (RFC 2920), towards it.
    pub pipelining: bool,
}

/// The name of a backend in the configuration.
pub type BackendName = Arc<str>;

/// A connection to a backend stands, and its EHLO is answered.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What it offers.
    pub capabilities: Capabilities,
    /// Its address, for the record.
    pub address: String,
    /// How long it is waited for.
    pub times: BackendTimes,
}

/// No connection to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// No server of it answers.
    Down,
    /// There is no memory for one more message.
    NoRoom,
    /// The client's network has as many connections to it as one may have.
    TooMany,
    /// A server answers, and is not as configured.
    Unfit,
    /// A server that was told who the client is refuses it, with this reply.
    Refused(Reply),
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Answer by [`super::Session::answer`].
    Ask(Question),
    /// Open a connection to a backend, and say how by [`super::Session::opened`].
    Open(BackendName),
    /// Close the backend's connection, with QUIT where that is polite.
    CloseBackend {
        /// Whether it waits for a command.
        politely: bool,
    },
    /// Send what there is for the client, then begin TLS, and say so by
    /// [`super::Session::tls_started`].
    StartTls,
    /// Record what became of a recipient.
    Record(Box<Attempt>),
}

/// What a session asks.
#[derive(Debug)]
pub enum Question {
    /// May this sender begin a message?
    Mail {
        /// The sender.
        sender: ReversePath,
        /// Its parameters.
        parameters: MailParameters,
    },
    /// May this recipient have it, and from where?
    Rcpt {
        /// The sender.
        sender: ReversePath,
        /// The recipient.
        recipient: ForwardPath,
    },
}

impl Question {
    /// The sender of the message that it is about.
    #[must_use]
    pub const fn sender(&self) -> &ReversePath {
        let (Self::Mail { sender, .. } | Self::Rcpt { sender, .. }) = self;
        sender
    }
}

/// What a session is answered.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Mail`].
    Mail(Result<(), Refusal>),
    /// To [`Question::Rcpt`].
    Rcpt(Result<Permit, Refusal>),
}

/// Leave to hand a recipient to a backend: only the stages of the policy give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    backend: BackendName,
    headers: Vec<String>,
    granted_by: (Stage, Rule),
}

impl Permit {
    /// A permit for the backend of the recipient's domain, by the stage and the rule that let
    /// the recipient pass.
    pub(crate) const fn new(
        backend: BackendName,
        headers: Vec<String>,
        granted_by: (Stage, Rule),
    ) -> Self {
        Self { backend, headers, granted_by }
    }

    /// A permit that no policy gave: for tests of sessions, which have none.
    #[doc(hidden)]
    #[must_use]
    pub fn without_policy(backend: &str) -> Self {
        let rule = Rule { source: "a test".to_owned(), line: 0, entry: String::new() };
        Self::new(backend.into(), Vec::new(), (Stage::Relay, rule))
    }

    /// The backend of the recipient's domain.
    #[must_use]
    pub const fn backend(&self) -> &BackendName {
        &self.backend
    }

    /// Header fields that the message gets if the recipient is accepted: whole, with
    /// their last CRLF.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// The stage and the rule that let the recipient pass.
    #[must_use]
    pub const fn granted_by(&self) -> &(Stage, Rule) {
        &self.granted_by
    }
}
