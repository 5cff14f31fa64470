//! `[temporary]`: temporary blocks.

use serde::Serialize;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Temporary blocks", sections: &["temporary"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("temporary");

keys! {
    /// The most temporary blocks at once, each of an IPv4 address or an IPv6 /64; each costs
    /// about 100 bytes of kernel memory and 200 of the daemon's. When all are in use, the one
    /// that ends first is replaced
    restart CAPACITY = "capacity";
}

/// Temporary blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Temporary {
    /// The most blocks at once.
    pub capacity: u32,
}

/// Reads `[temporary]`.
pub(in crate::config) fn read(section: Section<'_>) -> Temporary {
    let capacity = section.integer(CAPACITY, 1024..=2_097_152, 131_072);
    section.finish();
    Temporary { capacity }
}
