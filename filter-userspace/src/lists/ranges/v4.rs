//! IPv4: planes of bits over all /24.
#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses, slots and sets, each in a type that it fits"
)]

use filter_common::ClassSet;
use filter_common::ranges::POINTER_BITS;
use filter_common::ranges::v4::{
    BITS, BYTES, DEEPER, DIFFERS, HEADS, LENGTH, MIXED, PLAIN, Planes, RANGE, SLOTS,
};
use ipnet::Ipv4Net;

use super::words::{TooLarge, Words};

/// The sets of classes there are.
const SETS: usize = 32;

/// An IPv4 table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V4 {
    planes: Vec<u64>,
    words: Words,
}

impl V4 {
    /// Compiles the IPv4 part of a verdict table: sorted, each prefix with the set of
    /// the addresses in it that no longer one holds.
    ///
    /// # Errors
    ///
    /// When it is too large.
    pub fn compile(table: &[(Ipv4Net, ClassSet)]) -> Result<Self, TooLarge> {
        let mut build = Build {
            planes: vec![0; LENGTH],
            words: Words::default(),
            block: Vec::with_capacity(SLOTS),
            slot: Vec::new(),
            next: 0,
        };
        runs(table, |last, set| build.take(last, set.bits()))?;
        let Build { planes, mut words, .. } = build;
        words.finish();
        Ok(Self { planes, words })
    }

    /// The planes.
    ///
    /// # Panics
    ///
    /// Never: the compiler makes them of their length.
    #[must_use]
    pub fn planes(&self) -> &Planes {
        self.planes.first_chunk().unwrap_or_else(|| unreachable!("planes have one length"))
    }

    /// The words.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }
}

/// Goes through the address space from 0.0.0.0 to 255.255.255.255 and tells, in
/// order, the last address of each range of one set. Ranges beside each other may
/// have the same set.
fn runs(
    table: &[(Ipv4Net, ClassSet)],
    mut tell: impl FnMut(u32, ClassSet) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    // The prefixes around the place that is reached, each with its last address; at
    // most one a length.
    let mut around = vec![(u32::MAX, ClassSet::EMPTY)];
    let mut next: u64 = 0;
    for (net, set) in table {
        let first = u32::from(net.network());
        while let Some((last, inner)) = around.last().copied()
            && last < first
        {
            around.pop();
            if next <= last.into() {
                tell(last, inner)?;
                next = u64::from(last) + 1;
            }
        }
        if let Some((_, outer)) = around.last()
            && next < first.into()
        {
            tell(first - 1, *outer)?;
            next = first.into();
        }
        around.push((net.broadcast().into(), *set));
    }
    while let Some((last, set)) = around.pop() {
        if next <= last.into() {
            tell(last, set)?;
            next = u64::from(last) + 1;
        }
    }
    Ok(())
}

/// The addresses of a slot.
const SLOT: u64 = 256;

/// The addresses of a block.
const BLOCK: u64 = SLOT * SLOTS as u64;

/// What is known of a slot.
#[derive(Clone, Copy)]
enum Content {
    /// All of it has this set.
    Same(u8),
    /// It has this word.
    Word(u32),
}

/// Slots beside each other in a block, of the same content.
struct Part {
    content: Content,
    slots: u32,
}

struct Build {
    planes: Vec<u64>,
    words: Words,
    /// The block that is being filled, from its first slot on.
    block: Vec<Part>,
    /// The parts of the slot that is being filled: the last address and the set of
    /// each.
    slot: Vec<(u8, u8)>,
    /// The first address that is not taken yet.
    next: u64,
}

impl Build {
    /// Takes the addresses up to `last`.
    fn take(&mut self, last: u32, set: u8) -> Result<(), TooLarge> {
        let end = u64::from(last) + 1;
        while self.next < end {
            let left = end - self.next;
            if self.next.is_multiple_of(BLOCK) && left >= BLOCK {
                self.set_plain((self.next / BLOCK) as usize, set);
                self.next += BLOCK;
            } else if self.next.is_multiple_of(SLOT) && left >= SLOT {
                let slots = (left / SLOT).min(SLOTS as u64 - self.next / SLOT % SLOTS as u64);
                self.next += slots * SLOT;
                self.add(Content::Same(set), slots as u32)?;
            } else {
                let end_of_slot = (self.next / SLOT + 1) * SLOT;
                self.next = end_of_slot.min(end);
                self.slot.push((((self.next - 1) % SLOT) as u8, set));
                if self.next == end_of_slot {
                    let content = self.content()?;
                    self.slot.clear();
                    self.add(content, 1)?;
                }
            }
        }
        Ok(())
    }

