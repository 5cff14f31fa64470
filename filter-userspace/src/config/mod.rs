//! The configuration: from the text of a TOML file to values that are right.
//!
//! The file is checked as a whole before anything is touched: every error at
//! once, each with file, line, column and key. Pure: the text comes in, and the
//! files that it names are not opened here.

mod doubts;
mod error;
pub mod flat;
mod keys;
mod meaning;
pub mod named;
pub mod record;
pub mod reference;
mod relay_keys;
mod reputation_keys;
mod section;
pub mod smtp;
mod smtp_keys;
mod syntax;
#[cfg(test)]
mod tests;
pub mod units;
mod values;
mod warnings;
pub mod web;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use filter_common::Class;
use filter_common::abi::SynRate;
use ipnet::IpNet;

use crate::lists::{CountryCode, EnforcementTable, OnBadLine, UnknownCountry};
use crate::smtp::address::Domain;

pub use doubts::{Doubts, Surroundings};
pub use error::{ConfigError, ConfigErrors};
pub use keys::{parse, parse_all};

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/mxdp/mxdp.toml";

/// Where the filter is pinned, unless the configuration says otherwise.
pub const DEFAULT_PIN: &str = "/sys/fs/bpf/mxdp";

/// A configuration without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// Where and how is filtered.
    pub filter: Filter,
    /// What each class does to a SYN.
    pub enforcement: EnforcementTable,
    /// Whether blocked lists count for nothing, since `reputation.ers_compatible`
    /// is set and there is no standard reputation.
    pub ignores_blocked: bool,
    /// List files.
    pub lists: Vec<ListSource>,
    /// Addresses that stand in the file itself.
    pub inline: Vec<InlineEntry>,
    /// Countries.
    pub countries: Countries,
    /// Temporary blocks.
    pub temporary: Temporary,
    /// SYN rates.
    pub syn_rate: SynRates,
    /// The control socket.
    pub control: Control,
    /// What is kept across restarts.
    pub state: State,
    /// The record.
    pub record: record::RecordKeeping,
    /// The page and the interface.
    pub web: Option<web::Web>,
    /// Reloading.
    pub reload: Reload,
    /// Bounds on files.
    pub limits: Limits,
    /// Logging.
    pub log: Log,
    /// The name servers that are asked.
    pub dns: Dns,
    /// Domains whose hosts are approved, by their SPF records.
    pub approved_spf: Vec<SpfDomain>,
    /// The SMTP side.
    pub smtp: Option<smtp::Smtp>,
}

/// Where and how is filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The interfaces, at least one.
    pub interfaces: Vec<String>,
    /// How the program is attached.
    pub mode: Mode,
    /// The protected ports, at least one.
    pub ports: Vec<u16>,
    /// How the tables of lists are laid out in the kernel.
    pub engine: Engine,
    /// The pin directory.
    pub pin: PathBuf,
    /// Whether the filter outlives the daemon.
    pub persist: bool,
    /// Sampled events a second and CPU.
    pub events_per_second: u32,
    /// What the program logs about itself.
    pub debug: Debug,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Native, then generic with a warning.
    #[default]
    Auto,
    /// Native or not at all.
    Native,
    /// Generic.
    Generic,
}

/// How the tables of lists are laid out in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Small tables as tries, large ones as ranges.
    #[default]
    Auto,
    /// The kernel's longest-prefix-match tries.
    Trie,
    /// Ranges in arrays.
    Ranges,
}

/// What the XDP program logs about itself. The codes are the program's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Debug {
    /// Nothing; the verifier removes the code.
    #[default]
    Off = 0,
    /// Errors.
    Error = 1,
    /// Warnings too.
    Warn = 2,
    /// Information too.
    Info = 3,
    /// Every judged SYN.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// A list file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSource {
    /// What it makes of the addresses in it.
    pub class: Class,
    /// The file.
    pub path: PathBuf,
    /// What a bad line does.
    pub on_bad_line: OnBadLine,
    /// Whether it may block more than an IPv4 /8 or an IPv6 /16 at once.
    pub force: bool,
    /// Whether networks that no mail from the Internet comes from are left out of it.
    pub leave_out_bogons: bool,
    /// Whether it is accepted however few entries it has left.
    pub may_shrink: bool,
    /// The line of the configuration that names it.
    pub line: u32,
}

