//! The words of a table of ranges, in pages of the kernel's array.

use filter_common::ranges::{PAGE_WORDS, POINTER_BITS, Page, Slice};

/// The words of a table, in whole pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub(super) Vec<u32>);

/// More words than a pointer reaches, 4 GiB of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table is too large for the ranges engine")]
pub struct TooLarge;

impl Words {
    /// Takes `words` in, behind those that are there, none of them across the end of
    /// a page, and says where they are.
    pub(super) fn place(&mut self, words: &[u32]) -> Result<u32, TooLarge> {
        let left = PAGE_WORDS - self.0.len() % PAGE_WORDS;
        if words.len() > left && words.len() <= PAGE_WORDS {
            self.0.resize(self.0.len() + left, 0);
        }
        let place = self.pointer()?;
        self.0.extend_from_slice(words);
        Ok(place)
    }

    /// The pointer of the next word.
    pub(super) fn pointer(&self) -> Result<u32, TooLarge> {
        let place = u32::try_from(self.0.len()).ok();
        // What is placed at once is no longer than a page.
        let end = (1_usize << POINTER_BITS) - PAGE_WORDS;
        place.filter(|_| self.0.len() < end).ok_or(TooLarge)
    }

    /// Fills up the last page.
    pub(super) fn finish(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(PAGE_WORDS), 0);
        self.0.shrink_to_fit();
    }

    /// The pages.
    #[must_use]
    pub fn pages(&self) -> &[Page] {
        self.0.as_chunks().0
    }

    /// The words, as the kernel reads them.
    pub(super) fn slice(&self) -> Slice<'_> {
        Slice(&self.0)
    }
}
