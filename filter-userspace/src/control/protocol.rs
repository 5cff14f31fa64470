//! What the command line and the daemon say to each other: one JSON object a
//! line, a request and its reply.
//!
//! The replies are also what `--json` prints, so their field names are part of
//! the interface that scripts rely on.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use super::mail::{
    ExplainedEnvelope, ExplainedStage, Explanation, Refused, ServerState, SmtpState, SuspendedHost,
    ZoneState,
};

/// The longest request line, in bytes.
pub const REQUEST_LIMIT: u64 = 64 * 1024;

/// What is asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of everything: [`Status`].
    Status,
    /// Reads configuration and lists again: [`Reloaded`].
    Reload,
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
        /// Seconds from now until the entry lapses; none is for good.
        expires_in_s: Option<u64>,
        /// Permits to block 0.0.0.0/0 or ::/0.
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
    /// Blocks an address (IPv4 /32 or IPv6 /64) for a time: [`TemporaryEntry`].
    TemporaryAdd {
        /// Any address of the network.
        address: IpAddr,
        /// Seconds until it lapses.
        seconds: u64,
    },
    /// Lifts a temporary block: [`TemporaryEntry`] as it was.
    TemporaryRemove {
        /// Any address of the network.
        address: IpAddr,
    },
    /// The temporary blocks that have not lapsed: [`TemporaryEntry`]s.
    TemporaryList,
    /// What would become of a message: [`Explanation`].
    Explain(ExplainedEnvelope),
    /// The hosts that may not send out for a time: [`SuspendedHost`]s.
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
    /// The newest changes that operators made: [`Change`](crate::record::Change)s.
    Changes {
        /// The most that are wanted.
        limit: usize,
    },
    /// Takes the filter off every interface and ends the daemon: [`Detached`].
    Detach,
}

impl Request {
    /// What it changes, for the record of changes; nothing if it only asks.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        let verb = |list: &RuntimeList| match list {
            RuntimeList::Approved => "approve",
            RuntimeList::Blocked => "block",
        };
        let seconds = |time: &Option<u64>| time.map(|s| format!(" for {s} s")).unwrap_or_default();
        Some(match self {
            Self::Reload => "reload".to_owned(),
            Self::RuntimeAdd { list, prefix, note, expires_in_s, .. } => {
                let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                format!("{} {prefix}{}{note}", verb(list), seconds(expires_in_s))
            }
            Self::RuntimeRemove { list, prefix } => {
                format!("no longer {} {prefix}", verb(list))
            }
            Self::TemporaryAdd { address, seconds } => {
                format!("block {address} temporarily, for {seconds} s")
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
            | Self::Explain(_)
            | Self::RuntimeList { .. }
            | Self::TemporaryList
            | Self::RelayList
            | Self::Traffic { .. }
            | Self::Changes { .. } => return None,
        })
    }
}

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

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request was not understood or names something impossible.
    BadRequest,
    /// There is no such entry.
    NotFound,
    /// Configuration or lists have errors; what was in force still is.
    Configuration,
    /// The kernel or the file system refused.
    System,
}

/// A list that is changed while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeList {
    /// Approved addresses.
    Approved,
    /// Blocked addresses.
    Blocked,
}

/// A runtime entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeEntry {
    /// The list it stands on.
    pub list: RuntimeList,
    /// The network, masked.
    pub prefix: IpNet,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was added: seconds of the Unix epoch.
    pub added_at: u64,
    /// When it lapses: seconds of the Unix epoch; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// A temporary block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryEntry {
    /// The network: an IPv4 /32 or an IPv6 /64.
    pub prefix: IpNet,
    /// Why.
    pub reason: String,
    /// Seconds until it lapses.
    pub remaining_s: u64,
}

/// The answer to a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The generation now in force.
    pub generation: u64,
    /// What the configuration is warned of.
    pub warnings: Vec<String>,
}

/// The answer to a detach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The interfaces that are no longer filtered.
    pub interfaces: Vec<String>,
}

