//! The layout of every map and event that crosses the kernel's edge.
//!
//! All structs are `repr(C)`, hold integers and byte arrays only, have no
//! padding, and have their sizes asserted here: a change of layout is a change
//! of [`VERSION`], and the pin directory is named by it.

use crate::class::{Class, ClassSet, Enforcement};
use crate::frame::{Address, Family, Syn};
use crate::reason::Reason;
use crate::verdict::decide;

/// The version of everything in this module. Kernel objects of another version
/// are replaced, never adopted.
pub const VERSION: u8 = 1;

/// The map names, as they stand in the object file and in the pin directory.
pub mod maps {
    /// One [`super::Selector`]: which slots are in force.
    pub const SELECTOR: &str = "SELECTOR";
    /// Two [`super::Settings`], one in force.
    pub const SETTINGS: &str = "SETTINGS";
    /// The IPv4 verdict tables, by [`super::slots`].
    pub const LISTS_V4: &str = "LISTS_V4";
    /// The IPv6 verdict tables, by [`super::slots`].
    pub const LISTS_V6: &str = "LISTS_V6";
    /// [`super::SourceKey`] to [`super::TemporaryBlock`].
    pub const TEMPORARY: &str = "TEMPORARY";
    /// [`super::SourceKey`] to the theoretical arrival time of the next SYN.
    pub const SYN_RATE: &str = "SYN_RATE";
    /// Frames by [`super::counter_index`], one set for each CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// One [`super::Sampler`] for each CPU.
    pub const SAMPLER: &str = "SAMPLER";
    /// The ring of [`super::Event`].
    pub const EVENTS: &str = "EVENTS";

    /// The maps that outlive the daemon.
    pub const PINNED: [&str; 9] =
        [SELECTOR, SETTINGS, LISTS_V4, LISTS_V6, TEMPORARY, SYN_RATE, COUNTERS, SAMPLER, EVENTS];
}

/// The entry point's name in the object file.
pub const PROGRAM: &str = "mxdp";

/// Which inner map of `LISTS_V4` and `LISTS_V6` holds what.
///
/// Two kinds of table, the compiled files and the runtime entries, have two
/// slots each: one in force, one to build the next generation in. The last slot
/// is never read by the program; see the daemon's grace period.
pub mod slots {
    /// The inner maps of each family.
    pub const COUNT: u32 = 5;
    /// The slots of the compiled list files and countries.
    pub const FILES: [u32; 2] = [0, 1];
    /// The slots of the runtime entries.
    pub const RUNTIME: [u32; 2] = [2, 3];
    /// Written only to wait for running programs to end.
    pub const GRACE: u32 = 4;
}

/// The word that puts a generation in force: which slot of settings, files
/// and runtime entries is read, and which tables are worth a lookup.
///
/// The program reads it once for each SYN, so that a SYN sees one generation. It
/// is one byte, so that however the kernel copies it, no reader sees half of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Selector(u8);

impl Selector {
    const VALID: u8 = 1 << 0;
    const SETTINGS: u8 = 1 << 1;
    const FILES: u8 = 1 << 2;
    const RUNTIME: u8 = 1 << 3;
    const FILES_V4: u8 = 1 << 4;
    const FILES_V6: u8 = 1 << 5;
    const RUNTIME_V4: u8 = 1 << 6;
    const RUNTIME_V6: u8 = 1 << 7;

    /// The word of a map that nobody has written: no tables.
    pub const NONE: Self = Self(0);

    /// The word as it stands in the map.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The word as it stands in the map.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether a generation is in force.
    #[must_use]
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// The index into `SETTINGS`.
    #[must_use]
    #[inline(always)]
    pub const fn settings(self) -> u32 {
        (self.0 & Self::SETTINGS != 0) as u32
    }

    /// The slot of the compiled files, 0 or 1 of [`slots::FILES`].
    #[must_use]
    #[inline(always)]
    pub const fn files(self) -> u32 {
        (self.0 & Self::FILES != 0) as u32
    }

    /// The slot of the runtime entries, 0 or 1 of [`slots::RUNTIME`].
    #[must_use]
    #[inline(always)]
    pub const fn runtime(self) -> u32 {
        (self.0 & Self::RUNTIME != 0) as u32
    }

    /// Whether the compiled files name any address of `family`.
    #[must_use]
    #[inline(always)]
    pub const fn has_files(self, family: Family) -> bool {
        match family {
            Family::Other => false,
            Family::V4 => self.0 & Self::FILES_V4 != 0,
            Family::V6 => self.0 & Self::FILES_V6 != 0,
        }
    }

