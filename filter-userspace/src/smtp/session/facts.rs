//! The inputs and outputs of a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::command::MailParameters;
use crate::smtp::data::BareNewlines;
use crate::smtp::refusal::{Refusal, Rule, Stage};
use crate::smtp::reply::Reply;

/// The time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timeouts.
    pub monotonic: Instant,
    /// Milliseconds of the Unix epoch, for headers and records.
    pub unix_ms: u64,
}

/// The settings that all sessions of a listener share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, in the greeting and in Received.
    pub hostname: String,
    /// How long the greeting is delayed to detect early talkers; zero means no delay.
    pub greeting_pause: Duration,
    /// The largest message that is accepted, in octets.
    pub message_size: u64,
    /// The maximum number of recipients of a message.
    pub recipients: usize,
    /// The maximum number of errors in a session.
    pub errors: u32,
    /// The maximum number of invalid recipients in a session.
    pub invalid_recipients: u32,
    /// The maximum number of Received lines of a message.
    pub hops: u32,
    /// Whether bare line ends in BDAT's chunks become CRLF for every client.
    pub normalise_chunks: bool,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// Timeouts.
    pub times: Times,
}

/// Timeouts towards clients (RFC 5321 section 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For a command, from the reply to the one before.
    pub command: Duration,
    /// For the next bytes of a message.
    pub data: Duration,
    /// The minimum rate of a message, in octets per second, after the first minute.
    pub data_rate: u64,
}

/// Timeouts towards a backend (RFC 5321 section 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct BackendTimes {
    /// For its reply to MAIL, RCPT and DATA.
    pub reply: Duration,
    /// For it to accept bytes of a message.
    pub data: Duration,
    /// For its reply to a message.
    pub end: Duration,
}

/// What a session has to know of its client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Its name by reverse DNS, once it is confirmed.
    pub name: Option<String>,
    /// Its port.
    pub port: u16,
    /// The session's id, with which references begin.
    pub id: String,
    /// How bare line ends in its messages are treated.
    pub bare_newlines: BareNewlines,
    /// The extensions offered to it that depend on the backend.
    pub offers: Offers,
}

/// The TLS connection in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// 12 or 13, for TLS 1.2 and 1.3.
    pub version: u8,
    /// Version and cipher, for people.
    pub text: String,
    /// The fingerprint of a client certificate that was verified: `sha256:` and hex.
    pub certificate: Option<String>,
}

/// Extensions that are offered to clients if a backend has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
}

impl Offers {
    /// The offer while no backend is known.
    pub const ALL: Self = Self { smtputf8: true, dsn: true };
}

/// The extensions of a backend that a message may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// The largest message that it accepts, if it declares one: `u64::MAX` where it declares that
    /// there is no limit (RFC 1870 section 4).
    pub size: Option<u64>,
}

impl Extensions {
    /// Everything.
    pub const ALL: Self = Self { eight_bit: true, smtputf8: true, dsn: true, size: None };

    /// None, as with a backend that only knows HELO.
    pub const NONE: Self = Self { eight_bit: false, smtputf8: false, dsn: false, size: None };
}

/// What a backend announces in its reply to EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The extensions that are passed on.
    pub extensions: Extensions,
    /// PIPELINING (RFC 2920), towards it.
    pub pipelining: bool,
}

/// The name of a backend in the configuration.
pub type BackendName = Arc<str>;

/// A connection to a backend is open, and its EHLO is answered.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What the backend offers.
    pub capabilities: Capabilities,
    /// Its address, for the mail log.
    pub address: String,
    /// How long to wait for it.
    pub times: BackendTimes,
}

/// Why there is no connection to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// None of its servers answers.
    Down,
    /// There is not enough memory for one more message.
    NoRoom,
    /// The client's network has as many connections to it as it may have.
    TooMany,
    /// A server answers, but lacks what the configuration requires.
    Unfit,
    /// A server that was told the client's address refuses it, with this reply.
    Refused(Reply),
}

/// What the session wants done.
#[derive(Debug)]
pub enum Action {
    /// Answer by [`super::Session::answer`].
    Ask(Question),
    /// Open a connection to a backend, and report the result by [`super::Session::opened`].
    Open(BackendName),
    /// Close the backend's connection, with QUIT if possible.
    CloseBackend {
        /// Whether it is waiting for a command.
        politely: bool,
    },
    /// Send everything for the client, then begin TLS, and report it by
    /// [`super::Session::tls_started`].
    StartTls,
    /// Record what became of a recipient.
    Record(Box<Attempt>),
}

/// A question of a session.
#[derive(Debug)]
pub enum Question {
    /// May this sender begin a message?
    Mail {
        /// The sender.
        sender: ReversePath,
        /// Its parameters.
        parameters: MailParameters,
    },
    /// May this recipient have the message, and which backend gets it?
    Rcpt {
        /// The sender.
        sender: ReversePath,
        /// The recipient.
        recipient: ForwardPath,
    },
}

impl Question {
    /// The sender of the message in question.
    #[must_use]
    pub const fn sender(&self) -> &ReversePath {
        let (Self::Mail { sender, .. } | Self::Rcpt { sender, .. }) = self;
        sender
    }
}

/// The answer to a question of a session.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Mail`].
    Mail(Result<(), Refusal>),
    /// To [`Question::Rcpt`].
    Rcpt(Result<Permit, Refusal>),
}

/// The permission to hand a recipient to a backend: only the stages of the policy grant it.
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

    /// Header fields that the message gets if the recipient is accepted: whole, with their final
    /// CRLF.
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
