//! `[smtp]`: the limits of sessions.

use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, Unit};
use crate::config::values::{read_networks, read_seconds};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Limits of SMTP sessions", sections: &["smtp"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("smtp");

keys! {
    /// How long the greeting is delayed. A client that talks meanwhile gets 554
    live GREETING_PAUSE_MS = "greeting_pause_ms";
    /// The largest message; exactly that size is accepted. EHLO announces it. A smaller limit
    /// that a backend announces applies to its recipients: 552 5.3.4 at RCPT where MAIL
    /// declares more
    live MESSAGE_SIZE = "message_size";
    /// The most recipients of a message; those beyond get 452. Senders may rely on 100 (RFC
    /// 5321 section 4.5.3.1.8)
    live RECIPIENTS = "recipients";
    /// The most errors of a session between two accepted messages; one more ends it with 421.
    /// Commands that follow from a refusal, as in a pipelined group, are not errors; nor are
    /// errors before they outnumber the accepted recipients of a message. Of commands that
    /// carry no mail (NOOP, RSET, MAIL without RCPT), each beyond a hundred is an error
    live ERRORS = "errors";
    /// The most invalid recipients of a session between two accepted messages; one more ends it
    /// with 421, unless more recipients of the message are valid. One invalid recipient in a
    /// bounce does not count
    live INVALID_RECIPIENTS = "invalid_recipients";
    /// The most Received lines of a message; with more it is in a loop
    live HOPS = "hops";
    /// The most connections at once; fewer if the limit of open files permits fewer. Further
    /// clients get 421 4.3.2, as all do while the memory of the control group (`MemoryMax=` in
    /// the unit) is nearly used up; messages get 451 4.3.1 then
    restart CONNECTIONS = "connections";
    /// The most connections of one address (IPv6: one /64) at once. At most a third of them,
    /// but 16 at least, may be connected to one backend
    live CONNECTIONS_PER_ADDRESS = "connections_per_address";
    /// Time limit for a whole command, and for the client to read a reply
    live COMMAND_TIMEOUT = "command_timeout";
    /// Time limit for the next bytes of a message or of a chunk that is discarded; also the
    /// longest that the pauses of 5 s and more may last together until a minute's bytes at
    /// `smtp.data_rate` have arrived
    live DATA_TIMEOUT = "data_timeout";
    /// The lowest rate of a message in bytes per second, measured over a minute of sending;
    /// pauses are not part of that minute, see `smtp.data_timeout`
    live DATA_RATE = "data_rate";
    /// Clients whose bare CR and LF in messages become CR LF, instead of 550 and the end of the
    /// session
    live NORMALISE_NETWORKS = "normalise_networks";
    /// The same for every client in messages sent by BDAT: chunks are counted, so a bare CR or
    /// LF cannot end a message there. `false` refuses them as in DATA. A NUL is refused in
    /// either
    live NORMALISE_CHUNKS = "normalise_chunks";
}

/// The bounds of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpLimits {
    /// How long the greeting waits for early talkers.
    pub greeting_pause: Duration,
    /// The largest message, in bytes.
    pub message_size: u64,
    /// The most recipients of a message.
    pub recipients: usize,
    /// The most errors of a session.
    pub errors: u32,
    /// The most invalid recipients of a session.
    pub invalid_recipients: u32,
    /// The most Received lines of a message.
    pub hops: u32,
    /// The most connections of one address (IPv6: /64) at once.
    pub connections_per_address: usize,
    /// The time for a command.
    pub command_timeout: Duration,
    /// The time for the next bytes of a message.
    pub data_timeout: Duration,
    /// The bytes a second that a message must come with.
    pub data_rate: u64,
    /// Networks whose bare line ends in messages are mended instead of refused.
    pub normalise_networks: Vec<IpNet>,
    /// Whether those in chunks (BDAT) are mended whoever sends them.
    pub normalise_chunks: bool,
}

/// What of the limits is fixed at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SmtpStartup {
    /// The most connections at once.
    pub connections: usize,
}

/// Reads `[smtp]`.
pub(in crate::config) fn read(section: Section<'_>) -> (SmtpStartup, SmtpLimits) {
    let startup = SmtpStartup { connections: section.integer(CONNECTIONS, 1..=1_000_000, 10_000) };
    let limits = SmtpLimits {
        greeting_pause: section.duration(GREETING_PAUSE_MS, Unit::Milliseconds, 0..=60_000, 0),
        message_size: section.size(MESSAGE_SIZE, 1024..=4_294_967_296, 52_428_800),
        recipients: section.integer(RECIPIENTS, 1..=100_000, 1000),
        errors: section.integer(ERRORS, 0..=1000, 20),
        invalid_recipients: section.integer(INVALID_RECIPIENTS, 0..=100_000, 20),
        hops: section.integer(HOPS, 1..=1000, 100),
        connections_per_address: section.integer(CONNECTIONS_PER_ADDRESS, 1..=1_000_000, 100),
        command_timeout: read_seconds(&section, COMMAND_TIMEOUT, 300),
        data_timeout: read_seconds(&section, DATA_TIMEOUT, 180),
        data_rate: section.size(DATA_RATE, 0..=1_000_000, 64),
        normalise_networks: read_networks(&section, NORMALISE_NETWORKS),
        normalise_chunks: section.boolean(NORMALISE_CHUNKS, true),
    };
    section.finish();
    (startup, limits)
}