    /// Whether the runtime entries name any address of `family`.
    #[must_use]
    #[inline(always)]
    pub const fn has_runtime(self, family: Family) -> bool {
        match family {
            Family::Other => false,
            Family::V4 => self.0 & Self::RUNTIME_V4 != 0,
            Family::V6 => self.0 & Self::RUNTIME_V6 != 0,
        }
    }

    /// The word with the settings of `slot` in force.
    #[must_use]
    pub const fn with_settings(self, slot: u32) -> Self {
        self.with(Self::VALID, true).with(Self::SETTINGS, slot != 0)
    }

    /// The word with the files of `slot` in force, which hold IPv4 or IPv6
    /// entries or both.
    #[must_use]
    pub const fn with_files(self, slot: u32, v4: bool, v6: bool) -> Self {
        self.with(Self::FILES, slot != 0).with(Self::FILES_V4, v4).with(Self::FILES_V6, v6)
    }

    /// The word with the runtime entries of `slot` in force, which hold IPv4 or
    /// IPv6 entries or both.
    #[must_use]
    pub const fn with_runtime(self, slot: u32, v4: bool, v6: bool) -> Self {
        self.with(Self::RUNTIME, slot != 0).with(Self::RUNTIME_V4, v4).with(Self::RUNTIME_V6, v6)
    }

    const fn with(self, bit: u8, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// A limit on the SYNs of one source, as a generic cell rate (GCRA): a bucket
/// of `burst` SYNs that refills one SYN every `interval_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SynRate {
    /// Nanoseconds between two SYNs at the sustained rate; 0 is no limit.
    pub interval_ns: u64,
    /// How far ahead of the sustained rate a source may run, in nanoseconds:
    /// (burst - 1) intervals.
    pub tolerance_ns: u64,
}

const _: () = assert!(size_of::<SynRate>() == 16);

impl SynRate {
    /// Admits a SYN at `now_ns` from a source whose next one is due at `due_ns`
    /// (its theoretical arrival time), and says when the next one is due then;
    /// `None` if the SYN is over the rate.
    #[must_use]
    #[inline(always)]
    pub const fn admit(&self, due_ns: u64, now_ns: u64) -> Option<u64> {
        if due_ns <= now_ns {
            return Some(now_ns + self.interval_ns);
        }
        // A due time beyond what this rate gives out was left by a slower rate.
        if due_ns - now_ns > self.tolerance_ns {
            return None;
        }
        Some(due_ns + self.interval_ns)
    }
}

/// What a generation says beside its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// The generation's number, for people.
    pub generation: u64,
    /// The limit for each IPv4 /32.
    pub syn_rate_v4: SynRate,
    /// The limit for each IPv6 /64.
    pub syn_rate_v6: SynRate,
    /// Sampled events a second and CPU; 0 is none.
    pub events_per_second: u32,
    enforcement: [u8; 8],
    reserved: [u8; 4],
    /// What [`decide`] says of each set of classes: a reason's code, or
    /// [`UNDECIDED`], and the observed classes.
    decisions: [[u8; 2]; CLASS_SETS],
    ports: [u64; 1024],
}

const _: () = assert!(size_of::<Settings>() == 8 + 32 + 16 + 64 + 8192);
const _: () = assert!(Class::COUNT <= 8);

const CLASS_SETS: usize = 1 << Class::COUNT;
const UNDECIDED: u8 = u8::MAX;

impl Settings {
    /// Settings that protect no port.
    #[must_use]
    pub fn new(generation: u64) -> Self {
        let mut settings = Self {
            generation,
            syn_rate_v4: SynRate { interval_ns: 0, tolerance_ns: 0 },
            syn_rate_v6: SynRate { interval_ns: 0, tolerance_ns: 0 },
            events_per_second: 0,
            enforcement: [0; 8],
            reserved: [0; 4],
            decisions: [[UNDECIDED, 0]; CLASS_SETS],
            ports: [0; 1024],
        };
        settings.decide_all();
        settings
    }

    /// Protects `port`.
    pub const fn protect(&mut self, port: u16) {
        self.ports[(port >> 6) as usize] |= 1 << (port & 63);
    }

    /// Whether SYNs to `port` are judged.
    #[must_use]
    #[inline(always)]
    pub const fn protects(&self, port: u16) -> bool {
        // The index is below 1024 by its type, which the verifier sees.
        self.ports[(port >> 6) as usize] >> (port & 63) & 1 != 0
    }

    /// The protected ports in rising order.
    pub fn protected_ports(&self) -> impl Iterator<Item = u16> {
        (0..=u16::MAX).filter(|port| self.protects(*port))
    }

