//! Failed TLS handshakes: counted by cause, and recorded; those of one client network and cause
//! within a minute are one entry with their number.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::io::networks::wide;
use crate::lists::ClientNetwork;
use crate::policy::relay::Direction;
use crate::record::everybody;

/// How long failures are folded.
const FOLDED: Duration = Duration::from_secs(60);

/// The maximum number of networks and causes that are kept apart at once; further ones are
/// combined.
const FOLDS: usize = 4096;

/// The same for an IPv6 /48, which has 65,536 networks.
const OF_SITE: usize = 64;

/// A client that begins TLS, at once or by STARTTLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: IpAddr,
    /// The direction of its mail.
    pub(super) direction: Direction,
    /// Whether the connection begins with TLS.
    pub(super) implicit: bool,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// Both sides have no version, cipher, signature scheme or group in common.
    Incompatible,
    /// The client's bytes are not TLS, or invalid.
    Invalid,
    /// The client sent an alert: it may not trust the certificate.
    Alert,
    /// The client's certificate or its signature is invalid.
    Certificate,
    /// The client disconnected.
    Closed,
    /// The client disconnected before it sent anything, which is not a failure but a probe of the
    /// port.
    NothingSent,
    /// It took too long.
    TimedOut,
    /// Something else.
    Other,
}

impl Cause {
    const ALL: [Self; 8] = [
        Self::Incompatible,
        Self::Invalid,
        Self::Alert,
        Self::Certificate,
        Self::Closed,
        Self::NothingSent,
        Self::TimedOut,
        Self::Other,
    ];

    /// Its name, stable.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Incompatible => "incompatible",
            Self::Invalid => "invalid",
            Self::Alert => "alert",
            Self::Certificate => "certificate",
            Self::Closed => "closed",
            Self::NothingSent => "nothing_sent",
            Self::TimedOut => "timed_out",
            Self::Other => "other",
        }
    }

    /// The cause of an error.
    pub(super) fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (inner, error.kind()) {
            (Some(rustls::Error::PeerIncompatible(_)), _) => Self::Incompatible,
            (Some(rustls::Error::AlertReceived(_)), _) => Self::Alert,
            (
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented),
                _,
            ) => Self::Certificate,
            (
                Some(
                    rustls::Error::InvalidMessage(_)
                    | rustls::Error::InappropriateMessage { .. }
                    | rustls::Error::InappropriateHandshakeMessage { .. }
                    | rustls::Error::PeerMisbehaved(_)
                    | rustls::Error::DecryptError
                    | rustls::Error::PeerSentOversizedRecord,
                ),
                _,
            ) => Self::Invalid,
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => Self::Closed,
            _ => Self::Other,
        }
    }
}

/// One failed handshake, or several.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// The last client.
    pub(super) client: IpAddr,
    /// The direction of its mail.
    pub(super) direction: Direction,
    /// The cause.
    pub(super) cause: Cause,
    /// The cause in words.
    pub(super) why: String,
    /// The number of handshakes.
    pub(super) count: u64,
}

/// The key of a fold: a client network, a direction, a cause.
type Key = (IpAddr, Direction, Cause);

/// Folded handshakes.
struct Fold {
    since: Instant,
    /// Failures since the entry that was written.
    more: Option<Failed>,
}

/// The folds of the last minute.
#[derive(Default)]
struct Folds {
    folds: HashMap<Key, Fold>,
    /// The number of each /48, or each IPv4 address.
    sites: HashMap<IpAddr, usize>,
}

impl Folds {
    /// The key for a client: its network, or if there are too many of those its /48, or everybody
    /// (`::` or `0.0.0.0`).
    fn key(&self, client: IpAddr, direction: Direction, cause: Cause) -> Key {
        let site = wide(client);
        let is_room = self.folds.len() < FOLDS;
        let has_room = self.sites.get(&site).is_none_or(|count| *count < OF_SITE);
        let known = |key: &Key| self.folds.contains_key(key);
        let own = (ClientNetwork::of(client).first(), direction, cause);
        let of_site = (site, direction, cause);
        if known(&own) || (is_room && has_room) {
            own
        } else if known(&of_site) || is_room {
            of_site
        } else {
            (everybody(site), direction, cause)
        }
    }
}

/// Failed handshakes.
pub(super) struct Handshakes {
    counts: [AtomicU64; Cause::ALL.len()],
    folds: Mutex<Folds>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; Cause::ALL.len()], folds: Mutex::default() }
    }
}

