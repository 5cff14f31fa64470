//! `[rate]`: messages and recipients a minute.

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Rates", sections: &["rate"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("rate");

keys! {
    /// The most messages times recipients per minute of one client address (IPv6: one /64);
    /// beyond it 450. 0 means no limit
    live PER_ADDRESS = "per_address";
    /// The same for one recipient
    live PER_RECIPIENT = "per_recipient";
}

/// Messages times recipients a minute; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Of one address (IPv6: /64).
    pub per_address: u32,
    /// For one recipient.
    pub per_recipient: u32,
}

/// Reads `[rate]`.
pub(in crate::config) fn read(section: Section<'_>) -> Rate {
    let rate = Rate {
        per_address: section.integer(PER_ADDRESS, 0..=1_000_000, 0),
        per_recipient: section.integer(PER_RECIPIENT, 0..=1_000_000, 0),
    };
    section.finish();
    rate
}
