//! `[dns]`: the name servers that are queried.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, Unit};
use crate::config::values::read_sockets;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Name servers", sections: &["dns"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("dns");

keys! {
    /// The name servers that are queried
    live SERVERS = "servers";
    /// Time limit per attempt
    live TIMEOUT_MS = "timeout_ms";
    /// Attempts per query
    live ATTEMPTS = "attempts";
    /// The most answers that are cached, each for its TTL, an hour at most, and at least 10
    /// seconds where there is none. Answers of more than 4 KB are not cached
    live CACHE = "cache";
    /// The most memory of the cache, in bytes. A quarter is reserved for DNS lists, and one
    /// client network (an IPv4 address, an IPv6 /64) has at most a sixteenth of either part
    live CACHE_BYTES = "cache_bytes";
    /// Whether DNS lists, SPF and PTR are queried about clients with private addresses (RFC
    /// 1918, 169.254/16, 100.64/10, fc00::/7, fe80::/10); about loopback they never are
    live PRIVATE_CLIENTS = "private_clients";
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

/// Reads `[dns]`.
pub(in crate::config) fn read(section: Section<'_>) -> Dns {
    let default = Dns::default();
    section.describe(SERVERS, "", "the system's");
    let dns = Dns {
        servers: read_sockets(&section, SERVERS),
        timeout: section.duration(TIMEOUT_MS, Unit::Milliseconds, 50..=60_000, 2000),
        attempts: section.integer(ATTEMPTS, 1..=10, default.attempts),
        cache: section.integer(CACHE, 0..=10_000_000, default.cache),
        cache_bytes: section.integer(CACHE_BYTES, 0..=1 << 40, default.cache_bytes),
        private_clients: section.boolean(PRIVATE_CLIENTS, default.private_clients),
    };
    section.finish();
    dns
}
