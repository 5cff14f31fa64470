//! The layout of every map and event that crosses the kernel's edge.
//!
//! All structs are `repr(C)`, hold integers and byte arrays only, have no
//! padding, and have their sizes asserted here: a change of layout is a change
//! of [`VERSION`], and the pin directory is named by it.

pub mod dry_run;
mod event;
mod managed;
mod selector;
mod settings;
mod source;

pub use event::{Event, Sampler};
pub use managed::{MANAGED_ENTRIES, Managed};
pub use selector::Selector;
pub use settings::{Settings, SynRate};
pub use source::{SourceKey, TemporaryBlock, TemporaryReason};

use crate::frame::Family;
use crate::reason::Reason;

/// The version of everything in this module. Kernel objects of another version
/// are replaced, never adopted.
pub const VERSION: u8 = 3;

/// The map names in the object file and in the pin directory.
pub mod maps {
    /// One [`super::Selector`]: which slots are active.
    pub const SELECTOR: &str = "SELECTOR";
    /// Two [`super::Settings`], one active.
    pub const SETTINGS: &str = "SETTINGS";
    /// The IPv4 verdict tables as tries, by [`super::slots`].
    pub const LISTS_V4: &str = "LISTS_V4";
    /// The IPv6 verdict tables as tries, by [`super::slots`].
    pub const LISTS_V6: &str = "LISTS_V6";
    /// The planes of IPv4 tables as ranges ([`crate::ranges::v4::Planes`]), by
    /// [`super::slots::FILES`]. If there are none, the trie is searched.
    pub const PLANES_V4: &str = "PLANES_V4";
    /// The pages of IPv4 tables as ranges ([`crate::ranges::Page`]), likewise.
    pub const PAGES_V4: &str = "PAGES_V4";
    /// The pages of IPv6 tables as ranges, likewise.
    pub const PAGES_V6: &str = "PAGES_V6";
    /// Managed entries of IPv4, a trie of [`super::Managed`].
    pub const MANAGED_V4: &str = "MANAGED_V4";
    /// Managed entries of IPv6, likewise.
    pub const MANAGED_V6: &str = "MANAGED_V6";
    /// [`super::SourceKey`] to [`super::TemporaryBlock`].
    pub const TEMPORARY: &str = "TEMPORARY";
    /// [`super::SourceKey`] to the theoretical arrival time of the next SYN.
    pub const SYN_RATE: &str = "SYN_RATE";
    /// Frames by [`super::counter_index`], one set for each CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// One [`super::Sampler`] for each CPU.
    pub const SAMPLER: &str = "SAMPLER";
    /// The ring of [`super::Event`].
    pub const EVENTS: &str = "EVENTS";

    /// The maps that outlive the daemon.
    pub const PINNED: [&str; 14] = [
        SELECTOR, SETTINGS, LISTS_V4, LISTS_V6, PLANES_V4, PAGES_V4, PAGES_V6, MANAGED_V4,
        MANAGED_V6, TEMPORARY, SYN_RATE, COUNTERS, SAMPLER, EVENTS,
    ];
}

/// The name of the entry point that supports every engine, in the object file.
pub const PROGRAM: &str = "mxdp";

/// The name of the one that supports only tries, which the kernel's verifier accepts without
/// CAP_PERFMON.
pub const PROGRAM_TRIE: &str = "mxdp_trie";

/// The flag of arrays of pages: those of a map of maps may differ in length
/// (`BPF_F_INNER_MAP`, kernel 5.10).
pub const INNER_MAP: u32 = 1 << 12;

/// The inner maps of `LISTS_V4` and `LISTS_V6`.
///
/// The tables of the compiled files have two slots: one is active, and the next generation is built
/// in the other. The last slot is never read by the program; see the daemon's grace period.
pub mod slots {
    /// The inner maps of each family.
    pub const COUNT: u32 = 3;
    /// The slots of the compiled list files and countries.
    pub const FILES: [u32; 2] = [0, 1];
    /// Written only to wait for running programs to end.
    pub const GRACE: u32 = 2;
}

const FAMILIES: u32 = 3;
const _: () = assert!(FAMILIES as usize == Family::COUNT);

/// The counters of one CPU.
pub const COUNTERS: usize = Reason::COUNT * Family::COUNT;

/// Where the frames of a reason and family are counted.
#[must_use]
#[inline(always)]
pub const fn counter_index(reason: Reason, family: Family) -> u32 {
    // Two one-byte codes: the product fits.
    reason as u32 * FAMILIES + family as u32
}
