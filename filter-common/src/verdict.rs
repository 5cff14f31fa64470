//! The verdict on a SYN: the order of the checks, over a lookup trait.

use crate::abi::{Settings, SourceKey, SynRate};
use crate::class::ClassSet;
use crate::frame::{Address, Syn};
use crate::reason::Reason;

pub use crate::hierarchy::{Decision, decide};

/// The active tables, for the verdict.
pub trait Tables {
    /// The settings of the generation, or `None` if none is installed.
    fn settings(&self) -> Option<&Settings>;

    /// The classes whose lists contain `source`.
    fn classes(&self, source: &Address) -> ClassSet;

    /// Whether `source` is under a temporary block that has not expired.
    fn is_blocked_for_a_time(&self, source: &SourceKey) -> bool;

    /// Whether one more SYN exceeds the `rate` of `source`; if not, it is counted.
    fn exceeds(&self, source: &SourceKey, rate: SynRate) -> bool;
}

/// The verdict on an initial SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why the SYN is passed or dropped.
    pub reason: Reason,
    /// The classes that the lists gave its source.
    pub classes: ClassSet,
    /// The monitored classes that matched above the one that decided.
    pub observed: ClassSet,
}

impl Verdict {
    /// A verdict without any list.
    #[must_use]
    #[inline(always)]
    pub const fn without_lists(reason: Reason) -> Self {
        Self { reason, classes: ClassSet::EMPTY, observed: ClassSet::EMPTY }
    }
}

/// Judges an initial SYN by the active tables.
#[inline(always)]
pub fn judge<T: Tables>(syn: &Syn, tables: &T) -> Verdict {
    let Some(settings) = tables.settings() else {
        return Verdict::without_lists(Reason::NoTables);
    };
    if !settings.protects(syn.port) {
        return Verdict::without_lists(Reason::OtherPort);
    }
    let classes = tables.classes(&syn.source);
    let (decided, observed) = settings.decision(classes);
    let reason = match decided {
        Some(reason) => reason,
        None => after_the_lists(syn, settings, tables),
    };
    Verdict { reason, classes, observed }
}

/// The checks for a source that no list decides.
#[inline(always)]
fn after_the_lists<T: Tables>(syn: &Syn, settings: &Settings, tables: &T) -> Reason {
    let key = SourceKey::of(&syn.source);
    if tables.is_blocked_for_a_time(&key) {
        return Reason::TemporaryBlock;
    }
    let rate = settings.syn_rate(syn.source.family());
    if rate.interval_ns != 0 && tables.exceeds(&key, rate) {
        return Reason::RateLimit;
    }
    Reason::Unlisted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{Class, Enforcement};

    fn all_but(monitored: Class) -> impl Fn(Class) -> Enforcement {
        move |class| {
            if class == monitored { Enforcement::Monitor } else { Enforcement::Drop }
        }
    }

    #[test]
    fn the_first_class_of_the_hierarchy_decides() {
        for bits in 0..1 << Class::COUNT {
            let classes = ClassSet::from_bits(bits);
            let decision = decide(classes, |_| Enforcement::Drop);
            assert_eq!(decision.decided.map(|(class, _)| class), classes.iter().next());
            assert!(decision.observed.is_empty());
        }
    }

    #[test]
    fn a_monitored_class_hides_nothing_below_it() {
        let both = ClassSet::of(Class::BlockedIp).with(Class::KnownSpamSource);
        let decision = decide(both, all_but(Class::BlockedIp));
        assert_eq!(decision.decided, Some((Class::KnownSpamSource, Reason::KnownSpamSource)));
        assert_eq!(decision.observed, ClassSet::of(Class::BlockedIp));
    }

    #[test]
    fn an_approved_class_is_never_merely_monitored() {
        let decision = decide(ClassSet::of(Class::ApprovedIp), all_but(Class::ApprovedIp));
        assert_eq!(decision.decided, Some((Class::ApprovedIp, Reason::ApprovedIp)));
    }
}
