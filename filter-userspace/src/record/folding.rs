//! What one client may write into the mail log: beyond so many bytes a minute, its entries
//! of the same kind become one with a count, as dropped SYNs do.
//!
//! A client decides how many entries there are and how long they are, so the bound is one
//! of bytes, for each client network (an address, or its /64). A few entries of each kind
//! stand by themselves even so. What was delivered folds too, but much later: its sender
//! may ask where it is, and the backend has it.
//!
//! Whoever has an IPv6 /48 has 65,536 networks, and who has many addresses has as many. So
//! what is refused to strangers has a bound for each /48 too, and one for all of them
//! together. Beyond those no entry stands by itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::codes::{Direction, Reason, Stage, Status};
use super::columns::Record;
use super::entry::{self, everybody};

/// The bytes of entries a minute that a client network may have of its own.
const REFUSED: usize = 64 * 1024;

/// The same that all networks of an IPv6 /48 have together.
const SITE: usize = 4 * REFUSED;

/// The same that all strangers have together.
const STRANGERS: usize = 32 * REFUSED;

/// The same for a client network, of messages that were delivered.
const DELIVERED: usize = 32 * 1024 * 1024;

/// The entries of a kind that stand by themselves whatever others of the network take.
const FEW: u32 = 10;

/// The sessions of a client network whose folded entries are told apart within a minute.
const SESSIONS: usize = 4;

/// The client networks that are watched, and the /48; the longest unused is forgotten first.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// The folded entries that may wait to be taken.
const WAITING: usize = 16_384;

/// The bytes of an entry beside its texts, with its place in the index.
const FRAME: usize = 200;

/// The entries that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    network: IpAddr,
    direction: Direction,
    status: Status,
    stage: Stage,
    reason: Reason,
    session: Option<String>,
    customer: Option<String>,
}

/// What a client network had in the minute.
#[derive(Debug, Default)]
struct Client {
    minute: u64,
    refused: usize,
    delivered: usize,
    /// How many entries of each reason.
    reasons: Vec<(Reason, u32)>,
    /// The sessions that have folded entries.
    sessions: Vec<String>,
}

/// The bytes that several client networks had in the minute.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    minute: u64,
    had: usize,
}

impl Budget {
    /// Whether there is room for so many more.
    fn has_room(&mut self, minute: u64, bytes: usize, most: usize) -> bool {
        if is_over(self.minute, minute) {
            *self = Self { minute, had: 0 };
        }
        self.had + bytes <= most
    }
}

/// Whether a minute is over. Sessions that end together come in any order, so the minute
/// before does not begin anew; a clock that was set back does.
const fn is_over(known: u64, minute: u64) -> bool {
    minute > known || known > minute + 1
}

/// Entries that are one with a count.
#[derive(Debug, Default)]
pub struct Sums(HashMap<Kind, Record>);

impl Sums {
    /// Adds an entry to those that are alike; gives it back where there is no room.
    pub fn add(&mut self, record: Record) -> Option<Record> {
        let kind = Kind {
            network: record.ip,
            direction: record.direction.clone(),
            status: record.status,
            stage: record.stage.clone(),
            reason: record.reason.clone(),
            session: record.session.clone(),
            customer: record.customer.clone(),
        };
        if let Some(waiting) = self.0.get_mut(&kind) {
            waiting.count = waiting.count.saturating_add(record.count);
            waiting.time = record.time;
        } else if self.0.len() < WAITING {
            self.0.insert(kind, record);
        } else {
            return Some(record);
        }
        None
    }

    /// All of them; it begins anew.
    pub fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// Which entries stand by themselves, and those that are folded.
#[derive(Debug)]
pub struct Folding {
    /// By network and customer: customers at one address have a share each.
    clients: LruCache<(IpAddr, Option<String>), Client>,
    /// By /48.
    sites: LruCache<IpAddr, Budget>,
    strangers: Budget,
    waiting: Sums,
}

impl Default for Folding {
    fn default() -> Self {
        Self {
            clients: LruCache::new(CLIENTS),
            sites: LruCache::new(CLIENTS),
            strangers: Budget::default(),
            waiting: Sums::default(),
        }
    }
}

impl Folding {
    /// The entry, if it stands by itself; else it is counted, and comes by [`Self::take`].
    pub fn add(&mut self, network: IpAddr, record: Record) -> Option<Record> {
        let minute = record.time / 60_000;
        let size = bytes(&record);
        let is_strangers = record.status != Status::Delivered && record.customer.is_none();
        if is_strangers && let Some(widest) = self.exhausted(network, minute, size) {
            return self.fold(widest, Record { session: None, ..record });
        }
        let key = (network, record.customer.clone());
        let client = self.clients.get_or_insert_mut(key, Client::default);
        if is_over(client.minute, minute) {
            *client = Client { minute, ..Client::default() };
        }
        let known = client.reasons.iter().position(|(reason, _)| *reason == record.reason);
        let known = known.unwrap_or_else(|| {
            client.reasons.push((record.reason.clone(), 0));
            client.reasons.len() - 1
        });
        client.reasons[known].1 += 1;
        let (had, most) = match record.status {
            Status::Delivered => (&mut client.delivered, DELIVERED),
            _ => (&mut client.refused, REFUSED),
        };
        if *had + size <= most || client.reasons[known].1 <= FEW {
            *had += size;
            if is_strangers {
                self.charge(network, size);
            }
            return Some(record);
        }
        let session = record.session.clone().filter(|session| {
            let is_known = client.sessions.contains(session);
            if !is_known && client.sessions.len() < SESSIONS {
                client.sessions.push(session.clone());
                return true;
            }
            is_known
        });
        self.fold(network, Record { session, ..record })
    }