impl Handshakes {
    fn folds(&self) -> MutexGuard<'_, Folds> {
        self.folds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one.
    pub(super) fn count(&self, cause: Cause) {
        let index = Cause::ALL.iter().position(|known| *known == cause);
        if let Some(counter) = index.and_then(|index| self.counts.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one; returns it if it must be recorded now.
    pub(super) fn add(&self, peer: Peer, cause: Cause, why: &str) -> Option<Failed> {
        self.count(cause);
        let Peer { address: client, direction, .. } = peer;
        let mut folds = self.folds();
        let key = folds.key(client, direction, cause);
        // An entry for several networks names their common prefix, otherwise the client.
        let client = if key.0 == ClientNetwork::of(client).first() { client } else { key.0 };
        let one = Failed { client, direction, cause, why: why.to_owned(), count: 1 };
        if let Some(fold) = folds.folds.get_mut(&key) {
            let before = fold.more.take().map_or(0, |more| more.count);
            fold.more = Some(Failed { count: before + 1, ..one });
            return None;
        }
        *folds.sites.entry(wide(key.0)).or_default() += 1;
        folds.folds.insert(key, Fold { since: Instant::now(), more: None });
        Some(one)
    }

    /// The failures that are due to be recorded; all of them at the end.
    pub(super) fn due(&self, now: Instant, all: bool) -> Vec<Failed> {
        let mut due = Vec::new();
        let Folds { folds, sites } = &mut *self.folds();
        folds.retain(|_, fold| {
            if !all && now.saturating_duration_since(fold.since) < FOLDED {
                return true;
            }
            fold.since = now;
            // Without further failures the fold ends; otherwise the next minute begins.
            let more = fold.more.take();
            let goes_on = more.is_some();
            due.extend(more);
            goes_on
        });
        sites.clear();
        for (network, ..) in folds.keys() {
            *sites.entry(wide(*network)).or_default() += 1;
        }
        due
    }

    /// The number of failures by cause.
    pub(super) fn totals(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Cause::ALL.iter().map(|cause| cause.name()).zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn peer(address: impl Into<IpAddr>) -> Peer {
        Peer { address: address.into(), direction: Direction::Inbound, implicit: false }
    }

    #[test]
    fn those_of_a_network_are_one_entry_a_minute() {
        let handshakes = Handshakes::default();
        let (one, other) = (peer([192, 0, 2, 1]), peer([192, 0, 2, 2]));
        assert!(handshakes.add(one, Cause::Closed, "x").is_some());
        for _ in 0..9 {
            assert!(handshakes.add(one, Cause::Closed, "y").is_none());
        }
        assert!(handshakes.add(one, Cause::Alert, "x").is_some());
        assert!(handshakes.add(other, Cause::Closed, "x").is_some());
        let relayed = Peer { direction: Direction::Outgoing, ..one };
        assert!(handshakes.add(relayed, Cause::Closed, "x").is_some());
        let now = Instant::now();
        assert!(handshakes.due(now, false).is_empty());
        let due = handshakes.due(now + FOLDED, false);
        assert_eq!((due.len(), due[0].count, due[0].why.as_str()), (1, 9, "y"));
        assert!(handshakes.add(one, Cause::Closed, "x").is_none());
        assert_eq!(handshakes.due(now + FOLDED, true)[0].count, 1);
        assert_eq!(handshakes.due(now + 3 * FOLDED, true).len(), 0);
        assert!(handshakes.folds().folds.is_empty() && handshakes.folds().sites.is_empty());
        let totals: u64 = handshakes.totals().iter().map(|(_, count)| count).sum();
        assert_eq!(totals, 14);
    }

    #[test]
    fn strangers_make_no_more_of_them_than_there_is_room_for() {
        let handshakes = Handshakes::default();
        let recorded = (1..=10_000_u32).filter(|number| {
            handshakes.add(peer(Ipv4Addr::from(*number << 4)), Cause::Other, "x").is_some()
        });
        // One entry counts all further ones.
        assert_eq!(recorded.count(), FOLDS + 1);
        assert_eq!(handshakes.totals().last(), Some(&("other", 10_000)));
        let due = handshakes.due(Instant::now(), true);
        let beyond = due.iter().find(|failed| failed.client.is_unspecified()).expect("one");
        assert_eq!(beyond.count, 10_000 - FOLDS as u64 - 1);
    }

    #[test]
    fn the_networks_of_a_48_keep_nobody_out() {
        let handshakes = Handshakes::default();
        let add = |site: u128, number: u128| {
            let address = Ipv6Addr::from_bits((0x2001_0db8 << 96) | (site << 80) | (number << 64));
            handshakes.add(peer(address), Cause::Invalid, "x").map(|failed| failed.client)
        };
        let recorded = (1..=5000).filter_map(|number| add(1, number)).count();
        assert_eq!(recorded, OF_SITE + 1);
        assert!(add(2, 1).is_some());
        let due = handshakes.due(Instant::now(), true);
        let site: IpAddr = "2001:db8:1::".parse().unwrap();
        let beyond = due.iter().find(|failed| failed.client == site).expect("one of the /48");
        assert_eq!(beyond.count, 5000 - OF_SITE as u64 - 1);
    }
}