    /// Sets what happens to the SYNs of a class.
    pub fn enforce(&mut self, class: Class, enforcement: Enforcement) {
        self.enforcement[class as usize] = enforcement as u8;
        self.decide_all();
    }

    /// Works out the hierarchy for every set of classes once, so that the kernel
    /// program looks it up instead of walking it.
    fn decide_all(&mut self) {
        for (bits, slot) in (0_u8..).zip(&mut self.decisions) {
            let enforcement = &self.enforcement;
            let decision = decide(ClassSet::from_bits(bits), |class| {
                Enforcement::from_bits(enforcement[class as usize])
            });
            let reason = decision.decided.map_or(UNDECIDED, |(_, reason)| reason as u8);
            *slot = [reason, decision.observed.bits()];
        }
    }

    /// What the lists decide for an address of `classes`, and which monitored
    /// classes matched before.
    #[must_use]
    #[inline(always)]
    pub const fn decision(&self, classes: ClassSet) -> (Option<Reason>, ClassSet) {
        let [reason, observed] = self.decisions[classes.bits() as usize % CLASS_SETS];
        (Reason::from_code(reason), ClassSet::from_bits(observed))
    }

    /// What happens to the SYNs of a class.
    #[must_use]
    #[inline(always)]
    pub const fn enforcement(&self, class: Class) -> Enforcement {
        Enforcement::from_bits(self.enforcement[class as usize])
    }

    /// The SYN rate limit of a family.
    #[must_use]
    #[inline(always)]
    pub const fn syn_rate(&self, family: Family) -> SynRate {
        match family {
            Family::V6 => self.syn_rate_v6,
            Family::V4 | Family::Other => self.syn_rate_v4,
        }
    }
}

/// A source as temporary blocks and rate limits know it: an IPv4 /32 or an
/// IPv6 /64, the smallest network that one party is given (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct SourceKey {
    family: u32,
    prefix: [u8; 8],
}

const _: () = assert!(size_of::<SourceKey>() == 12);

impl SourceKey {
    /// The key of an address.
    #[must_use]
    #[inline(always)]
    pub const fn of(address: &Address) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *address.bytes();
        // An IPv4 address has zeros in the last four of these.
        Self { family: address.family() as u32, prefix: [a, b, c, d, e, f, g, h] }
    }

    /// The first address of the key's network, or `None` if the key is none
    /// that [`SourceKey::of`] makes.
    #[must_use]
    pub const fn network(&self) -> Option<Address> {
        let [a, b, c, d, e, f, g, h] = self.prefix;
        if self.family == Family::V4 as u32 {
            Some(Address::v4([a, b, c, d]))
        } else if self.family == Family::V6 as u32 {
            Some(Address::v6([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0]))
        } else {
            None
        }
    }
}

/// A block that lapses by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TemporaryBlock {
    /// When it lapses: nanoseconds of CLOCK_BOOTTIME.
    pub expires_ns: u64,
    /// When it was made, in the same clock.
    pub created_ns: u64,
    /// Why: a [`TemporaryReason`] code.
    pub reason: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TemporaryBlock>() == 24);

/// Why a source is blocked for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum TemporaryReason {
    /// An operator asked for it.
    Operator = 1,
}

impl TemporaryReason {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
        }
    }

    /// The reason of a code, as read from the map.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Operator),
            _ => None,
        }
    }
}

/// The state of a CPU's event sampling.
///
/// One event stands for `pending` others: the sum of the weights is the number
/// of frames that were worth an event, however few of them were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sampler {
    /// When the running second began: nanoseconds of CLOCK_MONOTONIC, coarse.
    pub window_ns: u64,
    /// The events sent in the running second.
    pub sent: u32,
    /// The frames since the last event that was sent.
    pub pending: u32,
    /// The events that found the ring full, since the map was made.
    pub lost: u64,
}

const _: () = assert!(size_of::<Sampler>() == 24);

impl Sampler {
    /// Takes one more frame and says whether it becomes an event, and of what
    /// weight. `limit` is the events a second.
    ///
    /// Within a second the sampling period doubles after every sixteenth of the
    /// limit, so that a flood's later part is seen as well as its first
    /// millisecond; when the limit is reached, frames are carried to the next
    /// second's first event.
    #[inline(always)]
    pub const fn sample(&mut self, now_ns: u64, limit: u32) -> Option<u32> {
        self.pending = self.pending.saturating_add(1);
        if now_ns.wrapping_sub(self.window_ns) >= 1_000_000_000 {
            self.window_ns = now_ns;
            self.sent = 0;
        }
        if self.sent >= limit {
            return None;
        }
        let step = if limit < 16 { 1 } else { limit / 16 };
        let doublings = self.sent / step;
        let period = 1_u32 << (if doublings > 16 { 16 } else { doublings });
        if self.pending < period {
            return None;
        }
        let weight = self.pending;
        self.pending = 0;
        self.sent += 1;
        Some(weight)
    }
}

