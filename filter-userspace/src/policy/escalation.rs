//! From offences in SMTP to a temporary block of the address in the kernel, which doubles;
//! or, for a client that also delivers mail, to 4xx in SMTP.
//!
//! An offence is what a client did in an established session (see [`super::offences`]); a SYN
//! alone, which anybody can forge, is not one. A number of offences of one kind within a window
//! lead to a block. An address that was blocked before is blocked for twice as long, unless that is
//! long ago.
//!
//! Guessing is judged by the share of recipients that do not exist, since ordinary senders have
//! some of them too. A message that the backend has accepted resets the counts. It also matters who
//! reports that a recipient does not exist ([`super::evidence`]): a report of one backend of
//! several only defers recipients of its own domains.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::clients::{Clients, Open};
use super::evidence::{Evidence, Witness};
use super::offences::{Offence, Sign};
use crate::lists::ClientNetwork;

/// The number of addresses that are remembered, of each kind; the least recently used is forgotten
/// first.
const KEYS: NonZeroUsize = NonZeroUsize::new(131_072).expect("not zero");

/// The number of clients whose recipients are counted, and of those that delivered mail.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The number of those that one IPv6 /48 may have.
const SHARE: usize = 1_024;

/// The number of clients that are deferred.
const DEFERRED: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// From this multiple of the threshold on, guesses are judged by their share alone, however often a
/// message was delivered between them: a guesser may know one valid address.
const PERSISTENT: u32 = 4;

/// The multiple of the threshold from which on a client's bounces are deferred. A host that returns
/// mail with forged senders has thousands of invalid bounces.
const BOUNCES: u32 = 10;

/// The threshold of an offence: a number within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threshold {
    /// The number; 0 means never.
    pub count: u32,
    /// The window.
    pub window: Duration,
}

/// The rules for blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escalation {
    /// Refusals by DNS lists.
    pub reputation: Threshold,
    /// Recipients that do not exist.
    pub dictionary: Threshold,
    /// The share of recipients that do not exist from which on they are guesses, in percent.
    pub dictionary_share: u32,
    /// Recipients of domains that are not served here.
    pub relay: Threshold,
    /// Data before the greeting.
    pub early_talker: Threshold,
    /// Breaches of the protocol.
    pub abuse: Threshold,
    /// Too many connections.
    pub flood: Threshold,
    /// The length of the first block.
    pub first: Duration,
    /// The maximum length of a block.
    pub longest: Duration,
    /// How long a block is remembered after its end, and how long a delivered message counts in a
    /// client's favour.
    pub memory: Duration,
}

impl Escalation {
    /// The threshold of an offence.
    #[must_use]
    pub const fn of(&self, offence: Offence) -> Threshold {
        match offence {
            Offence::Reputation => self.reputation,
            Offence::Dictionary => self.dictionary,
            Offence::Relay => self.relay,
            Offence::EarlyTalker => self.early_talker,
            Offence::Abuse => self.abuse,
            Offence::Flood => self.flood,
        }
    }
}

/// A measure against a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Its address is blocked in the kernel.
    Block(Offence, Duration),
    /// Its recipients are answered 4xx: it guesses, and also delivers mail. With `bounces`, only
    /// those of the null sender are.
    Defer {
        /// Whether only recipients of the null sender are deferred.
        bounces: bool,
        /// How long it lasts.
        time: Duration,
        /// Whose recipients are deferred: those of one backend's domains, or all.
        of: Witness,
    },
}

/// The recipients of a client in a window.
#[derive(Clone, Debug)]
struct Tally {
    since: Instant,
    /// Recipients with a delivered or refused message, or a temporary refusal.
    valid: u32,
    /// Recipients that do not exist, by who reported that.
    evidence: Evidence,
}

/// The offences of all addresses.
#[derive(Debug)]
pub struct Offenders {
    /// The start of the window and the number.
    counts: LruCache<(ClientNetwork, Offence), (Instant, u32)>,
    tallies: Clients<Tally>,
    /// When each client last delivered a message.
    delivered: Clients<Instant>,
    /// How long recipients are deferred; `true` means those of bounces, and a backend those of its
    /// domains.
    deferred: LruCache<(ClientNetwork, bool, Witness), Instant>,
    /// The last block of each address: its length and its end.
    blocks: LruCache<ClientNetwork, (Duration, Instant)>,
    open: Open,
}

