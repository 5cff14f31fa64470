//! The classes that lists give an address, and the enforcement of each.

/// The class that a list gives an address. The order is the hierarchy: the first class that decides
/// wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// On an approved IP list: admitted, and no later check applies.
    ApprovedIp = 0,
    /// On a blocked IP list.
    BlockedIp = 1,
    /// In an approved country: admitted like [`Class::ApprovedIp`].
    ApprovedCountry = 2,
    /// In a blocked country.
    BlockedCountry = 3,
    /// On a standard reputation feed from a file.
    KnownSpamSource = 4,
}

impl Class {
    /// The number of classes.
    pub const COUNT: usize = 5;

    /// Every class, in hierarchy order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::ApprovedIp,
        Self::BlockedIp,
        Self::ApprovedCountry,
        Self::BlockedCountry,
        Self::KnownSpamSource,
    ];

    /// The name used in configuration, output and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApprovedIp => "approved_ip",
            Self::BlockedIp => "blocked_ip",
            Self::ApprovedCountry => "approved_country",
            Self::BlockedCountry => "blocked_country",
            Self::KnownSpamSource => "known_spam_source",
        }
    }

    /// Whether the class admits.
    #[must_use]
    pub const fn approves(self) -> bool {
        matches!(self, Self::ApprovedIp | Self::ApprovedCountry)
    }
}

/// The classes whose lists contain an address: the value of the verdict table.
///
/// It is a set and not just the first class, because a class that is only monitored must not hide
/// the one below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassSet(u8);

impl ClassSet {
    /// No list contains the address.
    pub const EMPTY: Self = Self(0);

    /// The set of one class.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        Self(1 << class as u8)
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set with `class` added.
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        self.union(Self::of(class))
    }

    /// Whether `class` is in the set.
    #[must_use]
    pub const fn contains(self, class: Class) -> bool {
        self.0 & Self::of(class).0 != 0
    }

    /// Whether no class is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The value of the set in the kernel's tables: bit *n* is the class of rank *n*.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of a table's value; bits without a class are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & ((1 << Class::COUNT) - 1))
    }

    /// The class of the set that is highest in the hierarchy.
    #[must_use]
    #[inline(always)]
    pub fn first(self) -> Option<Class> {
        Class::ALL.into_iter().find(|class| self.contains(*class))
    }

    /// The classes of the set in hierarchy order.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

/// What happens to a SYN of a class that does not approve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Enforcement {
    /// The SYN is dropped in the kernel.
    #[default]
    Drop = 0,
    /// The SYN is admitted and the SMTP session answers 550.
    Reject = 1,
    /// The match is counted, and the next class is checked.
    Monitor = 2,
}

impl Enforcement {
    /// The name used in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Monitor => "monitor",
        }
    }

    /// The enforcement of a settings byte. An unknown byte drops: only a value that this program
    /// did not write could be unknown.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Reject,
            2 => Self::Monitor,
            _ => Self::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for class in Class::ALL {
            let set = ClassSet::of(class);
            for other in Class::ALL {
                assert_eq!(set.contains(other), class == other);
            }
            assert_eq!(ClassSet::from_bits(set.bits()), set);
        }
        assert_eq!(ClassSet::from_bits(0xe0), ClassSet::EMPTY);
    }

    #[test]
    fn the_order_of_classes_is_the_hierarchy() {
        let all = Class::ALL.into_iter().fold(ClassSet::EMPTY, ClassSet::with);
        assert!(all.iter().is_sorted());
        assert_eq!(all.iter().count(), Class::COUNT);
    }
}
