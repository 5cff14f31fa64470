//! The cache: bounded in bytes, with a share for each client network, so that nobody can take all
//! the memory or push out what others' mail needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dns::{Answer, Query};

/// The largest answer that is cached, in bytes. SPF records are smaller (RFC 7208 section 3.4); a
/// larger answer costs its sender a query each time.
const LARGEST: usize = 4096;

/// How long an answer is cached at most, whatever its TTL is.
const LONGEST: Duration = Duration::from_hours(1);

/// The overhead of an answer besides its name and records: its entries in the tables.
const PLACES: usize = 400;

/// A client network's share, as a fraction of the whole.
const SHARE: usize = 16;

/// Cached answers.
#[derive(Debug)]
pub(super) struct Cache {
    most_answers: usize,
    most_bytes: usize,
    bytes: usize,
    serial: u64,
    entries: HashMap<Arc<Query>, Entry>,
    owners: HashMap<IpAddr, Owner>,
    /// Owners by their size.
    by_bytes: BTreeSet<(usize, IpAddr)>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    until: Instant,
    bytes: usize,
    owner: IpAddr,
    serial: u64,
}

/// A client network, and what is cached for it, the oldest first.
#[derive(Debug, Default)]
struct Owner {
    bytes: usize,
    queries: BTreeMap<u64, Arc<Query>>,
}

impl Cache {
    /// An empty cache with a maximum number of answers and bytes.
    pub(super) fn new(most_answers: usize, most_bytes: usize) -> Self {
        Self {
            most_answers,
            most_bytes,
            bytes: 0,
            serial: 0,
            entries: HashMap::new(),
            owners: HashMap::new(),
            by_bytes: BTreeSet::new(),
        }
    }

    /// The cached answer to a query, with its remaining time.
    pub(super) fn get(&mut self, query: &Query, now: Instant) -> Option<Answer> {
        let entry = self.entries.get(query)?;
        let ttl = entry.until.saturating_duration_since(now);
        if ttl.is_zero() {
            self.remove(query);
            return None;
        }
        Some(Answer { ttl, ..entry.answer.clone() })
    }

    /// Caches an answer on the account of a client network. If the network exceeds its share, its
    /// own oldest answers are dropped; if all together exceed the bound, those of the largest
    /// owner.
    pub(super) fn add(&mut self, query: &Query, answer: &Answer, owner: IpAddr, now: Instant) {
        self.remove(query);
        let octets = answer.octets();
        let bytes = PLACES + query.name.len() + octets;
        let share = self.most_bytes / SHARE;
        if octets > LARGEST || bytes > share || answer.ttl.is_zero() || self.most_answers == 0 {
            return;
        }
        while self.owners.get(&owner).is_some_and(|own| own.bytes + bytes > share) {
            self.remove_oldest_of(owner);
        }
        while self.bytes + bytes > self.most_bytes || self.entries.len() >= self.most_answers {
            let Some((_, heaviest)) = self.by_bytes.last().copied() else { return };
            self.remove_oldest_of(heaviest);
        }
        self.serial += 1;
        let (query, serial) = (Arc::new(query.clone()), self.serial);
        let until = now + answer.ttl.min(LONGEST);
        let entry = Entry { answer: answer.clone(), until, bytes, owner, serial };
        self.entries.insert(query.clone(), entry);
        self.owners.entry(owner).or_default().queries.insert(serial, query);
        self.weigh(owner, bytes, 0);
    }

    /// Forgets the answer to a query.
    pub(super) fn remove(&mut self, query: &Query) {
        let Some(entry) = self.entries.remove(query) else { return };
        if let Some(owner) = self.owners.get_mut(&entry.owner) {
            owner.queries.remove(&entry.serial);
        }
        self.weigh(entry.owner, 0, entry.bytes);
    }