/// What is known of an address, from the lists alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The address.
    pub ip: IpAddr,
    /// The class that decides: `approved_ip`, `blocked_ip`, `approved_country`,
    /// `blocked_country`, `known_spam_source` or `none`. A class that is only
    /// monitored is named where no other decides.
    pub class: String,
    /// What becomes of a SYN: `pass`, `drop`, `reject` (admitted, and SMTP
    /// answers 550) or `monitor` (counted and passed).
    pub action: String,
    /// The listed prefix that decides; the most specific of its class.
    pub prefix: Option<IpNet>,
    /// Where it is listed: `file:line`, or the country database.
    pub source: Option<String>,
    /// The note beside it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// The ISO 3166-1 alpha-2 code of its country.
    pub country: Option<String>,
    /// Every class whose lists name it, in hierarchy order.
    pub listed: Vec<String>,
}

/// What the daemon and the kernel say of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAnswer {
    /// What the daemon's lists say, runtime entries included.
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

/// The state of the daemon and of the kernel's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of mxdp.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// The configuration file.
    pub config: String,
    /// What needs an operator's attention; empty is well.
    pub alarms: Vec<String>,
    /// The interfaces that are filtered.
    pub interfaces: Vec<InterfaceStatus>,
    /// The protected ports.
    pub ports: Vec<u16>,
    /// The generation in force.
    pub generation: GenerationStatus,
    /// The last reload that failed since the generation came into force.
    pub failed_reload: Option<FailedReload>,
    /// Frames by reason and family since the maps were made.
    pub counters: Vec<Counter>,
    /// Sampled events.
    pub events: EventStatus,
    /// Temporary blocks.
    pub temporary: TemporaryStatus,
    /// The sources of most dropped SYNs in the last minutes, estimated from
    /// sampled events; at most ten.
    pub top_sources: Vec<TopSource>,
    /// The record.
    pub record: RecordState,
    /// The SMTP side, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpState>,
}

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordState {
    /// Why nothing can be written; none when it can.
    pub error: Option<String>,
    /// Records that found no room and are lost, since the daemon started.
    pub lost: u64,
    /// Records that are kept.
    pub records: u64,
    /// The bytes that they take.
    pub bytes: u64,
}

/// A filtered interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
    /// Whether the filter outlives the daemon.
    pub pinned: bool,
    /// Whether the filter was found attached and taken over without a gap.
    pub adopted: bool,
}

/// The lists in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number: one more than the last.
    pub number: u64,
    /// When it came into force: seconds of the Unix epoch.
    pub since: u64,
    /// How long reading, compiling and installing took, in milliseconds.
    pub build_ms: u64,
    /// The list files.
    pub lists: Vec<ListStatus>,
    /// The prefixes of the compiled IPv4 table.
    pub ipv4_prefixes: u64,
    /// The prefixes of the compiled IPv6 table.
    pub ipv6_prefixes: u64,
    /// How the IPv4 table is laid out, `trie` or `ranges`; none if it is empty.
    pub ipv4_engine: Option<String>,
    /// How the IPv6 table is laid out.
    pub ipv6_engine: Option<String>,
    /// The runtime entries.
    pub runtime_entries: u64,
    /// What each class does to a SYN.
    pub enforcement: Vec<ClassEnforcement>,
}

/// A list file or country database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStatus {
    /// The file or folder.
    pub source: String,
    /// Its class, or `country` for a country database.
    pub class: String,
    /// The entries read.
    pub entries: u64,
    /// The bad lines that were skipped.
    pub skipped: u64,
}

/// What a class does to a SYN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassEnforcement {
    /// The class.
    pub class: String,
    /// `pass`, `drop`, `reject` or `monitor`.
    pub action: String,
}

/// A reload that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedReload {
    /// When: seconds of the Unix epoch.
    pub at: u64,
    /// Why, in lines.
    pub message: String,
}

/// Frames of a reason and family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The reason.
    pub reason: String,
    /// `pass` or `drop`.
    pub action: String,
    /// `ipv4`, `ipv6` or `other`.
    pub family: String,
    /// Frames, over all CPUs.
    pub frames: u64,
}

/// Sampled events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// Events read since the daemon started.
    pub read: u64,
    /// Frames whose events found the ring full, since the maps were made.
    pub lost: u64,
}

/// Temporary blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryStatus {
    /// Blocks that the kernel holds, lapsed ones that await collection included.
    pub held: u64,
    /// The most it can hold.
    pub capacity: u64,
}

/// A source of dropped SYNs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopSource {
    /// The address.
    pub ip: IpAddr,
    /// The reason of most of them.
    pub reason: String,
    /// The estimated SYNs.
    pub estimated: u64,
}
