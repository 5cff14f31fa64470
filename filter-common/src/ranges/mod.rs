//! The scale engine: verdict tables as compiled ranges, in arrays.
//!
//! A trie costs a dependent cache miss for each of its levels. These tables are laid out so that an
//! address costs as few as the lists permit, in as little memory as possible, since cache misses
//! dominate the cost (XDP cannot prefetch). The compiler is in the daemon (`lists::ranges`); the
//! layouts and the lookups are here, generic over the storage of the arrays, so that the same code
//! runs on the kernel's maps and on slices in tests.
//!
//! Both families end in *words*: 32-bit integers in pages of [`PAGE_WORDS`], whose
//! two highest bits say what they are. Word 0 is the value "no class".

pub mod v4;
pub mod v6;

/// The bits of an index into a page.
const PAGE_BITS: u32 = 18;

/// The words of a page: 1 MiB, so that the largest node of [`v6`] fits into one.
pub const PAGE_WORDS: usize = 1 << PAGE_BITS;

/// A page, the value of the arrays of words.
pub type Page = [u32; PAGE_WORDS];

/// The bits of a word that point to another word.
pub const POINTER_BITS: u32 = 30;

/// The kind of a word, in its two highest bits. Kinds 1 to 3 differ between the families.
#[must_use]
#[inline(always)]
pub const fn kind(word: u32) -> u32 {
    word >> POINTER_BITS
}

/// The word that a word points to.
#[must_use]
#[inline(always)]
pub const fn pointer(word: u32) -> u32 {
    word & ((1 << POINTER_BITS) - 1)
}

/// A word of kind 0 is a set of classes.
pub const VALUE: u32 = 0;

/// The words of a table.
pub trait Pages {
    /// A page of the table.
    type Page: Copy;

    /// The page with this number, or `None` if the table has none, which a compiled table never
    /// requests.
    fn page(&self, number: u32) -> Option<Self::Page>;

    /// A word of a page; `index` is below [`PAGE_WORDS`].
    fn word(page: Self::Page, index: usize) -> u32;

    /// The word at a pointer, 0 where there is none.
    #[inline(always)]
    fn at(&self, pointer: u32) -> u32 {
        match self.page(page_of(pointer)) {
            Some(page) => Self::word(page, index_of(pointer)),
            None => 0,
        }
    }
}

/// The page of a pointer.
#[must_use]
#[inline(always)]
pub const fn page_of(pointer: u32) -> u32 {
    pointer >> PAGE_BITS
}

/// The index of a pointer in its page. The mask is the bound that the kernel's verifier recognises.
#[must_use]
#[inline(always)]
pub const fn index_of(pointer: u32) -> usize {
    pointer as usize & (PAGE_WORDS - 1)
}

/// Words in a slice: a whole number of pages, as the compiler makes them.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a>(pub &'a [u32]);

impl<'a> Pages for Slice<'a> {
    type Page = &'a [u32];

    fn page(&self, number: u32) -> Option<&'a [u32]> {
        self.0.chunks_exact(PAGE_WORDS).nth(number as usize)
    }

    fn word(page: &'a [u32], index: usize) -> u32 {
        page.get(index).copied().unwrap_or(0)
    }
}
