//! `[reload]`: reloading.

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Reload", sections: &["reload"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("reload");

keys! {
    /// Whether mxdp reloads when a watched file changes. A changed LDAP answer or
    /// `approved.spf` result always triggers a full reload
    live WATCH = "watch";
}

/// Reloading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether a changed file is loaded by itself.
    pub watch: bool,
}

/// Reads `[reload]`.
pub(in crate::config) fn read(section: Section<'_>) -> Reload {
    let watch = section.boolean(WATCH, true);
    section.finish();
    Reload { watch }
}
