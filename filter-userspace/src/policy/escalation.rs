//! From offences in SMTP to a block of the address in the kernel, for a time that
//! doubles.
//!
//! An offence is what a client did in a session that stood; a SYN alone, which
//! anybody can forge, is none. So many of a kind in a window are a block. An
//! address that was blocked before is blocked for twice as long, unless that is
//! long ago.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// Addresses that are remembered, of each kind; the longest unused is forgotten
/// first.
const KEYS: NonZeroUsize = NonZeroUsize::new(131_072).expect("not zero");

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// It was refused for what DNS lists say of its address.
    Reputation,
    /// It named a recipient that is not there.
    Dictionary,
    /// It spoke before the greeting.
    EarlyTalker,
    /// It broke the protocol as no mail system does.
    Abuse,
    /// It opened more connections than it may have.
    Flood,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Reputation, Self::Dictionary, Self::EarlyTalker, Self::Abuse, Self::Flood];

    /// Its name in the configuration and in lists of blocks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reputation => "reputation",
            Self::Dictionary => "dictionary",
            Self::EarlyTalker => "early_talker",
            Self::Abuse => "abuse",
            Self::Flood => "flood",
        }
    }
}

/// How many of an offence in which time are a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threshold {
    /// How many; 0 is never.
    pub count: u32,
    /// In which time.
    pub window: Duration,
}

/// When addresses are blocked, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escalation {
    /// Refusals by DNS lists.
    pub reputation: Threshold,
    /// Recipients that are not there.
    pub dictionary: Threshold,
    /// Talk before the greeting.
    pub early_talker: Threshold,
    /// Breaches of the protocol.
    pub abuse: Threshold,
    /// Connections too many.
    pub flood: Threshold,
    /// How long the first block lasts.
    pub first: Duration,
    /// How long a block lasts at most.
    pub longest: Duration,
    /// How long after its end a block is remembered.
    pub memory: Duration,
}

impl Escalation {
    /// The threshold of an offence.
    #[must_use]
    pub const fn of(&self, offence: Offence) -> Threshold {
        match offence {
            Offence::Reputation => self.reputation,
            Offence::Dictionary => self.dictionary,
            Offence::EarlyTalker => self.early_talker,
            Offence::Abuse => self.abuse,
            Offence::Flood => self.flood,
        }
    }
}

/// The offences of all addresses.
#[derive(Debug)]
pub struct Offenders {
    /// Since when, and how many.
    counts: LruCache<(IpAddr, Offence), (Instant, u32)>,
    /// The last block of each: how long it was, and when it ends.
    blocks: LruCache<IpAddr, (Duration, Instant)>,
}

impl Default for Offenders {
    fn default() -> Self {
        Self { counts: LruCache::new(KEYS), blocks: LruCache::new(KEYS) }
    }
}

impl Offenders {
    /// Counts an offence; for how long the address is blocked for it, if that was
    /// one too many. Its count begins anew then.
    pub fn add(
        &mut self,
        rules: &Escalation,
        address: IpAddr,
        offence: Offence,
        now: Instant,
    ) -> Option<Duration> {
        let Threshold { count: limit, window } = rules.of(offence);
        let block = self.blocks.get(&address).copied();
        // What a session still does that stood before the block is not one more.
        if limit == 0 || block.is_some_and(|(_, end)| now < end) {
            return None;
        }
        let key = (address, offence);
        let (since, count) = self
            .counts
            .get(&key)
            .copied()
            .filter(|(since, _)| now.duration_since(*since) <= window)
            .unwrap_or((now, 0));
        if count + 1 < limit {
            self.counts.put(key, (since, count + 1));
            return None;
        }
        self.counts.pop(&key);
        let time = match block {
            Some((before, end)) if now.duration_since(end) <= rules.memory => {
                before.saturating_mul(2).min(rules.longest)
            }
            _ => rules.first.min(rules.longest),
        };
        self.blocks.put(address, (time, now + time));
        Some(time)
    }

    /// A block that stands since before this daemon: how long it was, and ends.
    pub fn remember(&mut self, address: IpAddr, time: Duration, end: Instant) {
        self.blocks.put(address, (time, end));
    }