    /// What a stranger's entry is folded under, where a bound beyond that of its own network
    /// is reached: its /48, or everybody (`::` or `0.0.0.0`).
    fn exhausted(&mut self, network: IpAddr, minute: u64, size: usize) -> Option<IpAddr> {
        if let Some(site) = site(network) {
            let budget = self.sites.get_or_insert_mut(site, Budget::default);
            if !budget.has_room(minute, size, SITE) {
                return Some(site);
            }
        }
        (!self.strangers.has_room(minute, size, STRANGERS)).then(|| everybody(network))
    }

    /// Counts an entry that stands by itself.
    fn charge(&mut self, network: IpAddr, size: usize) {
        self.strangers.had += size;
        if let Some(budget) = site(network).and_then(|site| self.sites.get_mut(&site)) {
            budget.had += size;
        }
    }

    /// Counts an entry that does not stand by itself; gives it back where there is no room.
    pub fn fold(&mut self, network: IpAddr, record: Record) -> Option<Record> {
        self.waiting.add(Record {
            direction: record.direction,
            country: record.country.filter(|_| !network.is_unspecified()),
            customer: record.customer,
            session: record.session,
            count: record.count,
            folds: true,
            ..Record::new(record.time, network, record.status, record.stage, record.reason)
        })
    }

    /// What was folded since the last time.
    pub fn take(&mut self) -> Vec<Record> {
        self.waiting.take()
    }
}

/// The /48 of an IPv6 network.
fn site(network: IpAddr) -> Option<IpAddr> {
    network.is_ipv6().then(|| entry::site(network))
}

/// About how many bytes an entry takes on the disk.
fn bytes(record: &Record) -> usize {
    FRAME + record.texts().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn record(time: u64, reason: &str, session: &str, length: usize) -> Record {
        Record {
            sender: Some("a@b.example".to_owned()),
            recipient: Some("x".repeat(length)),
            session: Some(session.to_owned()),
            reference: Some(format!("{session}-1")),
            ..Record::new(
                time,
                CLIENT,
                Status::Permanent,
                Stage::read("relay"),
                Reason::read(reason),
            )
        }
    }

    /// How many of so many entries stand by themselves.
    fn kept(folding: &mut Folding, count: usize, record: impl Fn(usize) -> Record) -> usize {
        (0..count).filter(|n| folding.add(CLIENT, record(*n)).is_some()).count()
    }

    #[test]
    fn what_a_client_writes_in_a_minute_is_bounded_in_bytes() {
        for length in [1, 100, 512] {
            let mut folding = Folding::default();
            let of = |_| record(0, "relay_denied", "S", length);
            let kept = kept(&mut folding, 100_000, of);
            assert!(kept * (FRAME + length) <= REFUSED && kept >= 80, "{kept} of {length}");
            let folded = folding.take();
            assert_eq!(folded.len(), 1);
            assert_eq!(folded[0].count, 100_000 - kept as u64, "none is lost");
            assert_eq!(folded[0].session.as_deref(), Some("S"));
            assert_eq!((&folded[0].sender, &folded[0].recipient), (&None, &None));
            assert!(folding.take().is_empty());
            // The next minute has its own share.
            assert!(folding.add(CLIENT, record(60_000, "relay_denied", "S", 1)).is_some());
        }
    }

    #[test]
    fn each_kind_has_a_few_and_others_lose_nothing() {
        let mut folding = Folding::default();
        kept(&mut folding, 10_000, |_| record(0, "relay_denied", "S", 10));
        assert_eq!(kept(&mut folding, 100, |_| record(0, "no_message", "S", 10)), FEW as usize);
        let other = IpAddr::from([192, 0, 2, 2]);
        assert!(folding.add(other, record(0, "relay_denied", "T", 10)).is_some());
        let mut folded: Vec<_> =
            folding.take().into_iter().map(|one| (one.reason.to_string(), one.count > 0)).collect();
        folded.sort();
        assert_eq!(folded, [("no_message".to_owned(), true), ("relay_denied".to_owned(), true)]);
    }

    #[test]
    fn many_sessions_fold_as_few_do() {
        let mut folding = Folding::default();
        kept(&mut folding, 10_000, |n| record(0, "relay_denied", &n.to_string(), 10));
        let folded = folding.take();
        assert_eq!(folded.len(), SESSIONS + 1);
        assert_eq!(folded.iter().filter(|one| one.session.is_none()).count(), 1);
    }

    /// The network of a number in a /48 of another.
    fn network(site: u16, number: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, site, number, 0, 0, 0, 0).into()
    }

