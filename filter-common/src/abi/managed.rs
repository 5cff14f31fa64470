//! Entries that operators add while the daemon runs, each with its own end.

use crate::class::{Class, ClassSet};

/// The managed entries that contain an address: until when it is approved, and until when it is
/// blocked.
///
/// The value of a trie in which every prefix includes the values of the prefixes around it, so that
/// one match is enough, and an entry that expires uncovers those around it without the daemon.
/// Halves of 32 bits, since the kernel aligns the values of a trie to no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Managed {
    approved: [u32; 2],
    blocked: [u32; 2],
    /// The classes regardless of the time.
    ever: u32,
}

const _: () = assert!(size_of::<Managed>() == 20);
const _: () = assert!(align_of::<Managed>() == 4);

/// The maximum number of prefixes of a family.
pub const MANAGED_ENTRIES: usize = 131_072;

impl Managed {
    /// The end of a permanent entry, and the latest possible end: 292 years after the boot.
    pub const FOREVER: u64 = u64::MAX >> 1;

    /// Approved and blocked until these times, in nanoseconds of CLOCK_BOOTTIME and at most
    /// [`Self::FOREVER`]; 0 means not at all.
    #[must_use]
    pub const fn until(approved_ns: u64, blocked_ns: u64) -> Self {
        let mut ever = ClassSet::EMPTY;
        if approved_ns > 0 {
            ever = ever.with(Class::ApprovedIp);
        }
        if blocked_ns > 0 {
            ever = ever.with(Class::BlockedIp);
        }
        let ever = ever.bits() as u32;
        Self { approved: split(approved_ns), blocked: split(blocked_ns), ever }
    }

    /// Until when the address is approved; 0 if it is not.
    #[must_use]
    #[inline(always)]
    pub const fn approved_until(&self) -> u64 {
        join(self.approved)
    }

    /// Until when the address is blocked; 0 if it is not.
    #[must_use]
    #[inline(always)]
    pub const fn blocked_until(&self) -> u64 {
        join(self.blocked)
    }

    /// Both combined: the longer time of each.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self::until(
            self.approved_until().max(other.approved_until()),
            self.blocked_until().max(other.blocked_until()),
        )
    }

    /// The classes at a time of CLOCK_BOOTTIME.
    ///
    /// Computed without a branch, which reduces the number of paths for the verifier.
    #[must_use]
    #[inline(always)]
    pub const fn classes(&self, now_ns: u64) -> ClassSet {
        let approved = is_before(now_ns, self.approved_until()) << Class::ApprovedIp as u8;
        let blocked = is_before(now_ns, self.blocked_until()) << Class::BlockedIp as u8;
        ClassSet::from_bits(approved | blocked)
    }

    /// The classes of entries that may have expired but are not removed yet.
    #[must_use]
    #[inline(always)]
    pub const fn classes_ever(&self) -> ClassSet {
        let [bits, ..] = self.ever.to_le_bytes();
        ClassSet::from_bits(bits)
    }
}

/// 1 if a time is before an end, both of at most [`Managed::FOREVER`]; else 0.
#[inline(always)]
const fn is_before(now_ns: u64, end_ns: u64) -> u8 {
    (now_ns.wrapping_sub(end_ns) >> 63) as u8
}

#[inline(always)]
const fn split(value: u64) -> [u32; 2] {
    let value = if value > Managed::FOREVER { Managed::FOREVER } else { value };
    let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

#[inline(always)]
const fn join([low, high]: [u32; 2]) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_ends_at_its_time() {
        let both = Managed::until(1 << 50, 9).union(Managed::until(3, Managed::FOREVER));
        assert_eq!(both, Managed::until(1 << 50, Managed::FOREVER));
        assert_eq!(Managed::until(u64::MAX, 0), Managed::until(Managed::FOREVER, 0));
        let entry = Managed::until(100, 1 << 40);
        let all = ClassSet::of(Class::ApprovedIp).with(Class::BlockedIp);
        assert_eq!(entry.classes(99), all);
        assert_eq!(entry.classes(100), ClassSet::of(Class::BlockedIp));
        assert_eq!(entry.classes(1 << 40), ClassSet::EMPTY);
        assert_eq!(Managed::until(Managed::FOREVER, 0).classes(1 << 62).bits(), 1);
        assert_eq!(Managed::default().classes(0), ClassSet::EMPTY);
        assert_eq!(entry.classes_ever(), all);
        assert_eq!(Managed::until(0, 1).classes_ever(), ClassSet::of(Class::BlockedIp));
        assert_eq!(Managed::default().classes_ever(), ClassSet::EMPTY);
    }
}
