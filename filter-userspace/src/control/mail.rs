//! What the command line and the daemon say to each other of mail: the SMTP side's
//! state, and hosts that are suspended from sending. Part of the protocol.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::policy::reputation::ZoneState;

/// A host that is suspended from sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendedHost {
    /// The first address of the host's client network.
    pub address: IpAddr,
    /// Whose it is.
    pub customer: String,
    /// Why: `recipients`, `invalid_recipients` or `sender_domains`.
    pub reason: String,
    /// Seconds until it ends.
    pub remaining_s: u64,
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