    #[test]
    fn the_networks_of_one_48_have_a_bound_together() {
        let mut folding = Folding::default();
        let of = |time| record(time, "relay_denied", "S", 100);
        let size = bytes(&of(0));
        // A new /64 for each session, more than are watched.
        let add = |folding: &mut Folding, time| {
            (0..40_000).filter(|n| folding.add(network(1, *n), of(time)).is_some()).count()
        };
        let kept = add(&mut folding, 0);
        assert!(kept * size <= SITE && (kept + 1) * size > SITE, "{kept}");
        let folded = folding.take();
        assert_eq!((folded.len(), folded[0].ip), (1, network(1, 0)));
        assert_eq!(folded[0].count, 40_000 - kept as u64, "none is lost");
        assert_eq!((&folded[0].session, folded[0].folds), (&None, true));
        // Another /48 has its own, and so has the next minute.
        assert!(folding.add(network(2, 1), of(0)).is_some());
        assert_eq!(add(&mut folding, 60_000), kept);
        // What ended a moment before the minute did does not begin it anew.
        assert_eq!(add(&mut folding, 59_999), 0);
        // A clock that is set back does.
        let mut folding = Folding::default();
        add(&mut folding, 600_000);
        assert_eq!(add(&mut folding, 0), kept);
    }

    #[test]
    fn all_strangers_have_a_bound_together_and_others_do_not_share_it() {
        let mut folding = Folding::default();
        let of = |reason| record(0, reason, "S", 100);
        let size = bytes(&of("relay_denied"));
        let mut kept = 0;
        for site in 0..1_000 {
            for n in 0..20 {
                let stands = folding.add(network(site, n), of("relay_denied")).is_some();
                kept += usize::from(stands);
            }
            let v4 = Ipv4Addr::from_bits(u32::from(site)).into();
            kept += usize::from(folding.add(v4, of("relay_denied")).is_some());
        }
        assert!(kept * size <= STRANGERS && (kept + 1) * size > STRANGERS, "{kept}");
        // Not even a few more, of another reason.
        assert!(folding.add(CLIENT, of("no_message")).is_none());
        let mut folded = folding.take();
        folded.sort_by_key(|one| (one.reason.clone(), one.ip));
        let told: Vec<_> =
            folded.iter().map(|one| (one.reason.code(), one.ip.to_string())).collect();
        let (v4, v6) = ("0.0.0.0".to_owned(), "::".to_owned());
        assert_eq!(told, [("no_message", v4.clone()), ("relay_denied", v4), ("relay_denied", v6)]);
        let count: u64 = folded.iter().map(|one| one.count).sum();
        assert_eq!(count, 21_001 - kept as u64, "none is lost");
        // Deliveries and customers do not draw on it.
        let delivered = Record { status: Status::Delivered, ..of("accepted") };
        assert!(folding.add(CLIENT, delivered).is_some());
        let customers = |name: &str| Record { customer: Some(name.to_owned()), ..of("no_message") };
        assert!(folding.add(CLIENT, customers("acme")).is_some());
    }

    #[test]
    fn customers_at_one_address_have_a_share_each() {
        let mut folding = Folding::default();
        let of =
            |name: &str| Record { customer: Some(name.to_owned()), ..record(0, "x", "S", 100) };
        assert!(kept(&mut folding, 10_000, |_| of("acme")) < 1_000);
        assert!(kept(&mut folding, 100, |_| of("bravo")) == 100);
        assert!(folding.take().iter().all(|one| one.customer.as_deref() == Some("acme")));
    }

    #[test]
    fn thousands_of_delivered_messages_stand_by_themselves() {
        let mut folding = Folding::default();
        let delivered = |_| Record { status: Status::Delivered, ..record(0, "accepted", "S", 100) };
        assert_eq!(kept(&mut folding, 10_000, delivered), 10_000);
        let kept = kept(&mut folding, 200_000, delivered);
        assert!(kept < 110_000, "{kept}");
    }
}
