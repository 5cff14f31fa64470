//! What each class that blocks does to a SYN.

use filter_common::{Class, Enforcement};

/// The enforcement of each class that blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnforcementTable {
    /// Blocked IPs.
    pub blocked_ip: Enforcement,
    /// Blocked countries.
    pub blocked_country: Enforcement,
    /// Known spam sources.
    pub known_spam_source: Enforcement,
}

impl EnforcementTable {
    /// The enforcement of a class; for an approved class it means nothing.
    #[must_use]
    pub const fn of(&self, class: Class) -> Enforcement {
        match class {
            Class::BlockedIp => self.blocked_ip,
            Class::BlockedCountry => self.blocked_country,
            Class::KnownSpamSource => self.known_spam_source,
            Class::ApprovedIp | Class::ApprovedCountry => Enforcement::Drop,
        }
    }

    /// The same table, except that blocked addresses and countries are counted and pass.
    #[must_use]
    pub const fn without_blocked(self) -> Self {
        Self {
            blocked_ip: Enforcement::Monitor,
            blocked_country: Enforcement::Monitor,
            known_spam_source: self.known_spam_source,
        }
    }
}
