//! The settings of a generation, beside its lists.

use core::hint::black_box;

use crate::class::{Class, ClassSet, Enforcement};
use crate::frame::Family;
use crate::hierarchy::decide;
use crate::reason::Reason;

/// A limit on the SYNs of one source, as a generic cell rate (GCRA): a bucket
/// of `burst` SYNs that refills one SYN every `interval_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SynRate {
    /// Nanoseconds between two SYNs at the sustained rate; 0 means no limit.
    pub interval_ns: u64,
    /// How far ahead of the sustained rate a source may run, in nanoseconds:
    /// (burst - 1) intervals.
    pub tolerance_ns: u64,
}

const _: () = assert!(size_of::<SynRate>() == 16);

impl SynRate {
    /// Admits a SYN at `now_ns` from a source whose next one is due at `due_ns` (its theoretical
    /// arrival time), and returns when the next one is due then; `None` if the SYN exceeds the
    /// rate.
    #[must_use]
    #[inline(always)]
    pub const fn admit(&self, due_ns: u64, now_ns: u64) -> Option<u64> {
        if due_ns <= now_ns {
            return Some(now_ns + self.interval_ns);
        }
        let ahead = due_ns - now_ns;
        if ahead > self.tolerance_ns + self.interval_ns {
            // No SYN under this rate is due so late: another rate was active.
            return Some(now_ns + self.interval_ns);
        }
        if ahead > self.tolerance_ns {
            return None;
        }
        Some(due_ns + self.interval_ns)
    }
}

/// The settings of a generation, beside its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// The generation's number, for people.
    pub generation: u64,
    /// The limit for each IPv4 /32.
    pub syn_rate_v4: SynRate,
    /// The limit for each IPv6 /64.
    pub syn_rate_v6: SynRate,
    /// The maximum number of sampled events per second and CPU; 0 means none.
    pub events_per_second: u32,
    enforcement: [u8; 8],
    reserved: [u8; 4],
    /// The result of [`decide`] for each set of classes: a reason's code, or [`UNDECIDED`], and the
    /// observed classes.
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

    /// Applies the hierarchy to every set of classes once, so that the kernel program looks the
    /// result up instead of computing it.
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

    /// The lists' decision for an address of `classes`, and the monitored classes that matched
    /// before.
    #[must_use]
    #[inline(always)]
    pub const fn decision(&self, classes: ClassSet) -> (Option<Reason>, ClassSet) {
        // Most addresses have no class; and this avoids an index that is 0 on some paths only,
        // which the verifier refuses without CAP_PERFMON.
        if classes.is_empty() {
            return (None, ClassSet::EMPTY);
        }
        // LLVM knows that the set is below the bound and would leave the remainder out;
        // the verifier of kernel 6.1 does not know it.
        let index = black_box(classes.bits()) as usize % CLASS_SETS;
        let [reason, observed] = self.decisions[index];
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
        // Both are read and one is masked out: for a choice, LLVM would compute an address that
        // differs by path, which the verifier refuses without CAP_PERFMON.
        let v6 = (matches!(family, Family::V6) as u64).wrapping_neg();
        let (one, other) = (self.syn_rate_v6, self.syn_rate_v4);
        SynRate {
            interval_ns: one.interval_ns & v6 | other.interval_ns & !v6,
            tolerance_ns: one.tolerance_ns & v6 | other.tolerance_ns & !v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // What remains of a slower rate does not delay a source for long.
        assert_eq!(rate.admit(1_000_000, 9000), Some(9100));
    }
}