impl ListSource {
    /// A file that is named without anything beside it.
    pub(crate) const fn plain(class: Class, path: PathBuf, line: u32) -> Self {
        Self {
            class,
            path,
            on_bad_line: OnBadLine::Refuse,
            force: false,
            leave_out_bogons: false,
            may_shrink: false,
            line,
        }
    }
}

/// An address in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineEntry {
    /// What it is.
    pub class: Class,
    /// The network, masked.
    pub net: IpNet,
    /// Its line.
    pub line: u32,
}

/// Countries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countries {
    /// Where an address's country is looked up.
    pub source: Option<CountrySource>,
    /// Approved countries.
    pub approved: BTreeSet<CountryCode>,
    /// Blocked countries.
    pub blocked: BTreeSet<CountryCode>,
    /// Whether a file of a blocked country may have networks that are larger than an IPv4 /8
    /// or an IPv6 /16.
    pub force: bool,
    /// What an address without a country counts as.
    pub unknown: UnknownCountry,
}

/// Where an address's country is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountrySource {
    /// A MaxMind database.
    Database {
        /// The file.
        path: PathBuf,
        /// Whether the registered country counts where there is no other.
        registered_country: bool,
    },
    /// A folder of CIDR files.
    Folder {
        /// The folder.
        path: PathBuf,
    },
}

impl CountrySource {
    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Database { path, .. } | Self::Folder { path } => path,
        }
    }
}

/// Temporary blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// The most blocks at once.
    pub capacity: u32,
}

/// The rate of SYNs that one source may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynRates {
    /// For each IPv4 address.
    pub ipv4: SynRate,
    /// For each IPv6 /64.
    pub ipv6: SynRate,
    /// The sources that are remembered.
    pub capacity: u32,
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The socket.
    pub socket: PathBuf,
}

/// What is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The folder of runtime entries.
    pub folder: PathBuf,
}

/// Reloading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether a changed file is loaded by itself.
    pub watch: bool,
}

/// Bounds on files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// The most prefixes of all lists together; of country data too.
    pub prefixes: usize,
}

/// Logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: Level,
    /// How they are written.
    pub format: Format,
}

/// Name servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Their addresses; the system's where there are none.
    pub servers: Vec<SocketAddr>,
    /// The time for an answer to one attempt.
    pub timeout: Duration,
    /// How often is asked.
    pub attempts: usize,
    /// The most answers that are remembered.
    pub cache: u64,
    /// The most bytes that they take.
    pub cache_bytes: u64,
    /// Whether name servers are asked about clients with private addresses.
    pub private_clients: bool,
}

impl Dns {
    /// The time for an answer, all attempts and TCP included.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let attempts = u32::try_from(self.attempts).unwrap_or(u32::MAX).saturating_add(1);
        self.timeout.saturating_mul(attempts).saturating_mul(2)
    }
}

impl Default for Dns {
    fn default() -> Self {
        let timeout = Duration::from_secs(2);
        Self {
            servers: Vec::new(),
            timeout,
            attempts: 2,
            cache: 50_000,
            cache_bytes: 32 * 1024 * 1024,
            private_clients: false,
        }
    }
}

/// A domain whose hosts are approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfDomain {
    /// The domain.
    pub domain: Domain,
    /// The line of the configuration.
    pub line: u32,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// What an operator would like to know.
    Info,
    /// Every sampled SYN.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Checks the bytes of a configuration file. Relative paths in it are taken from
/// the folder of `path`.
///
/// # Errors
///
/// Everything that is wrong, also where the bytes are no text.
pub fn parse_bytes(bytes: &[u8], path: &Path) -> Result<Config, ConfigErrors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(ConfigErrors(vec![ConfigError {
                file: path.display().to_string(),
                line,
                column: 1,
                key: String::new(),
                message: "the line is not UTF-8 text".to_owned(),
            }]))
        }
    }
}

impl Config {
    /// Whether name servers are asked anything.
    #[must_use]
    pub fn asks_dns(&self) -> bool {
        !self.approved_spf.is_empty() || self.smtp.as_ref().is_some_and(smtp::Smtp::asks_dns)
    }
}