    /// Forgets the names of a zone.
    pub(super) fn remove_below(&mut self, zone: &str) {
        let is_below = |name: &str| {
            name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let queries: Vec<_> =
            self.entries.keys().filter(|query| is_below(&query.name)).cloned().collect();
        for query in queries {
            self.remove(&query);
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most_answers, self.most_bytes);
    }

    fn remove_oldest_of(&mut self, owner: IpAddr) {
        let oldest = self.owners.get(&owner).and_then(|owner| owner.queries.values().next());
        match oldest.cloned() {
            Some(query) => self.remove(&query),
            None => self.weigh(owner, 0, usize::MAX),
        }
    }

    /// Updates the size of an owner; an owner without answers is removed.
    fn weigh(&mut self, address: IpAddr, more: usize, less: usize) {
        let Some(owner) = self.owners.get_mut(&address) else { return };
        let before = owner.bytes;
        self.by_bytes.remove(&(before, address));
        owner.bytes = (before + more).saturating_sub(less);
        self.bytes = (self.bytes + owner.bytes).saturating_sub(before);
        if owner.queries.is_empty() {
            self.owners.remove(&address);
        } else {
            self.by_bytes.insert((owner.bytes, address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Record, RecordType};

    fn txt(bytes: usize) -> Answer {
        let records = vec![Record::Txt(vec![b'x'; bytes])];
        Answer { records, exists: true, ttl: Duration::from_hours(24) }
    }

    fn query(number: usize) -> Query {
        Query::new(&format!("d{number}.example"), RecordType::Txt)
    }

    fn client(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    #[test]
    fn no_answer_is_remembered_beyond_an_hour_or_four_kilobytes() {
        let mut cache = Cache::new(1000, 1 << 20);
        let now = Instant::now();
        cache.add(&query(1), &txt(4000), client(1), now);
        cache.add(&query(2), &txt(5000), client(1), now);
        assert!(cache.get(&query(1), now).is_some_and(|answer| answer.ttl == LONGEST));
        assert!(cache.get(&query(2), now).is_none());
        assert!(cache.get(&query(1), now + LONGEST).is_none());
        assert_eq!((cache.bytes, cache.owners.len(), cache.by_bytes.len()), (0, 0, 0));
        // A new answer is counted once.
        for bytes in [100, 3000, 200] {
            cache.add(&query(1), &txt(bytes), client(1), now);
        }
        assert_eq!(cache.bytes, PLACES + 10 + txt(200).octets());
    }

    #[test]
    fn one_client_cannot_push_out_anothers_answers() {
        let mut cache = Cache::new(100_000, 1 << 20);
        let now = Instant::now();
        cache.add(&query(0), &txt(100), client(1), now);
        for number in 1..2000 {
            cache.add(&query(number), &txt(4000), client(2), now);
            assert!(cache.bytes <= 1 << 20);
        }
        assert!(cache.get(&query(0), now).is_some());
        assert!(cache.owners[&client(2)].bytes <= (1 << 20) / SHARE);
        assert!(cache.get(&query(1999), now).is_some(), "its newest stay");
        // Nor can many clients, as long as it has less than each of them.
        for number in 2000..10_000 {
            let network = client(u8::try_from(3 + number % 200).unwrap());
            cache.add(&query(number), &txt(4000), network, now);
            assert!(cache.bytes <= 1 << 20);
        }
        assert!(cache.get(&query(0), now).is_some());
        let sum: usize = cache.owners.values().map(|owner| owner.bytes).sum();
        assert_eq!((sum, cache.owners.len()), (cache.bytes, cache.by_bytes.len()));
    }

    #[test]
    fn a_zone_and_everything_can_be_forgotten() {
        let mut cache = Cache::new(3, 1 << 20);
        let now = Instant::now();
        for (number, name) in ["1.bl.example", "bl.example", "xbl.example"].iter().enumerate() {
            let owner = client(u8::try_from(number).unwrap());
            cache.add(&Query::new(name, RecordType::A), &txt(1), owner, now);
        }
        cache.remove_below("bl.example");
        assert_eq!(cache.entries.len(), 1);
        cache.clear();
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
        // The number of answers has a bound too; zero means no cache.
        for number in 0..9 {
            cache.add(&query(number), &txt(1), client(1), now);
        }
        assert_eq!(cache.entries.len(), 3);
        let mut none = Cache::new(0, 1 << 20);
        none.add(&query(1), &txt(1), client(1), now);
        assert!(none.entries.is_empty());
    }
}
