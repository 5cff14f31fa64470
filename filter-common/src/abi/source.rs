//! Sources: the keys of temporary blocks and rate limits.

use crate::frame::{Address, Family};

/// The source of a SYN for temporary blocks and rate limits: an IPv4 /32 or an IPv6 /64, the
/// smallest network that one party is given (RFC 6177).
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

    /// The first address of the key's network, or `None` for a key that [`SourceKey::of`] does not
    /// make.
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

/// A block that expires by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TemporaryBlock {
    /// When it expires: nanoseconds of CLOCK_BOOTTIME.
    pub expires_ns: u64,
    /// When it was made, by the same clock: a number that wraps if that was before this boot, so
    /// that the difference is its length.
    pub created_ns: u64,
    /// The reason: a [`TemporaryReason`] code.
    pub reason: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TemporaryBlock>() == 24);

/// Why a source is temporarily blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum TemporaryReason {
    /// An operator added it.
    Operator = 1,
    /// It named many recipients that do not exist.
    DictionaryAttack = 2,
    /// It was refused repeatedly by DNS lists.
    Reputation = 3,
    /// It sent data before the greeting.
    EarlyTalker = 4,
    /// It broke the protocol.
    Abuse = 5,
    /// It opened more connections than it may have.
    Flood = 6,
    /// It named recipients of domains that are not served here.
    RelayAttempts = 7,
}

impl TemporaryReason {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::DictionaryAttack => "dictionary_attack",
            Self::Reputation => "reputation",
            Self::EarlyTalker => "early_talker",
            Self::Abuse => "abuse",
            Self::Flood => "flood",
            Self::RelayAttempts => "relay_attempts",
        }
    }

    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Operator,
        Self::DictionaryAttack,
        Self::Reputation,
        Self::EarlyTalker,
        Self::Abuse,
        Self::Flood,
        Self::RelayAttempts,
    ];

    /// The reason of a code, as read from the map.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Operator),
            2 => Some(Self::DictionaryAttack),
            3 => Some(Self::Reputation),
            4 => Some(Self::EarlyTalker),
            5 => Some(Self::Abuse),
            6 => Some(Self::Flood),
            7 => Some(Self::RelayAttempts),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
