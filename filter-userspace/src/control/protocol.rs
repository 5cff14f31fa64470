//! What the command line and the daemon say to each other: one JSON object a
//! line, a request and its reply.
//!
//! The replies are also what `--json` prints, so their field names are part of
//! the API that scripts rely on.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::lists::Answer;
use crate::policy::explain::ExplainedEnvelope;
use crate::runtime::RuntimeError;

pub use super::mail::{
    FailedHandshakes, Refused, ServedCertificate, ServerState, SmtpState, SuspendedHost, ZoneState,
};
pub use super::state::{
    ClassEnforcement, Counter, EventStatus, FailedReload, GenerationStatus, InterfaceStatus,
    ListStatus, RecordState, Status, TemporaryStatus, TopSource,
};

pub use crate::runtime::{RuntimeEntry, RuntimeList};

pub use super::window::{SEARCH_LIMIT, WINDOW_LIMIT, Window, Windowed};

/// The longest request line, in bytes.
pub const REQUEST_LIMIT: u64 = 64 * 1024;

/// What is asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of everything: [`Status`].
    Status,
    /// Reads configuration and lists again: [`Reloaded`].
    Reload {
        /// Lists, databases, files of recipients or senders, directories (`ldap:NAME`) and
        /// domains of `approved.spf` (`spf:DOMAIN`) that are accepted however little they have
        /// left.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accept: Vec<String>,
    },
    /// What the daemon and the kernel say of addresses: [`LiveAnswer`]s.
    Lookup {
        /// At most [`LOOKUP_LIMIT`] addresses.
        addresses: Vec<IpAddr>,
    },
    /// Adds or replaces a runtime entry: [`RuntimeEntry`].
    RuntimeAdd {
        /// The list it goes on.
        list: RuntimeList,
        /// The network; host bits are masked.
        prefix: IpNet,
        /// A note for people, at most 200 characters.
        note: Option<String>,
        /// Seconds from now until the entry expires. Without it the end of the entry that is
        /// there stays; a new one is for good.
        expires_in_s: Option<u64>,
        /// Makes the entry one for good, whatever end it had.
        #[serde(default)]
        permanent: bool,
        /// Permits a block of a prefix shorter than /8 (IPv6 /16), or one that holds this
        /// host, loopback, a backend, a balancer, a customer or the console's client.
        force: bool,
    },
    /// Removes a runtime entry: [`RuntimeEntry`] as it was.
    RuntimeRemove {
        /// The list it stands on.
        list: RuntimeList,
        /// The network, exactly as listed.
        prefix: IpNet,
    },
    /// The runtime entries of a list: [`RuntimeEntry`]s.
    RuntimeList {
        /// The list.
        list: RuntimeList,
    },
    /// What approving a network makes of the blocked entries in it: a [`String`] to warn of,
    /// or none.
    Shadowed {
        /// The network that is approved.
        prefix: IpNet,
    },
    /// A part of the runtime entries of a list: [`Windowed`] [`RuntimeEntry`]s.
    RuntimePart {
        /// The list.
        list: RuntimeList,
        /// Which part.
        window: Window,
    },
    /// A part of the temporary blocks: [`Windowed`] [`TemporaryEntry`]s.
    TemporaryPart {
        /// Which part.
        window: Window,
    },
    /// Blocks an address (IPv4 /32 or IPv6 /64) temporarily: [`TemporaryEntry`].
    TemporaryAdd {
        /// Any address of the network.
        address: IpAddr,
        /// Seconds until it expires.
        seconds: u64,
        /// Permits to block this host, loopback, a backend, a balancer, a customer or the
        /// console's client.
        #[serde(default)]
        force: bool,
    },
    /// Lifts a temporary block or the deferral of a client, and forgets what was counted
    /// against it: [`TemporaryEntry`] as it was.
    TemporaryRemove {
        /// Any address of the network.
        address: IpAddr,
    },
    /// The temporary blocks that have not expired: [`TemporaryEntry`]s.
    TemporaryList,
    /// What would become of a message: an [`Explanation`](crate::policy::explain::Explanation).
    Explain(ExplainedEnvelope),
    /// The hosts that are suspended from sending: [`SuspendedHost`]s.
    RelayList,
    /// Lets hosts send out again: [`SuspendedHost`]s as they were. Without an address
    /// and a customer, all.
    RelayResume {
        /// The host.
        address: Option<IpAddr>,
        /// Whose hosts.
        customer: Option<String>,
    },
    /// The newest records of a query: a [`Page`](crate::record::Page).
    Traffic {
        /// The parts of the query, as in a URL.
        query: Vec<(String, String)>,
    },
    /// What happened in a time, summed up: a [`Summary`](crate::record::Summary).
    Summary {
        /// Its beginning, as in a query; a day ago where nothing is said.
        since: Option<String>,
        /// Its end; now where nothing is said.
        until: Option<String>,
    },
    /// The newest changes that operators made: [`Changes`](crate::record::Changes).
    Changes {
        /// The most that are wanted.
        limit: usize,
    },
    /// Takes the filter off every interface and ends the daemon: [`Detached`].
    Detach,
}

