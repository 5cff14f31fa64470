//! The compiler of the scale engine: from the verdict table to ranges in arrays.
//!
//! What the arrays mean is said in `filter_common::ranges`, with the lookups.

mod v4;
mod v6;

use std::net::IpAddr;

use filter_common::ranges::{self, PAGE_WORDS, POINTER_BITS, Page, Slice};
use filter_common::{Address, ClassSet};

use super::prefix::canonical;

pub use v4::V4;
pub use v6::V6;

/// The words of a table, in whole pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Vec<u32>);

/// More words than a pointer reaches, 4 GiB of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table is too large for the ranges engine")]
pub struct TooLarge;

impl Words {
    /// Takes `words` in, behind those that are there, none of them across the end of
    /// a page, and says where they are.
    fn place(&mut self, words: &[u32]) -> Result<u32, TooLarge> {
        let left = PAGE_WORDS - self.0.len() % PAGE_WORDS;
        if words.len() > left && words.len() <= PAGE_WORDS {
            self.0.resize(self.0.len() + left, 0);
        }
        let place = self.pointer()?;
        self.0.extend_from_slice(words);
        Ok(place)
    }

    /// The pointer of the next word.
    fn pointer(&self) -> Result<u32, TooLarge> {
        let place = u32::try_from(self.0.len()).ok();
        // What is placed at once is no longer than a page.
        let end = (1_usize << POINTER_BITS) - PAGE_WORDS;
        place.filter(|_| self.0.len() < end).ok_or(TooLarge)
    }

    /// Fills up the last page.
    fn finish(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(PAGE_WORDS), 0);
        self.0.shrink_to_fit();
    }

    /// The pages.
    #[must_use]
    pub fn pages(&self) -> &[Page] {
        self.0.as_chunks().0
    }

    fn slice(&self) -> Slice<'_> {
        Slice(&self.0)
    }
}

/// Both families' tables, where they are not empty.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// IPv4.
    pub v4: Option<V4>,
    /// IPv6.
    pub v6: Option<V6>,
}

impl Ranges {
    /// Compiles a verdict table.
    ///
    /// # Errors
    ///
    /// When it is too large.
    pub fn compile(table: &super::Table) -> Result<Self, TooLarge> {
        let v4 = (!table.v4.is_empty()).then(|| V4::compile(&table.v4)).transpose()?;
        let v6 = (!table.v6.is_empty()).then(|| V6::compile(&table.v6)).transpose()?;
        Ok(Self { v4, v6 })
    }

    /// The classes of an address: what the kernel answers.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> ClassSet {
        match canonical(address) {
            IpAddr::V4(address) => self.v4.as_ref().map_or(ClassSet::EMPTY, |table| {
                let plane = |index: usize| table.planes().get(index).copied().unwrap_or(0);
                ranges::v4::look_up(address.to_bits(), plane, &table.words().slice())
            }),
            IpAddr::V6(address) => self.v6.as_ref().map_or(ClassSet::EMPTY, |table| {
                let (high, low) = Address::v6(address.octets()).halves();
                ranges::v6::look_up(high, low, &table.words().slice())
            }),
        }
    }
}