impl Default for Offenders {
    fn default() -> Self {
        Self {
            counts: LruCache::new(KEYS),
            tallies: Clients::new(CLIENTS, SHARE),
            delivered: Clients::new(CLIENTS, SHARE),
            deferred: LruCache::new(DEFERRED),
            blocks: LruCache::new(KEYS),
            open: Open::default(),
        }
    }
}

impl Offenders {
    /// Counts what an attempt shows about a client, and returns the measure if that was one too
    /// many. If it shows that a recipient does not exist, `witness` is who reported that.
    pub fn note(
        &mut self,
        rules: &Escalation,
        address: ClientNetwork,
        (sign, witness): (Sign, &Witness),
        now: Instant,
    ) -> Option<Measure> {
        match sign {
            Sign::Nothing => None,
            Sign::Delivered => {
                self.deliver(rules, address, now);
                None
            }
            Sign::Valid => {
                // If all are deferred, as by a mail system that greylists, those that do not exist
                // are still few of them.
                let tally = self.tally(rules.dictionary.window, address, now);
                tally.valid = tally.valid.saturating_add(1);
                None
            }
            Sign::Guess => self.guess(rules, address, witness, now),
            Sign::Backscatter => self.bounce(rules, address, witness, now),
            Sign::Offence(offence) => self.add(rules, address, offence, now),
        }
    }

    /// Notes the number of accepted recipients of a session whose message is under way, and the
    /// number before.
    pub fn note_open(&mut self, address: ClientNetwork, before: usize, open: usize) {
        self.open.change(address, before, open);
    }

    fn tally(&mut self, window: Duration, address: ClientNetwork, now: Instant) -> &mut Tally {
        let new = || Tally { since: now, valid: 0, evidence: Evidence::default() };
        let tally = self.tallies.get_or_insert(address, new);
        if now.duration_since(tally.since) > window {
            *tally = new();
        }
        tally
    }

    /// A message was accepted: the counts are reset, and the recipients that its client named in
    /// the window are compared with it.
    fn deliver(&mut self, rules: &Escalation, address: ClientNetwork, now: Instant) {
        for offence in Offence::ALL {
            self.counts.pop(&(address, offence));
        }
        self.delivered.put(address, now);
        let tally = self.tally(rules.dictionary.window, address, now);
        tally.valid = tally.valid.saturating_add(1);
        tally.evidence.deliver();
    }

    fn guess(
        &mut self,
        rules: &Escalation,
        address: ClientNetwork,
        witness: &Witness,
        now: Instant,
    ) -> Option<Measure> {
        let Threshold { count: limit, window } = rules.dictionary;
        let is_blocked = self.is_blocked(address, now);
        if limit == 0 || is_blocked || self.is_deferred(address, false, witness, now) {
            return None;
        }
        let open = self.open.of(address);
        let tally = self.tally(window, address, now);
        let one = tally.evidence.of(witness);
        one.invalid = one.invalid.saturating_add(1);
        one.run = one.run.saturating_add(1);
        let alone = (one.invalid, one.run);
        let valid = u64::from(tally.valid) + u64::from(open);
        let is_guessing = |(invalid, run): (u32, u32)| {
            let share = (valid + u64::from(invalid)) * u64::from(rules.dictionary_share);
            let mostly = u64::from(invalid) * 100 >= share;
            mostly && (run >= limit || invalid >= limit.saturating_mul(PERSISTENT))
        };
        if is_guessing(tally.evidence.believed()) {
            self.tallies.pop(address);
            if self.delivers(rules, address, now) {
                return Some(self.defer(rules, address, false, &Witness::Own, now));
            }
            return Some(Measure::Block(Offence::Dictionary, self.block(rules, address, now)));
        }
        if *witness == Witness::Own || !is_guessing(alone) {
            return None;
        }
        tally.evidence.of(witness).settle();
        Some(self.defer(rules, address, false, witness, now))
    }

