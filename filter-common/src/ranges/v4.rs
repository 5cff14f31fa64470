//! IPv4: planes of bits over all /24, and words for the few that need more.
//!
//! The address space is 2^18 *blocks* (/18) of 64 *slots* (/24). A block's most
//! frequent set of classes is its *plain* one, the next its *second*:
//!
//! 1. `PLAIN`, a byte a block: the plain set, and [`MIXED`] unless all of the block
//!    has it. 256 KiB, which a CPU keeps at hand.
//! 2. `DIFFERS`, a bit a slot: whether the slot is anything but plain throughout.
//!    2 MiB. Most addresses are answered here.
//! 3. `DEEPER`, a bit a slot: whether it is neither plain nor second throughout.
//!    The block's `HEADS` has the second set and a pointer to the words of its
//!    deeper slots, in their order: the rank of the slot's bit finds its word.
//! 4. The word: a set, one range inside the slot, or a pointer to a bit or a byte
//!    for each of its 256 addresses.
//!
//! So an address costs one to four loads, of which the first three do not depend on each other and
//! run in parallel, whatever the number of prefixes.
#![expect(clippy::cast_possible_truncation, reason = "parts of words: sets and pointers")]

use super::{Pages, VALUE, kind, pointer};
use crate::class::ClassSet;

/// The blocks of 2^14 addresses.
pub const BLOCKS: usize = 1 << 18;

/// The slots of a block: one for each bit of a `u64`.
pub const SLOTS: usize = 64;

/// The bit of a block's plain byte that marks a block that is not plain throughout.
pub const MIXED: u8 = 0x80;

/// The start of the bits that mark slots that are not plain, a `u64` for each block.
pub const DIFFERS: usize = 0;
/// The start of the bits that mark slots with a word.
pub const DEEPER: usize = DIFFERS + BLOCKS;
/// The start of the heads: a pointer to words, and the second set from bit 32 on.
pub const HEADS: usize = DEEPER + BLOCKS;
/// The start of the plain bytes, eight in a `u64`, the first in its lowest byte.
pub const PLAIN: usize = HEADS + BLOCKS;
/// The `u64`s of all planes: 6.25 MiB.
pub const LENGTH: usize = PLAIN + BLOCKS / 8;

/// The planes of a table.
pub type Planes = [u64; LENGTH];

/// A word of this kind is a range in the slot: the first address of it in bits 0
/// to 7, the last in 8 to 15, the set inside in 16 to 20 and outside in 21 to 25.
pub const RANGE: u32 = 1;
/// A word of this kind points to a slot of two sets: the set of addresses whose bit is 0 (bits 0 to
/// 7) and of the others (8 to 15), and eight words of bits.
pub const BITS: u32 = 2;
/// A word of this kind points to a set for each address: 64 words of four bytes.
pub const BYTES: u32 = 3;

/// The classes of an address. `plane` reads one of the [`Planes`], at an index
/// below [`LENGTH`].
#[inline(always)]
pub fn look_up<P: Pages>(address: u32, plane: impl Fn(usize) -> u64, words: &P) -> ClassSet {
    let block = (address >> 14) as usize;
    let plain = (plane(PLAIN + block / 8) >> (block % 8 * 8)) as u8;
    if plain & MIXED == 0 {
        return ClassSet::from_bits(plain);
    }
    let slot = address >> 8 & 63;
    if plane(DIFFERS + block) >> slot & 1 == 0 {
        return ClassSet::from_bits(plain);
    }
    let deeper = plane(DEEPER + block);
    let head = plane(HEADS + block);
    if deeper >> slot & 1 == 0 {
        return ClassSet::from_bits((head >> 32) as u8);
    }
    let rank = (deeper & ((1 << slot) - 1)).count_ones();
    ClassSet::from_bits(in_slot(address & 0xff, words.at(head as u32 + rank), words))
}

/// The set of the address `host` of a slot.
#[inline(always)]
fn in_slot<P: Pages>(host: u32, word: u32, words: &P) -> u8 {
    match kind(word) {
        VALUE => word as u8,
        RANGE => {
            let inside = host >= word & 0xff && host <= word >> 8 & 0xff;
            (if inside { word >> 16 } else { word >> 21 }) as u8 & 0x1f
        }
        BITS => {
            let sets = words.at(pointer(word));
            let bits = words.at(pointer(word) + 1 + host / 32);
            (sets >> ((bits >> (host % 32) & 1) * 8)) as u8
        }
        _ => (words.at(pointer(word) + host / 4) >> (host % 4 * 8)) as u8,
    }
}