impl Request {
    /// What it changes, for the audit trail; nothing if it only asks.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        let verb = |list: &RuntimeList| match list {
            RuntimeList::Approved => "approve",
            RuntimeList::Blocked => "block",
        };
        let forced = |force: bool| if force { ", forced" } else { "" };
        let seconds = |time: &Option<u64>| time.map(|s| format!(" for {s} s")).unwrap_or_default();
        Some(match self {
            Self::Reload { accept } if accept.is_empty() => "reload".to_owned(),
            Self::Reload { accept } => {
                format!("reload, accepting {} as it is", accept.join(", "))
            }
            Self::RuntimeAdd { list, prefix, note, expires_in_s, permanent, force } => {
                let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                let time =
                    if *permanent { " permanently".to_owned() } else { seconds(expires_in_s) };
                format!("{} {prefix}{time}{}{note}", verb(list), forced(*force))
            }
            Self::RuntimeRemove { list, prefix } => {
                format!("no longer {} {prefix}", verb(list))
            }
            Self::TemporaryAdd { address, seconds, force } => {
                format!("block {address} temporarily, for {seconds} s{}", forced(*force))
            }
            Self::TemporaryRemove { address } => format!("lift the temporary block of {address}"),
            Self::RelayResume { address, customer } => match (address, customer) {
                (Some(address), _) => format!("resume {address}"),
                (None, Some(customer)) => format!("resume the hosts of {customer}"),
                (None, None) => "resume all hosts".to_owned(),
            },
            Self::Detach => "detach".to_owned(),
            Self::Status
            | Self::Lookup { .. }
            | Self::Shadowed { .. }
            | Self::Explain(_)
            | Self::RuntimeList { .. }
            | Self::RuntimePart { .. }
            | Self::TemporaryList
            | Self::TemporaryPart { .. }
            | Self::RelayList
            | Self::Traffic { .. }
            | Self::Summary { .. }
            | Self::Changes { .. } => return None,
        })
    }
}

/// The longest temporary block, in seconds: 30 days. What is to stand longer is an entry.
pub const TEMPORARY_LIMIT_S: u64 = 30 * 24 * 3600;

/// The most addresses of one [`Request::Lookup`].
pub const LOOKUP_LIMIT: usize = 512;

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    /// It was done.
    Ok(T),
    /// It was not done, and why.
    Error(Failure),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure, for scripts.
    pub kind: FailureKind,
    /// What went wrong and what to do, for people; may have several lines.
    pub message: String,
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        let kind = match error {
            RuntimeError::NotFound { .. } => FailureKind::NotFound,
            _ => FailureKind::BadRequest,
        };
        Self { kind, message: error.to_string() }
    }
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request was not understood or names something impossible.
    BadRequest,
    /// There is no such entry.
    NotFound,
    /// Configuration or lists have errors; what was active still is.
    Configuration,
    /// The kernel or the file system refused.
    System,
}

/// A temporary block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryEntry {
    /// The network: an IPv4 /32 or an IPv6 /64.
    pub prefix: IpNet,
    /// Why.
    pub reason: String,
    /// Seconds until it expires.
    pub remaining_s: u64,
}

/// The answer to a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The rule set that is active now.
    pub generation: u64,
    /// What the configuration is warned of.
    pub warnings: Vec<String>,
    /// What could not be loaded, and what is used instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The answer to a detach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The interfaces that are no longer filtered.
    pub interfaces: Vec<String>,
}

/// What the daemon and the kernel say of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAnswer {
    /// What becomes of it: what the daemon's lists say, runtime entries included, or the
    /// temporary block where that drops it.
    #[serde(flatten)]
    pub answer: Answer,
    /// The temporary block that stands against it, if no list decides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub temporary: Option<TemporaryEntry>,
    /// What the attached program said of a SYN from it.
    pub kernel: KernelAnswer,
    /// Whether the two agree.
    pub agree: bool,
}

/// What the attached program said of a SYN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelAnswer {
    /// The reason, by its name in the counters.
    pub reason: String,
    /// `pass` or `drop`.
    pub action: String,
    /// The classes that the kernel's tables hold for the address.
    pub listed: Vec<String>,
}
