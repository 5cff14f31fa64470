//! IPv6: a tree of sorted 16-bit digits.
#![expect(
    clippy::cast_possible_truncation,
    reason = "digits, counts of runs and halves of addresses"
)]

use filter_common::ClassSet;
use filter_common::ranges::POINTER_BITS;
use filter_common::ranges::v6::{INDEX, INDEXED, NODE, ROOT, TAIL, TAIL_PREFIXES, Tail};
use ipnet::Ipv6Net;

use super::words::{TooLarge, Words};

/// The bits of a digit.
const DIGIT: u8 = 16;

/// An IPv6 table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V6 {
    words: Words,
}

/// A listed prefix and its set.
type Entry = (Ipv6Net, ClassSet);

/// A run: its first digit and its word.
type Run = (u32, u32);

impl V6 {
    /// Compiles the IPv6 part of a verdict table: sorted, each prefix with the set of
    /// the addresses in it that no longer one holds.
    ///
    /// # Errors
    ///
    /// When it is too large.
    pub fn compile(table: &[Entry]) -> Result<Self, TooLarge> {
        let mut words = Words(vec![0; ROOT]);
        // What stands at length 0 is around everything.
        let (outside, table) = match table {
            [(net, set), rest @ ..] if net.prefix_len() == 0 => (*set, rest),
            _ => (ClassSet::EMPTY, table),
        };
        let runs = runs(&mut words, table, 0, outside)?;
        let ends = runs.iter().skip(1).map(|(first, _)| *first).chain([ROOT as u32]);
        for ((first, word), end) in runs.iter().zip(ends) {
            words.0[*first as usize..end as usize].fill(*word);
        }
        words.finish();
        Ok(Self { words })
    }

    /// The words.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }
}

/// The digit of an address behind `depth` bits.
fn digit(net: &Ipv6Net, depth: u8) -> u32 {
    (net.network().to_bits() >> (128 - DIGIT - depth)) as u32 & 0xffff
}

/// The runs of a network of `depth` bits that has the set `outside` where none of
/// `entries`, all of them longer, says otherwise.
fn runs(
    words: &mut Words,
    entries: &[Entry],
    depth: u8,
    outside: ClassSet,
) -> Result<Vec<Run>, TooLarge> {
    let mut sweep = Sweep { runs: Vec::new(), around: vec![(ROOT as u32, outside)], next: 0 };
    let end_of_digit = depth + DIGIT;
    let mut rest = entries;
    while let [(net, set), ..] = rest {
        let first = digit(net, depth);
        sweep.advance(first);
        if net.prefix_len() <= end_of_digit {
            sweep.around.push((first + (1 << (end_of_digit - net.prefix_len())), *set));
            rest = &rest[1..];
            continue;
        }
        let inside = rest.partition_point(|(net, _)| digit(net, depth) == first);
        let (child, others) = rest.split_at(inside);
        let word = subtree(words, child, end_of_digit, sweep.innermost())?;
        sweep.push(first, word);
        sweep.next = first + 1;
        rest = others;
    }
    sweep.advance(ROOT as u32);
    Ok(sweep.runs)
}

/// Goes through the digits of a network, from 0 to 65,535.
struct Sweep {
    runs: Vec<Run>,
    /// The prefixes around the place that is reached, each with the first digit
    /// behind it. Never empty before the end.
    around: Vec<(u32, ClassSet)>,
    /// The first digit that is in no run yet.
    next: u32,
}

impl Sweep {
    fn innermost(&self) -> ClassSet {
        self.around.last().map_or(ClassSet::EMPTY, |(_, set)| *set)
    }

    /// Closes what ends before `digit`.
    fn advance(&mut self, digit: u32) {
        while let Some((end, set)) = self.around.last().copied() {
            let until = end.min(digit);
            if self.next < until {
                self.push(self.next, set.bits().into());
                self.next = until;
            }
            if end > digit {
                break;
            }
            self.around.pop();
        }
    }

    /// Begins a run, if it differs from the one before.
    fn push(&mut self, first: u32, word: u32) {
        if self.runs.last().is_none_or(|(_, before)| *before != word) {
            self.runs.push((first, word));
        }
    }
}

/// The word of a network of `depth` bits with `entries` in it.
fn subtree(
    words: &mut Words,
    entries: &[Entry],
    depth: u8,
    outside: ClassSet,
) -> Result<u32, TooLarge> {
    if entries.len() <= TAIL_PREFIXES {
        return tail(words, entries, depth, outside);
    }
    let runs = runs(words, entries, depth, outside)?;
    let mut node = vec![runs.len() as u32];
    if runs.len() > INDEXED {
        let holding = |high: usize| {
            let first = (high << 8) as u32;
            runs.partition_point(|run| run.0 <= first) as u32 - 1
        };
        push_halves(&mut node, (0..INDEX).map(holding));
    }
    push_halves(&mut node, runs.iter().map(|run| run.0));
    node.extend(runs.iter().map(|(_, word)| *word));
    Ok(NODE << POINTER_BITS | words.place(&node)?)
}

/// Two numbers below 65,536 in a word.
fn push_halves(words: &mut Vec<u32>, mut numbers: impl Iterator<Item = u32>) {
    while let Some(low) = numbers.next() {
        words.push(low | numbers.next().unwrap_or(0) << 16);
    }
}

/// The word of a network of `depth` bits with a handful of prefixes in it.
fn tail(
    words: &mut Words,
    entries: &[Entry],
    depth: u8,
    outside: ClassSet,
) -> Result<u32, TooLarge> {
    let first = u32::from(depth) / 32;
    let longest = entries.iter().map(|(net, _)| u32::from(net.prefix_len())).max().unwrap_or(0);
    let kept = longest.div_ceil(32) - first;
    let head = Tail { prefixes: entries.len() as u32, first, words: kept, outside };
    let mut tail = vec![head.word()];
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
    for (net, set) in sorted {
        tail.push(u32::from(net.prefix_len()) | u32::from(set.bits()) << 8);
        let bits = net.network().to_bits();
        tail.extend((first..first + kept).map(|word| (bits >> (96 - 32 * word)) as u32));
    }
    Ok(TAIL << POINTER_BITS | words.place(&tail)?)
}
