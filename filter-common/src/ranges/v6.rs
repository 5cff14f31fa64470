//! IPv6: a tree of sorted 16-bit digits.
//!
//! The first digit indexes 65,536 words, the first of the table. A word is a set of classes, or
//! points to more specific data:
//!
//! - A *node* splits its network by the next digit into *runs*. A run ends where the
//!   next begins, and holds one value; a digit with more inside is a run of its own.
//!   The node's first word is the number of runs. If they are more than [`INDEXED`],
//!   an index follows: for each value of a digit's higher byte, the number of the run
//!   that holds the first such digit, two in a word. Then come the first digits of
//!   the runs, in order and two in a word, the first of them 0; then a word for each
//!   run.
//! - A *tail* lists the few prefixes inside its network, the longest first, so that
//!   lone prefixes cost no chain of nodes. Its first word says what [`Tail`] says;
//!   each prefix is a word with its length (bits 0 to 7) and set (8 to 15), and the
//!   words of its network that the tail keeps.
#![expect(
    clippy::cast_possible_truncation,
    reason = "parts of words: digits, sets, indices below a page's length"
)]

use super::{Pages, VALUE, index_of, kind, page_of, pointer};
use crate::class::ClassSet;

/// The words of the first digit.
pub const ROOT: usize = 1 << 16;

/// The digits of an address.
pub const DIGITS: u32 = 8;

/// A word of this kind points to a node.
pub const NODE: u32 = 1;
/// A word of this kind points to a tail.
pub const TAIL: u32 = 2;

/// Nodes with more runs than this have an index.
pub const INDEXED: usize = 256;

/// The entries of an index, one for each value of a digit's higher byte.
pub const INDEX: usize = 256;

/// The maximum number of prefixes of a tail.
pub const TAIL_PREFIXES: usize = 8;

/// The first word of a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Its prefixes, 1 to [`TAIL_PREFIXES`].
    pub prefixes: u32,
    /// The first of the address's four words that is kept: the words before it are the same in
    /// everything that leads here.
    pub first: u32,
    /// The words that are kept of each network, 1 to 4.
    pub words: u32,
    /// The set of addresses in none of the prefixes.
    pub outside: ClassSet,
}

impl Tail {
    /// Its value in the table.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.prefixes | self.first << 8 | self.words << 12 | (self.outside.bits() as u32) << 16
    }

    #[inline(always)]
    const fn read(word: u32) -> Self {
        Self {
            prefixes: word & 0xff,
            first: word >> 8 & 3,
            words: word >> 12 & 7,
            outside: ClassSet::from_bits((word >> 16) as u8),
        }
    }
}

/// The classes of the address of these two halves.
#[inline(always)]
pub fn look_up<P: Pages>(high: u64, low: u64, pages: &P) -> ClassSet {
    let mut word = pages.at((high >> 48) as u32);
    let (mut left, mut rest) = (high, low);
    for _ in 1..DIGITS {
        left = left << 16 | rest >> 48;
        rest <<= 16;
        if kind(word) != NODE {
            break;
        }
        let Some(page) = pages.page(page_of(pointer(word))) else {
            return ClassSet::EMPTY;
        };
        word = in_node::<P>(page, index_of(pointer(word)), (left >> 48) as u32);
    }
    match kind(word) {
        VALUE => ClassSet::from_bits(word as u8),
        TAIL => match pages.page(page_of(pointer(word))) {
            Some(page) => in_tail::<P>(page, index_of(pointer(word)), high, low),
            None => ClassSet::EMPTY,
        },
        _ => ClassSet::EMPTY,
    }
}

/// The word of the run that holds `digit`: the last that does not begin after it.
#[inline(always)]
fn in_node<P: Pages>(page: P::Page, node: usize, digit: u32) -> u32 {
    let runs = P::word(page, node) as usize;
    let (mut run, mut among, digits) = if runs > INDEXED {
        let high = digit as usize >> 8;
        let from = half::<P>(page, node + 1, high) as usize;
        let to =
            if high == INDEX - 1 { runs - 1 } else { half::<P>(page, node + 1, high + 1) as usize };
        (from, to + 1 - from, node + 1 + INDEX / 2)
    } else {
        (0, runs, node + 1)
    };
    // With or without an index, at most 257 runs are left, and halved nine times one.
    for _ in 0..9 {
        if among <= 1 {
            break;
        }
        let step = among / 2;
        // Without a branch, which would be mispredicted every other time: the highest
        // bit of the difference is set where the run in the middle begins after the
        // digit, and one less than it is all ones where it does not.
        let first = half::<P>(page, digits, run + step);
        let after = (u64::from(digit).wrapping_sub(u64::from(first)) >> 63) as usize;
        run = (run + (step & after.wrapping_sub(1))) & 0xffff;
        among -= step;
    }
    P::word(page, index_of((digits + runs.div_ceil(2) + run) as u32))
}

/// The `number`th of the half words from `at` on.
#[inline(always)]
fn half<P: Pages>(page: P::Page, at: usize, number: usize) -> u32 {
    let two = P::word(page, index_of((at + number / 2) as u32));
    two >> (number % 2 * 16) & 0xffff
}

/// The set of the longest prefix of a tail that holds the address.
#[inline(always)]
fn in_tail<P: Pages>(page: P::Page, tail: usize, high: u64, low: u64) -> ClassSet {
    let head = Tail::read(P::word(page, tail));
    let mut at = tail + 1;
    for prefix in 0..TAIL_PREFIXES as u32 {
        if prefix >= head.prefixes {
            break;
        }
        let entry = P::word(page, index_of(at as u32));
        let length = entry & 0xff;
        let mut differs = 0;
        for word in 0..4 {
            if word >= head.words {
                break;
            }
            let index = (head.first + word) & 3;
            let half = if index < 2 { high } else { low };
            let own = (half >> (32 * (1 - (index & 1)))) as u32;
            let listed = P::word(page, index_of((at + 1 + word as usize) as u32));
            differs |= (own ^ listed) & mask(length, index);
        }
        if differs == 0 {
            return ClassSet::from_bits((entry >> 8) as u8);
        }
        at = index_of((at + 1 + head.words as usize) as u32);
    }
    head.outside
}

/// The bits of word `index` of an address that a prefix of `length` has.
#[inline(always)]
const fn mask(length: u32, index: u32) -> u32 {
    let bits = length.saturating_sub(32 * index);
    if bits >= 32 {
        u32::MAX
    } else {
        // A 64-bit shift, since shifting 32 bits by 32 is undefined.
        !((u32::MAX as u64 >> bits) as u32)
    }
}