/// A sampled SYN that was dropped, or that a monitored list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When: nanoseconds of CLOCK_BOOTTIME.
    pub time_ns: u64,
    /// How many frames the event stands for, itself included.
    pub weight: u32,
    /// The interface it came in on.
    pub ifindex: u32,
    source: [u8; 16],
    destination: [u8; 16],
    port: [u8; 2],
    reason: u8,
    families: u8,
    reserved: [u8; 4],
}

const _: () = assert!(size_of::<Event>() == 56);

impl Event {
    /// An event of `weight` frames.
    #[must_use]
    #[inline(always)]
    pub const fn new(time_ns: u64, weight: u32, ifindex: u32, reason: Reason, syn: &Syn) -> Self {
        let source_is_v6 = matches!(syn.source.family(), Family::V6) as u8;
        let destination_is_v6 = matches!(syn.destination.family(), Family::V6) as u8;
        Self {
            time_ns,
            weight,
            ifindex,
            source: *syn.source.bytes(),
            destination: *syn.destination.bytes(),
            port: syn.port.to_be_bytes(),
            reason: reason as u8,
            families: source_is_v6 | destination_is_v6 << 1,
            reserved: [0; 4],
        }
    }

    /// Why, or `None` for a code that this version does not know.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.reason)
    }

    /// Who sent the SYN, to whom and to which port.
    #[must_use]
    pub const fn syn(&self) -> Syn {
        Syn {
            source: gather(&self.source, self.families & 1 != 0),
            destination: gather(&self.destination, self.families & 2 != 0),
            port: u16::from_be_bytes(self.port),
        }
    }
}

const fn gather(bytes: &[u8; 16], is_v6: bool) -> Address {
    if is_v6 { Address::v6(*bytes) } else { Address::v4([bytes[0], bytes[1], bytes[2], bytes[3]]) }
}

const FAMILIES: u32 = 3;
const _: () = assert!(FAMILIES as usize == Family::COUNT);

/// The counters of one CPU.
pub const COUNTERS: usize = Reason::COUNT * Family::COUNT;

/// Where the frames of a reason and family are counted.
#[must_use]
#[inline(always)]
pub const fn counter_index(reason: Reason, family: Family) -> u32 {
    // Two one-byte codes: the product fits.
    reason as u32 * FAMILIES + family as u32
}

/// A dry run: a frame that carries this as XDP metadata is judged, but neither
/// counted nor reported nor held against a rate, and the program writes its
/// answer in the metadata's place. Only a test run of the program
/// (`BPF_PROG_TEST_RUN`) or another XDP program on the host can set metadata;
/// nothing on the wire can.
pub mod dry_run {
    use crate::class::ClassSet;
    use crate::reason::Reason;

    /// The bytes of metadata: a multiple of 4, at most 32 (kernel 4.15).
    pub const LENGTH: usize = 8;

    /// The question, which no driver writes: "mxdp" and the ABI version.
    pub const QUESTION: [u8; LENGTH] = [b'm', b'x', b'd', b'p', b'?', 0, 0, super::VERSION];

    /// The answer's metadata.
    #[must_use]
    #[inline(always)]
    pub const fn answer(reason: Reason, classes: ClassSet) -> [u8; LENGTH] {
        [b'm', b'x', b'd', b'p', b'!', reason as u8, classes.bits(), super::VERSION]
    }