    fn bounce(
        &mut self,
        rules: &Escalation,
        address: ClientNetwork,
        witness: &Witness,
        now: Instant,
    ) -> Option<Measure> {
        let Threshold { count: limit, window } = rules.dictionary;
        if limit == 0 || self.is_deferred(address, true, witness, now) {
            return None;
        }
        let most = limit.saturating_mul(BOUNCES);
        let evidence = &mut self.tally(window, address, now).evidence;
        let one = evidence.of(witness);
        one.bounces = one.bounces.saturating_add(1);
        let alone = one.bounces;
        if evidence.believed_bounces() >= most {
            evidence.settle_bounces();
            return Some(self.defer(rules, address, true, &Witness::Own, now));
        }
        if *witness == Witness::Own || alone < most {
            return None;
        }
        evidence.of(witness).bounces = 0;
        Some(self.defer(rules, address, true, witness, now))
    }

    /// Counts an offence that does not concern recipients.
    fn add(
        &mut self,
        rules: &Escalation,
        address: ClientNetwork,
        offence: Offence,
        now: Instant,
    ) -> Option<Measure> {
        let Threshold { count: limit, window } = rules.of(offence);
        // What a session from before the block still does does not count again.
        if limit == 0 || self.is_blocked(address, now) {
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
        if !offence.drops_senders() && self.delivers(rules, address, now) {
            // The refusal in SMTP is enough.
            return None;
        }
        Some(Measure::Block(offence, self.block(rules, address, now)))
    }

    /// Whether a client has recently delivered mail.
    fn delivers(&self, rules: &Escalation, address: ClientNetwork, now: Instant) -> bool {
        let last = self.delivered.peek(address);
        last.is_some_and(|last| now.saturating_duration_since(*last) <= rules.memory)
    }

    fn is_blocked(&self, address: ClientNetwork, now: Instant) -> bool {
        self.blocks.peek(&address).is_some_and(|(_, end)| now < *end)
    }

    /// Whether recipients of a client are answered 4xx, where `witness` would know the recipients.
    #[must_use]
    pub fn is_deferred(
        &self,
        address: ClientNetwork,
        bounces: bool,
        witness: &Witness,
        now: Instant,
    ) -> bool {
        let is_deferred = |of: &Witness| {
            let until = self.deferred.peek(&(address, bounces, of.clone()));
            until.is_some_and(|until| now < *until)
        };
        is_deferred(&Witness::Own) || is_deferred(witness)
    }

    /// Never longer than the first block: a client that delivers mail must not lose it.
    fn defer(
        &mut self,
        rules: &Escalation,
        address: ClientNetwork,
        bounces: bool,
        of: &Witness,
        now: Instant,
    ) -> Measure {
        let time = rules.first.min(rules.longest);
        self.deferred.put((address, bounces, of.clone()), now + time);
        Measure::Defer { bounces, time, of: of.clone() }
    }

    /// The length of a block that begins now.
    fn block(&mut self, rules: &Escalation, address: ClientNetwork, now: Instant) -> Duration {
        let time = match self.blocks.get(&address).copied() {
            Some((before, end)) if now.duration_since(end) <= rules.memory => {
                before.saturating_mul(2).min(rules.longest)
            }
            _ => rules.first.min(rules.longest),
        };
        self.blocks.put(address, (time, now + time));
        time
    }

    /// Remembers a block from before this daemon, with its length and end.
    pub fn remember(&mut self, address: ClientNetwork, time: Duration, end: Instant) {
        self.blocks.put(address, (time, end));
    }

    /// Remembers a delivery from before this process.
    pub fn remember_delivery(&mut self, address: ClientNetwork, at: Instant) {
        self.delivered.put(address, at);
    }

    /// The clients that delivered mail less than `memory` ago, and how long ago; the most recent
    /// one is last.
    #[must_use]
    pub fn deliveries(&self, now: Instant, memory: Duration) -> Vec<(ClientNetwork, Duration)> {
        let delivered = self
            .delivered
            .iter()
            .map(|(address, at)| (address, now.saturating_duration_since(*at)));
        delivered.filter(|(_, ago)| *ago <= memory).collect()
    }

    /// The blocks that ended by `now`, less than `memory` ago: the length of each, and how long ago
    /// it ended; the most recently used one is last.
    #[must_use]
    pub fn ended(
        &self,
        now: Instant,
        memory: Duration,
    ) -> Vec<(ClientNetwork, Duration, Duration)> {
        let ended = self.blocks.iter().rev().filter_map(|(address, (time, end))| {
            let ago = now.checked_duration_since(*end)?;
            (ago <= memory).then_some((*address, *time, ago))
        });
        ended.collect()
    }

    /// An operator pardons an address: no block, no deferral for anybody's domains, and nothing
    /// counted. Returns the rest of its deferral.
    pub fn pardon(&mut self, address: ClientNetwork, now: Instant) -> Option<Duration> {
        self.forgive(address);
        self.tallies.pop(address);
        for offence in Offence::ALL {
            self.counts.pop(&(address, offence));
        }
        let of = self.deferred.iter().map(|(key, _)| key).filter(|(of, ..)| *of == address);
        let of: Vec<_> = of.cloned().collect();
        let until = of.iter().filter_map(|key| self.deferred.pop(key)?.checked_duration_since(now));
        until.max()
    }

    /// The block of an address is lifted.
    pub fn forgive(&mut self, address: ClientNetwork) {
        self.blocks.pop(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Escalation = Escalation {
        reputation: Threshold { count: 3, window: Duration::from_secs(600) },
        dictionary: Threshold { count: 10, window: Duration::from_secs(600) },
        dictionary_share: 80,
        relay: Threshold { count: 2, window: Duration::from_secs(600) },
        early_talker: Threshold { count: 0, window: Duration::from_secs(600) },
        abuse: Threshold { count: 1, window: Duration::from_secs(600) },
        flood: Threshold { count: 1, window: Duration::from_secs(600) },
        first: Duration::from_secs(300),
        longest: Duration::from_secs(1000),
        memory: Duration::from_secs(5000),
    };

    fn address(last: u8) -> ClientNetwork {
        ClientNetwork::of([192, 0, 2, last].into())
    }

    /// How long an offence blocks.
    fn add(
        offenders: &mut Offenders,
        last: u8,
        offence: Offence,
        now: Instant,
    ) -> Option<Duration> {
        match offenders.note(&RULES, address(last), (Sign::Offence(offence), &Witness::Own), now) {
            Some(Measure::Block(named, time)) => {
                assert_eq!(named, offence);
                Some(time)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn so_many_in_a_window_are_a_block() {
        let mut offenders = Offenders::default();
        let start = Instant::now();
        let mut add =
            |last, offence, at| add(&mut offenders, last, offence, start + Duration::from_secs(at));
        assert_eq!(add(1, Offence::Reputation, 0), None);
        assert_eq!(add(1, Offence::Reputation, 1), None);
        // Others, and other offences, are counted apart.
        assert_eq!(add(2, Offence::Reputation, 1), None);
        assert_eq!(add(1, Offence::Relay, 1), None);
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
            add(&mut offenders, 1, Offence::Abuse, now).unwrap().as_secs()
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
        assert_eq!(add(&mut offenders, 1, Offence::Flood, now), None);
        assert_eq!(add(&mut offenders, 1, Offence::Flood, end), Some(RULES.first * 2));
        offenders.forgive(address(1));
        assert_eq!(add(&mut offenders, 1, Offence::Flood, now), Some(RULES.first));
    }

    /// The measure after a number of signs, one after the other.
    fn note(offenders: &mut Offenders, sign: Sign, times: u32, now: Instant) -> Vec<Measure> {
        by(offenders, &Witness::Own, sign, times, now)
    }

    /// The same with another witness.
    fn by(
        offenders: &mut Offenders,
        witness: &Witness,
        sign: Sign,
        times: u32,
        now: Instant,
    ) -> Vec<Measure> {
        let note = |_| offenders.note(&RULES, address(1), (sign, witness), now);
        (0..times).filter_map(note).collect()
    }

    #[test]
    fn recipients_of_a_message_under_way_are_weighed() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        let limit = RULES.dictionary.count;
        offenders.note_open(address(1), 0, 1000);
        assert_eq!(note(&mut offenders, Sign::Guess, limit * 2, now), []);
        // Another session's recipients count as well, but only while its message is under way.
        offenders.note_open(address(1), 0, 10);
        offenders.note_open(address(1), 1000, 0);
        offenders.note_open(address(1), 10, 0);
        assert_eq!(note(&mut offenders, Sign::Guess, 1, now), [BLOCK]);
        assert_eq!(offenders.open.of(address(1)), 0);
    }

    const BLOCK: Measure = Measure::Block(Offence::Dictionary, RULES.first);
    const DEFER: Measure = Measure::Defer { bounces: false, time: RULES.first, of: Witness::Own };

    #[test]
    fn guesses_of_a_stranger_are_a_block() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        assert_eq!(note(&mut offenders, Sign::Guess, 9, now), []);
        assert_eq!(note(&mut offenders, Sign::Guess, 1, now), [BLOCK]);
        // What it still does does not count again.
        assert_eq!(note(&mut offenders, Sign::Guess, 100, now), []);
    }

    #[test]
    fn guessing_is_a_share_and_a_message_resets_the_count() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        // Thousands of valid recipients, and one in twenty that does not exist.
        for _ in 0..200 {
            assert_eq!(note(&mut offenders, Sign::Delivered, 19, now), []);
            assert_eq!(note(&mut offenders, Sign::Guess, 1, now), []);
        }
        // A long list of dead addresses at the end of a day of good mail.
        assert_eq!(note(&mut offenders, Sign::Guess, 500, now), []);
        // Other clients have delivered nothing else recently.
        let mut offenders = Offenders::default();
        for _ in 0..3 {
            assert_eq!(note(&mut offenders, Sign::Guess, 9, now), []);
            assert_eq!(note(&mut offenders, Sign::Delivered, 1, now), []);
        }
    }

    #[test]
    fn recipients_that_are_to_come_again_are_not_guesses() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(note(&mut offenders, Sign::Valid, 19, now), []);
            assert_eq!(note(&mut offenders, Sign::Guess, 1, now), []);
        }
    }

    #[test]
    fn a_client_that_delivers_is_deferred_and_never_dropped() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        note(&mut offenders, Sign::Delivered, 1, now);
        assert_eq!(note(&mut offenders, Sign::Guess, 100, now), [DEFER]);
        assert!(offenders.is_deferred(address(1), false, &Witness::Own, now));
        assert!(!offenders.is_deferred(address(1), true, &Witness::Own, now));
        assert!(!offenders.is_deferred(address(2), false, &Witness::Own, now));
        // It ends, and does not double; the mail of an hour ago still counts in its favour.
        let later = now + RULES.first;
        assert!(!offenders.is_deferred(address(1), false, &Witness::Own, later));
        assert_eq!(note(&mut offenders, Sign::Guess, 100, later), [DEFER]);
        // A day is over.
        let late = now + RULES.memory + Duration::from_secs(1);
        assert_eq!(note(&mut offenders, Sign::Guess, 10, late), [BLOCK]);
        // The same holds for what others send through a client.
        let mut offenders = Offenders::default();
        note(&mut offenders, Sign::Delivered, 1, now);
        for offence in [Offence::Relay, Offence::Flood] {
            assert_eq!(note(&mut offenders, Sign::Offence(offence), 100, now), []);
        }
        let blocked = note(&mut offenders, Sign::Offence(Offence::Abuse), 1, now);
        assert_eq!(blocked, [Measure::Block(Offence::Abuse, RULES.first)]);
    }