    /// The blocks that have ended by `now`, less than `memory` ago: how long each was, and
    /// how long ago it ended; the one that was used last comes last.
    #[must_use]
    pub fn ended(&self, now: Instant, memory: Duration) -> Vec<(IpAddr, Duration, Duration)> {
        let ended = self.blocks.iter().rev().filter_map(|(address, (time, end))| {
            let ago = now.checked_duration_since(*end)?;
            (ago <= memory).then_some((*address, *time, ago))
        });
        ended.collect()
    }

    /// An operator has lifted the block of an address.
    pub fn forgive(&mut self, address: IpAddr) {
        self.blocks.pop(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Escalation = Escalation {
        reputation: Threshold { count: 3, window: Duration::from_secs(600) },
        dictionary: Threshold { count: 2, window: Duration::from_secs(600) },
        early_talker: Threshold { count: 0, window: Duration::from_secs(600) },
        abuse: Threshold { count: 1, window: Duration::from_secs(600) },
        flood: Threshold { count: 1, window: Duration::from_secs(600) },
        first: Duration::from_secs(300),
        longest: Duration::from_secs(1000),
        memory: Duration::from_secs(5000),
    };

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn so_many_in_a_window_are_a_block() {
        let mut offenders = Offenders::default();
        let start = Instant::now();
        let mut add = |last, offence, at| {
            offenders.add(&RULES, address(last), offence, start + Duration::from_secs(at))
        };
        assert_eq!(add(1, Offence::Reputation, 0), None);
        assert_eq!(add(1, Offence::Reputation, 1), None);
        // Others, and other offences, are counted apart.
        assert_eq!(add(2, Offence::Reputation, 1), None);
        assert_eq!(add(1, Offence::Dictionary, 1), None);
        assert_eq!(add(1, Offence::Reputation, 600), Some(RULES.first));
        // The window has passed.
        assert_eq!(add(2, Offence::Reputation, 700), None);
        assert_eq!(add(2, Offence::Reputation, 701), None);
        assert_eq!(add(2, Offence::Reputation, 702), Some(RULES.first));
        // It begins anew.
        assert_eq!(add(2, Offence::Reputation, 703), None);
        // Never.
        assert_eq!(add(3, Offence::EarlyTalker, 0), None);
    }

    #[test]
    fn blocks_double_up_to_the_longest_and_are_forgotten() {
        let mut offenders = Offenders::default();
        let start = Instant::now();
        let mut block = |at| {
            let now = start + Duration::from_secs(at);
            offenders.add(&RULES, address(1), Offence::Abuse, now).unwrap().as_secs()
        };
        assert_eq!(block(0), 300);
        assert_eq!(block(301), 600);
        assert_eq!(block(5000), 1000);
        assert_eq!(block(7000), 1000);
        assert_eq!(block(7000 + 1000 + 5001), 300);
    }

    #[test]
    fn a_block_from_before_counts_once_it_is_over() {
        let mut offenders = Offenders::default();
        let now = Instant::now();
        let end = now + Duration::from_secs(10);
        offenders.remember(address(1), RULES.first, end);
        assert_eq!(offenders.add(&RULES, address(1), Offence::Flood, now), None);
        assert_eq!(offenders.add(&RULES, address(1), Offence::Flood, end), Some(RULES.first * 2));
        offenders.forgive(address(1));
        assert_eq!(offenders.add(&RULES, address(1), Offence::Flood, now), Some(RULES.first));
    }

    #[test]
    fn what_has_ended_can_be_kept_for_the_next_daemon() {
        let mut offenders = Offenders::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        offenders.remember(address(1), RULES.first, after(10));
        offenders.remember(address(2), RULES.first * 2, after(20));
        offenders.remember(address(3), RULES.first, after(100));
        let ended = offenders.ended(after(30), Duration::from_secs(15));
        assert_eq!(ended, [(address(2), RULES.first * 2, Duration::from_secs(10))]);
        assert_eq!(offenders.ended(after(30), RULES.memory).len(), 2);
    }
}