    /// What the slot that is filled amounts to.
    fn content(&mut self) -> Result<Content, TooLarge> {
        // Beside each other, the same set may come more than once.
        self.slot.dedup_by(|next, part| {
            let same = next.1 == part.1;
            if same {
                part.0 = next.0;
            }
            same
        });
        let range = |first: u8, last: u8, inside: u8, outside: u8| {
            let [first, last, inside, outside] = [first, last, inside, outside].map(u32::from);
            Content::Word(RANGE << POINTER_BITS | first | last << 8 | inside << 16 | outside << 21)
        };
        let (first_set, second_set) = match self.slot[..] {
            [] => return Ok(Content::Same(0)),
            [(_, set)] => return Ok(Content::Same(set)),
            [(before, outside), (last, inside)] => {
                return Ok(range(before + 1, last, inside, outside));
            }
            [(before, outside), (last, inside), (_, after)] if after == outside => {
                return Ok(range(before + 1, last, inside, outside));
            }
            [(_, first), (_, second), ..] => (first, second),
        };
        let sets = self.slot.iter().flat_map({
            let mut next = 0_usize;
            move |(last, set)| {
                let first = std::mem::replace(&mut next, usize::from(*last) + 1);
                std::iter::repeat_n(*set, next - first)
            }
        });
        if self.slot.iter().all(|(_, set)| *set == first_set || *set == second_set) {
            let mut words = [0; 9];
            words[0] = u32::from(first_set) | u32::from(second_set) << 8;
            for (host, set) in sets.enumerate() {
                words[1 + host / 32] |= u32::from(set == second_set) << (host % 32);
            }
            Ok(Content::Word(BITS << POINTER_BITS | self.words.place(&words)?))
        } else {
            let mut words = [0; 64];
            for (host, set) in sets.enumerate() {
                words[host / 4] |= u32::from(set) << (host % 4 * 8);
            }
            Ok(Content::Word(BYTES << POINTER_BITS | self.words.place(&words)?))
        }
    }

    /// Adds slots to the block, and the block to the table when it is full, which is
    /// when `next` has reached its end.
    fn add(&mut self, content: Content, slots: u32) -> Result<(), TooLarge> {
        self.block.push(Part { content, slots });
        if !self.next.is_multiple_of(BLOCK) {
            return Ok(());
        }
        let block = (self.next / BLOCK) as usize - 1;
        let (plain, second) = most_frequent(&self.block);
        let head = self.words.pointer()?;
        let (mut differs, mut deeper, mut first) = (0_u64, 0_u64, 0);
        for Part { content, slots } in self.block.drain(..) {
            let bits = (u64::MAX >> (64 - slots)) << first;
            first += slots;
            let word = match content {
                Content::Same(set) if set == plain => continue,
                Content::Same(set) if set == second => None,
                Content::Same(set) => Some(set.into()),
                Content::Word(word) => Some(word),
            };
            differs |= bits;
            if let Some(word) = word {
                deeper |= bits;
                self.words.0.extend(std::iter::repeat_n(word, slots as usize));
            }
        }
        self.set_plain(block, plain | if differs == 0 { 0 } else { MIXED });
        self.planes[DIFFERS + block] = differs;
        self.planes[DEEPER + block] = deeper;
        self.planes[HEADS + block] = u64::from(head) | u64::from(second) << 32;
        Ok(())
    }

    fn set_plain(&mut self, block: usize, plain: u8) {
        self.planes[PLAIN + block / 8] |= u64::from(plain) << (block % 8 * 8);
    }
}

/// The two sets that most slots of a block have throughout, the first before the
/// second; of equally frequent ones the smaller.
fn most_frequent(block: &[Part]) -> (u8, u8) {
    let mut slots = [0; SETS];
    let mut seen = 0_u32;
    for part in block {
        if let Content::Same(set) = part.content {
            slots[usize::from(set)] += part.slots;
            seen |= 1 << set;
        }
    }
    let (mut plain, mut second) = ((0, 0), (0, 0));
    while seen != 0 {
        let set = seen.trailing_zeros() as u8;
        seen &= seen - 1;
        let of_set = (slots[usize::from(set)], set);
        if of_set.0 > plain.0 {
            (plain, second) = (of_set, plain);
        } else if of_set.0 > second.0 {
            second = of_set;
        }
    }
    (plain.1, second.1)
}
