//! What a backend does wrong, and where.

use std::time::Duration;

/// Where in the dialogue it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the greeting.
    Accept,
    /// With the greeting.
    Greeting,
    /// With the reply to EHLO.
    Ehlo,
    /// With the reply to MAIL.
    Mail,
    /// With the reply to RCPT.
    Rcpt,
    /// With the reply to DATA.
    Data,
    /// Within the message.
    Body,
    /// With the reply to the message.
    Dot,
    /// With the reply to QUIT.
    Quit,
}

/// Its action there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It closes.
    Close,
    /// It resets the connection.
    Reset,
    /// It neither writes nor reads.
    Stall,
    /// It replies one octet at a time; a message it reads slowly.
    Slow,
    /// It replies 451.
    Temporary,
    /// It replies 554.
    Permanent,
    /// It replies 421 and closes.
    Closing,
    /// It sends a line that is not SMTP.
    Nonsense,
    /// It sends one more reply in the same segment.
    Twice,
    /// It sends one more reply a little later.
    Late,
    /// It sends half of its reply and closes.
    Half,
    /// It replies, and closes.
    ThenClose,
    /// It replies, and resets the connection.
    ThenReset,
    /// Within a message: it says 250 a little later, without having read, and
    /// reads no more.
    EarlyThenStall,
}

impl Act {
    /// Every one that makes sense at every step.
    pub const ALL: [Self; 13] = [
        Self::Close,
        Self::Reset,
        Self::Stall,
        Self::Slow,
        Self::Temporary,
        Self::Permanent,
        Self::Closing,
        Self::Nonsense,
        Self::Twice,
        Self::Late,
        Self::Half,
        Self::ThenClose,
        Self::ThenReset,
    ];
}

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub step: Step,
    /// What.
    pub act: Act,
    /// In the how-manieth message of a connection, from 1.
    pub message: u32,
}

/// How it behaves, from the next connection on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script {
    /// What goes wrong, if anything.
    pub fault: Option<Fault>,
    /// Whether it offers PIPELINING.
    pub pipelining: bool,
    /// Whether it takes for the end of a message what no one should.
    pub lenient: bool,
    /// How long it thinks before it replies to a message.
    pub thinks: Duration,
}
