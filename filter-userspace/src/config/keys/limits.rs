//! `[limits]`: limits on files.

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Limits on files", sections: &["limits"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("limits");

keys! {
    /// The largest list or database, and the largest sum of a country folder's files. The copy
    /// of its last good content and the answer of a directory may have as much each
    live FILE_BYTES = "file_bytes";
    /// The most prefixes of all lists together, and of the country data
    live PREFIXES = "prefixes";
}

/// Bounds on files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// The most prefixes of all lists together; of country data too.
    pub prefixes: usize,
}

/// Reads `[limits]`.
pub(in crate::config) fn read(section: Section<'_>) -> Limits {
    let limits = Limits {
        file_bytes: section.size(FILE_BYTES, 1024..=4_294_967_296, 268_435_456),
        prefixes: section.integer(PREFIXES, 1..=67_108_864, 16_777_216),
    };
    section.finish();
    limits
}