    #[test]
    fn one_known_address_does_not_excuse_guessing() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        let mut measures = Vec::new();
        for _ in 0..5 {
            measures.extend(note(&mut offenders, Sign::Guess, 9, now));
            measures.extend(note(&mut offenders, Sign::Delivered, 1, now));
        }
        assert_eq!(measures, [DEFER]);
    }

    #[test]
    fn bounces_block_nobody_and_are_deferred_only_by_the_hundred() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        assert_eq!(note(&mut offenders, Sign::Backscatter, 99, now), []);
        let deferred = note(&mut offenders, Sign::Backscatter, 1000, now);
        assert_eq!(
            deferred,
            [Measure::Defer { bounces: true, time: RULES.first, of: Witness::Own }]
        );
        assert!(!offenders.is_deferred(address(1), false, &Witness::Own, now), "its mail is not");
        assert_eq!(note(&mut offenders, Sign::Guess, 9, now), [], "they are not guesses");
    }

    /// One of several backends that reports every recipient as unknown.
    #[test]
    fn one_backend_of_several_holds_up_its_own_mail_alone() {
        let [liar, honest] = ["liar", "honest"].map(|name| Witness::Backend(name.into()));
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        let deferred =
            |of: &Witness| Measure::Defer { bounces: false, time: RULES.first, of: of.clone() };
        for round in 0..3 {
            // A stranger's mail, and then that of a client that has delivered some elsewhere.
            assert_eq!(by(&mut offenders, &liar, Sign::Guess, 9, now), [], "{round}");
            assert_eq!(by(&mut offenders, &liar, Sign::Guess, 90, now), [deferred(&liar)]);
            assert!(offenders.is_deferred(address(1), false, &liar, now));
            for other in [&honest, &Witness::Own] {
                assert!(!offenders.is_deferred(address(1), false, other, now));
            }
            // A few recipients that others do not know either do not make it a guesser.
            assert_eq!(by(&mut offenders, &honest, Sign::Guess, 1, now), []);
            // An operator lifts the deferral.
            assert_eq!(offenders.pardon(address(1), now), Some(RULES.first));
            assert!(!offenders.is_deferred(address(1), false, &liar, now));
            assert_eq!(by(&mut offenders, &honest, Sign::Delivered, 1, now), []);
        }
        // Its reports about bounces do not count for everybody either.
        let bounces = by(&mut offenders, &liar, Sign::Backscatter, 1000, now);
        assert_eq!(
            bounces,
            [Measure::Defer { bounces: true, time: RULES.first, of: liar.clone() }]
        );
        assert!(!offenders.is_deferred(address(1), true, &honest, now));
    }

    #[test]
    fn what_two_backends_say_or_a_list_bears_out_is_believed() {
        let [one, other] = ["one", "other"].map(|name| Witness::Backend(name.into()));
        for delivered in [0, 1] {
            let (mut offenders, now) = (Offenders::default(), Instant::now());
            note(&mut offenders, Sign::Delivered, delivered, now);
            let is_known = if delivered > 0 { DEFER } else { BLOCK };
            assert_eq!(by(&mut offenders, &one, Sign::Guess, 5, now), []);
            assert_eq!(by(&mut offenders, &other, Sign::Guess, 5, now), [is_known]);
        }
        // Even if the first has deferred it before.
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        assert_eq!(by(&mut offenders, &one, Sign::Guess, 10, now).len(), 1);
        assert_eq!(by(&mut offenders, &other, Sign::Guess, 4, now), []);
        assert_eq!(by(&mut offenders, &other, Sign::Guess, 1, now), [BLOCK]);
        // And lists are believed whatever backends report.
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        assert_eq!(by(&mut offenders, &one, Sign::Guess, 4, now), []);
        assert_eq!(note(&mut offenders, Sign::Guess, 5, now), []);
        assert_eq!(note(&mut offenders, Sign::Guess, 1, now), [BLOCK]);
    }

    #[test]
    fn an_accepted_message_resets_every_count() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        for offence in [Offence::Reputation, Offence::Relay] {
            for _ in 0..10 {
                assert_eq!(note(&mut offenders, Sign::Offence(offence), 1, now), []);
                assert_eq!(note(&mut offenders, Sign::Delivered, 1, now), []);
            }
        }
    }

    /// A message, or a guess, from each network of a /48 makes nobody else a stranger.
    #[test]
    fn who_has_many_networks_has_nobody_forgotten() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        assert_eq!(note(&mut offenders, Sign::Delivered, 1, now), []);
        for number in 0..=u16::MAX {
            let network = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, 0);
            let network = ClientNetwork::of(network.into());
            offenders.note(&RULES, network, (Sign::Delivered, &Witness::Own), now);
            offenders.note(&RULES, network, (Sign::Guess, &Witness::Own), now);
        }
        assert_eq!(note(&mut offenders, Sign::Guess, 10, now), [DEFER]);
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
