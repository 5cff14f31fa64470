//! What the command line and the daemon say to each other of mail: the SMTP side's
//! state, explanations, and hosts that may not send out. Part of the protocol.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A host that may not send out for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendedHost {
    /// The host; of IPv6 its /64.
    pub address: IpAddr,
    /// Whose it is.
    pub customer: String,
    /// Why: `recipients`, `invalid_recipients` or `sender_domains`.
    pub reason: String,
    /// Seconds until it ends.
    pub remaining_s: u64,
}

/// A message that nobody sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedEnvelope {
    /// The client's address.
    pub ip: IpAddr,
    /// What it calls itself.
    pub helo: Option<String>,
    /// The sender; empty is the null sender.
    pub from: String,
    /// The recipient.
    pub rcpt: String,
    /// The size that MAIL declares, in octets.
    pub size: Option<u64>,
    /// The version of TLS, 12 or 13; none is no TLS.
    pub tls: Option<u8>,
    /// Whether the client shows a valid certificate.
    pub certificate: bool,
    /// Whether it is sent out, through the relay.
    #[serde(default)]
    pub relay: bool,
}

/// What would become of a message, stage by stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The message.
    pub envelope: ExplainedEnvelope,
    /// The client's country.
    pub country: Option<String>,
    /// The first stage that refuses; none when the backend has the last word.
    pub decided_by: Option<String>,
    /// Every stage, in order; those behind the first that refuses are not reached.
    pub stages: Vec<ExplainedStage>,
}

/// What a stage finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStage {
    /// Its name.
    pub stage: String,
    /// Whether it lets the message pass; a stage that is not reached does not.
    pub passes: bool,
    /// Whether the message comes to it: behind the first that refuses none is reached, and
    /// nothing is found.
    #[serde(default = "yes")]
    pub reached: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The reply.
    pub reply: Option<String>,
    /// What it found, and the rule with file and line.
    pub note: String,
}

const fn yes() -> bool {
    true
}

/// The state of the SMTP side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpState {
    /// Connections that are open.
    pub open: u64,
    /// Connections since the daemon started.
    pub connections: u64,
    /// Recipients whose message the backend has taken.
    pub accepted: u64,
    /// Recipients that were refused.
    pub refused: Vec<Refused>,
    /// Recipients that are not in the log.
    pub unlogged: u64,
    /// Connections of `proxy_networks` that were closed before a byte came.
    pub balancer_checks: u64,
    /// Connections of `proxy_networks` without a valid PROXY header.
    pub bad_proxy_headers: u64,
    /// The servers behind.
    pub servers: Vec<ServerState>,
    /// The DNS lists that are asked.
    pub zones: Vec<ZoneState>,
    /// TLS handshakes that failed, by cause.
    #[serde(default)]
    pub handshakes: Vec<FailedHandshakes>,
}

/// TLS handshakes that failed for a cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedHandshakes {
    /// The cause.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCertificate {
    /// Its file.
    pub file: String,
    /// When it ends, in seconds of the Unix epoch.
    pub expires: u64,
}

/// A DNS list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneState {
    /// Its name.
    pub zone: String,
    /// Why it is not used; none when it is.
    pub disabled: Option<String>,
    /// The last error, while it is new.
    pub error: Option<String>,
    /// How many addresses it was asked about.
    pub asked: u64,
    /// How many of them it lists.
    pub listed: u64,
    /// How many questions came to nothing.
    pub errors: u64,
}

/// Recipients that were refused for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason.
    pub reason: String,
    /// The recipients.
    pub recipients: u64,
}

/// A server of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerState {
    /// The backend.
    pub backend: String,
    /// `host:port`.
    pub server: String,
    /// Why it is down; none when it is up.
    pub error: Option<String>,
}
