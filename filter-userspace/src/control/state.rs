//! What the daemon says of its own state: part of the protocol, and what `mxdp
//! status --json` prints.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::mail::{ServedCertificate, SmtpState};
use crate::lists::{ListSet, LoadedFile};

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
    /// The active rule set.
    pub generation: GenerationStatus,
    /// The last reload that failed since the rule set became active.
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
    /// The mail log.
    pub record: RecordState,
    /// The SMTP side, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpState>,
    /// The certificates that are served.
    #[serde(default)]
    pub certificates: Vec<ServedCertificate>,
}

/// The mail log.
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
    /// Whether it is attached now.
    #[serde(default)]
    pub attached: bool,
}

/// The active lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number: one more than the last.
    pub number: u64,
    /// When it became active: seconds of the Unix epoch.
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
    /// What the lists and the configuration are warned of, conflicts among them.
    #[serde(default)]
    pub warnings: Vec<String>,
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
    /// When the file was last changed: seconds of the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<u64>,
}

impl ListStatus {
    /// The list files and country data of a rule set.
    #[must_use]
    pub fn of(set: &ListSet) -> Vec<Self> {
        let mut statuses: Vec<_> = set.files().iter().map(Self::of_file).collect();
        statuses.extend(set.countries().map(|countries| Self {
            source: countries.name().to_owned(),
            class: "country".to_owned(),
            entries: countries.len() as u64,
            skipped: 0,
            modified: None,
        }));
        statuses
    }

    fn of_file(file: &LoadedFile) -> Self {
        Self {
            source: file.name.clone(),
            class: file.class.name().to_owned(),
            entries: file.list.len() as u64,
            skipped: file.list.skipped() as u64,
            modified: None,
        }
    }
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

impl FailedReload {
    /// What an operator is told of it, on a line.
    #[must_use]
    pub fn alarm(&self) -> String {
        let first = self.message.lines().next().unwrap_or_default();
        let more = match self.message.lines().count().saturating_sub(1) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let at = crate::record::when::show(self.at.saturating_mul(1_000));
        format!(
            "the reload of {at} failed, and the previous configuration stays active: {first}{more}"
        )
    }
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
    /// SYNs that sampling counted and of which it is not known who sent them: what was
    /// pending when its second ended.
    #[serde(default)]
    pub unattributed: u64,
    /// Events read since the daemon started.
    pub read: u64,
    /// Frames whose events found the ring full, since the maps were made.
    pub lost: u64,
}

/// Temporary blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryStatus {
    /// Blocks that the kernel holds, expired ones that await collection included.
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
