//! The word that activates a generation.

use crate::frame::Family;

/// The word that activates a generation: which slots of settings and files are read, and which
/// tables are worth a lookup.
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
    const FILES_V4: u8 = 1 << 4;
    const FILES_V6: u8 = 1 << 5;
    const RUNTIME_V4: u8 = 1 << 6;
    const RUNTIME_V6: u8 = 1 << 7;

    /// The word of a map that nobody has written: no tables.
    pub const NONE: Self = Self(0);

    /// The value of the word in the map.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The value of the word in the map.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether a generation is active.
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

    /// The slot of the compiled files, 0 or 1 of [`super::slots::FILES`].
    #[must_use]
    #[inline(always)]
    pub const fn files(self) -> u32 {
        (self.0 & Self::FILES != 0) as u32
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

    /// Whether managed entries name any address of `family`.
    #[must_use]
    #[inline(always)]
    pub const fn has_runtime(self, family: Family) -> bool {
        match family {
            Family::Other => false,
            Family::V4 => self.0 & Self::RUNTIME_V4 != 0,
            Family::V6 => self.0 & Self::RUNTIME_V6 != 0,
        }
    }

    /// The word with the settings of `slot` active.
    #[must_use]
    pub const fn with_settings(self, slot: u32) -> Self {
        self.with(Self::VALID, true).with(Self::SETTINGS, slot != 0)
    }

    /// The word with the files of `slot` active, which contain IPv4 or IPv6 entries or both.
    #[must_use]
    pub const fn with_files(self, slot: u32, v4: bool, v6: bool) -> Self {
        self.with(Self::FILES, slot != 0).with(Self::FILES_V4, v4).with(Self::FILES_V6, v6)
    }

    /// The word where managed entries name addresses of IPv4, IPv6 or both.
    #[must_use]
    pub const fn with_runtime(self, v4: bool, v6: bool) -> Self {
        self.with(Self::RUNTIME_V4, v4).with(Self::RUNTIME_V6, v6)
    }

    const fn with(self, bit: u8, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
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
                .with_runtime(bit(1), bit(2))
                .with_files(slot(3), bit(4), bit(5))
                .with_settings(slot(0));
            assert!(word.is_valid());
            assert_eq!(word.settings(), slot(0));
            assert_eq!(word.has_runtime(Family::V4), bit(1));
            assert_eq!(word.has_runtime(Family::V6), bit(2));
            assert_eq!(word.files(), slot(3));
            assert_eq!(word.has_files(Family::V4), bit(4));
            assert_eq!(word.has_files(Family::V6), bit(5));
            assert_eq!(Selector::from_bits(word.bits()), word);
        }
    }
}