    /// The reason and the classes of an answer, or `None` if the program left
    /// the question as it was.
    #[must_use]
    pub const fn read(metadata: &[u8; LENGTH]) -> Option<(Reason, ClassSet)> {
        let [b'm', b'x', b'd', b'p', b'!', reason, classes, version] = *metadata else {
            return None;
        };
        if version != super::VERSION {
            return None;
        }
        match Reason::from_code(reason) {
            Some(reason) => Some((reason, ClassSet::from_bits(classes))),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_keeps_its_parts_apart() {
        assert!(!Selector::NONE.is_valid());
        for bits in 0..64_u32 {
            let bit = |n: u32| bits >> n & 1 != 0;
            let slot = |n: u32| bits >> n & 1;
            let word = Selector::NONE
                .with_runtime(slot(0), bit(1), bit(2))
                .with_files(slot(3), bit(4), bit(5))
                .with_settings(slot(0));
            assert!(word.is_valid());
            assert_eq!(word.settings(), slot(0));
            assert_eq!(word.runtime(), slot(0));
            assert_eq!(word.has_runtime(Family::V4), bit(1));
            assert_eq!(word.has_runtime(Family::V6), bit(2));
            assert_eq!(word.files(), slot(3));
            assert_eq!(word.has_files(Family::V4), bit(4));
            assert_eq!(word.has_files(Family::V6), bit(5));
            assert_eq!(Selector::from_bits(word.bits()), word);
        }
    }

    #[test]
    fn the_table_of_decisions_is_the_hierarchy() {
        let all = [Enforcement::Drop, Enforcement::Reject, Enforcement::Monitor];
        for (blocked_ip, blocked_country, known_spam_source) in
            all.into_iter().flat_map(|a| all.into_iter().flat_map(move |b| all.map(|c| (a, b, c))))
        {
            let mut settings = Settings::new(1);
            settings.enforce(Class::BlockedIp, blocked_ip);
            settings.enforce(Class::BlockedCountry, blocked_country);
            settings.enforce(Class::KnownSpamSource, known_spam_source);
            for bits in 0..1 << Class::COUNT {
                let classes = ClassSet::from_bits(bits);
                let decision = decide(classes, |class| settings.enforcement(class));
                let expected = (decision.decided.map(|(_, reason)| reason), decision.observed);
                assert_eq!(settings.decision(classes), expected);
            }
        }
    }

    #[test]
    fn exactly_the_protected_ports_are_protected() {
        let mut settings = Settings::new(1);
        let ports = [0, 25, 63, 64, 465, 587, 65535];
        for port in ports {
            settings.protect(port);
        }
        assert!(settings.protected_ports().eq(ports));
    }

    #[test]
    fn a_rate_admits_a_burst_and_then_one_an_interval() {
        let rate = SynRate { interval_ns: 100, tolerance_ns: 4 * 100 };
        let mut due = 0;
        let mut send = |now| rate.admit(due, now).inspect(|next| due = *next).is_some();
        let burst = (0..10).filter(|_| send(1000)).count();
        assert_eq!(burst, 5);
        assert!(!send(1099));
        assert!(send(1100));
        assert!(!send(1100));
        assert!(send(1200));
        let burst = (0..10).filter(|_| send(9000)).count();
        assert_eq!(burst, 5);
    }

    #[test]
    fn weights_add_up_to_the_frames() {
        for limit in [1, 5, 16, 100, 256] {
            let mut sampler = Sampler::default();
            let (mut weights, mut events, mut frames) = (0_u64, 0_u64, 0_u64);
            // Ten seconds of a million frames each, then one frame a second.
            for tick in 0..10_000_000_u64 {
                frames += 1;
                if let Some(weight) = sampler.sample(1_000_000_000 + tick * 1000, limit) {
                    weights += u64::from(weight);
                    events += 1;
                }
            }
            assert!(events <= 10 * u64::from(limit), "{limit} a second: {events}");
            frames += 1;
            let last = sampler.sample(20_000_000_000, limit).expect("a new second");
            assert_eq!(weights + u64::from(last), frames);
        }
        assert_eq!(Sampler::default().sample(1 << 40, 0), None);
    }

    #[test]
    fn an_event_and_an_answer_come_back() {
        let syn =
            Syn { source: Address::v6([7; 16]), destination: Address::v4([1, 2, 3, 4]), port: 587 };
        let event = Event::new(1, 2, 3, Reason::BlockedCountry, &syn);
        assert_eq!(event.syn(), syn);
        assert_eq!(event.reason(), Some(Reason::BlockedCountry));

        let classes = ClassSet::of(Class::BlockedIp).with(Class::KnownSpamSource);
        let answer = dry_run::answer(Reason::BlockedIp, classes);
        assert_eq!(dry_run::read(&answer), Some((Reason::BlockedIp, classes)));
        assert_eq!(dry_run::read(&dry_run::QUESTION), None);
    }

    #[test]
    fn a_source_key_names_its_network() {
        let v6 = Address::v6([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let network = Address::v6([1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(SourceKey::of(&v6), SourceKey::of(&network));
        assert_eq!(SourceKey::of(&v6).network(), Some(network));
        let v4 = Address::v4([1, 2, 3, 4]);
        assert_eq!(SourceKey::of(&v4).network(), Some(v4));
        assert_ne!(
            SourceKey::of(&v4),
            SourceKey::of(&Address::v6([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
        );
    }
}
