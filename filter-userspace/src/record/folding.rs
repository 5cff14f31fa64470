//! What one client may write into the mail log: beyond so many bytes a minute, its entries
//! of the same kind become one with a count, as dropped SYNs do.
//!
//! A client decides how many entries there are and how long they are, so the bound is one
//! of bytes, for each client network (an address, or its /64). A few entries of each kind
//! always stand by themselves. What was delivered folds too, but much later: its sender
//! may ask where it is, and the backend has it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::{Record, Status};

/// The bytes of entries a minute that a client network may have of its own.
const REFUSED: usize = 64 * 1024;

/// The same, of messages that were delivered.
const DELIVERED: usize = 32 * 1024 * 1024;

/// The entries of a kind that stand by themselves whatever the others take.
const FEW: u32 = 10;

/// The sessions of a client network whose folded entries are told apart within a minute.
const SESSIONS: usize = 4;

/// The client networks that are watched; the longest unused is forgotten first.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// The folded entries that may wait to be taken.
const WAITING: usize = 16_384;

/// What an entry takes beside its texts, with its place in the index.
const FRAME: usize = 200;

/// The entries that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    network: IpAddr,
    direction: String,
    status: Status,
    stage: String,
    reason: String,
    session: Option<String>,
}

/// What a client network had in the minute.
#[derive(Debug, Default)]
struct Client {
    minute: u64,
    refused: usize,
    delivered: usize,
    /// How many entries of each reason.
    reasons: Vec<(String, u32)>,
    /// The sessions that have folded entries.
    sessions: Vec<String>,
}

/// Which entries stand by themselves, and those that are folded.
#[derive(Debug)]
pub struct Folding {
    clients: LruCache<IpAddr, Client>,
    waiting: HashMap<Kind, Record>,
}

impl Default for Folding {
    fn default() -> Self {
        Self { clients: LruCache::new(CLIENTS), waiting: HashMap::new() }
    }
}

impl Folding {
    /// The entry, if it stands by itself; else it is counted, and comes by [`Self::take`].
    pub fn add(&mut self, network: IpAddr, record: Record) -> Option<Record> {
        let minute = record.time / 60_000;
        let client = self.clients.get_or_insert_mut(network, Client::default);
        if client.minute != minute {
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
        let with = *had + bytes(&record);
        if with <= most || client.reasons[known].1 <= FEW {
            *had = with;
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
        self.fold(network, record, session)
    }

    fn fold(&mut self, network: IpAddr, record: Record, session: Option<String>) -> Option<Record> {
        let folded = Record {
            direction: record.direction,
            country: record.country,
            customer: record.customer,
            session: session.clone(),
            count: record.count,
            folds: true,
            ..Record::new(record.time, network, record.status, &record.stage, &record.reason)
        };
        let kind = Kind {
            network,
            direction: folded.direction.clone(),
            status: folded.status,
            stage: folded.stage.clone(),
            reason: folded.reason.clone(),
            session,
        };
        if let Some(waiting) = self.waiting.get_mut(&kind) {
            waiting.count = waiting.count.saturating_add(folded.count);
            waiting.time = folded.time;
        } else if self.waiting.len() < WAITING {
            self.waiting.insert(kind, folded);
        } else {
            return Some(folded);
        }
        None
    }

    /// What was folded since the last time.
    pub fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}

/// What an entry takes, about.
fn bytes(record: &Record) -> usize {
    let texts = [
        &record.country,
        &record.sender,
        &record.recipient,
        &record.rule,
        &record.reply,
        &record.helo,
        &record.tls,
        &record.reputation,
        &record.spf,
        &record.session,
        &record.reference,
        &record.customer,
        &record.backend,
        &record.message_id,
        &record.from,
        &record.subject,
    ];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    FRAME + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn record(time: u64, reason: &str, session: &str, length: usize) -> Record {
        Record {
            sender: Some("a@b.example".to_owned()),
            recipient: Some("x".repeat(length)),
            session: Some(session.to_owned()),
            reference: Some(format!("{session}-1")),
            ..Record::new(time, CLIENT, Status::Permanent, "relay", reason)
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
            folding.take().into_iter().map(|one| (one.reason, one.count > 0)).collect();
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

    #[test]
    fn thousands_of_delivered_messages_stand_by_themselves() {
        let mut folding = Folding::default();
        let delivered = |_| Record { status: Status::Delivered, ..record(0, "accepted", "S", 100) };
        assert_eq!(kept(&mut folding, 10_000, delivered), 10_000);
        let kept = kept(&mut folding, 200_000, delivered);
        assert!(kept < 110_000, "{kept}");
    }
}
