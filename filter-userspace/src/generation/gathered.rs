//! What was read for a rule set: bytes, of which nothing is parsed yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::io::last_good::Header;
use crate::lists::Protected;

/// Everything that a rule set is compiled from, besides the configuration itself.
#[derive(Default)]
pub struct Gathered {
    /// What becomes of a source that fails; without it every fault is an error.
    pub tolerance: Option<Tolerated>,
    /// The sources, by their keys.
    pub sources: BTreeMap<String, Said>,
    /// The last good contents that are used, by the keys of their sources.
    pub copies: BTreeMap<String, KeptAnswer>,
    /// What was to be accepted and is not a source, a line each.
    pub unknown: Vec<String>,
    /// The networks of the domains of `approved.spf`, in their order.
    pub networks: Vec<Networks>,
    /// The last answers of directories, in their order; none before the first one.
    pub directories: Vec<KeptAnswer>,
    /// The files of the keys of DNS lists, in their order.
    pub zone_keys: Vec<Result<Vec<u8>, String>>,
    /// What there is to say of files in the country folder that are not a country's.
    pub passed_over: Option<String>,
    /// The addresses that no block is to cover.
    pub protected: Protected,
    /// What there is to say of name servers and certificates.
    pub remarks: Vec<String>,
}

/// A copy that is kept, with its bytes; none where there is none, or why it cannot be read.
pub type KeptAnswer = Result<Option<(Header, Vec<u8>)>, String>;

/// How faults are tolerated.
#[derive(Default)]
pub struct Tolerated {
    /// The sources of the active rule set: without a copy of one of these, the active rule
    /// set stays.
    pub active: BTreeSet<String>,
}

/// What a source contains.
pub struct Said {
    /// What it contains now, or why it cannot be read.
    pub now: Result<Vec<u8>, String>,
    /// Its last good content.
    pub kept: Kept,
    /// Whether an operator accepts it however little it has left.
    pub is_accepted: bool,
}

/// The last good content of a source.
pub enum Kept {
    /// There is none.
    Nothing,
    /// It is what the source contains now.
    Same(Header),
    /// It differs from what the source contains now. Its bytes are read only where they are used:
    /// they are in [`Gathered::copies`] then.
    Other(Header),
    /// It cannot be used.
    Damaged(String),
}

impl Kept {
    /// What is known of it.
    #[must_use]
    pub const fn header(&self) -> Option<&Header> {
        match self {
            Self::Same(header) | Self::Other(header) => Some(header),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }
}

/// The networks of a domain of `approved.spf`.
pub struct Networks {
    /// The file that has them.
    pub path: PathBuf,
    /// Its bytes; none before the first answer.
    pub said: Option<Result<Vec<u8>, String>>,
}
