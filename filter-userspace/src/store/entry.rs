//! What a sink takes.

use filter_common::{Family, Reason};

use crate::record::{Change, Record};

/// An entry on its way to the mail log or the audit trail.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The outcome for a recipient, or for SYNs: those of a source, reason and minute
    /// become one record.
    Record(Box<Record>),
    /// What an operator changed; it goes to the audit trail.
    Change(Change),
    /// What the packet filter counted since the last time, with the time.
    Frames(u64, Vec<Frames>),
}

/// Frames that the packet filter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The reason.
    pub reason: Reason,
    /// The family of addresses.
    pub family: Family,
    /// How many.
    pub frames: u64,
}

impl Entry {
    /// About how many bytes it takes in memory.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Record(record) => record.weight(),
            // Operators write few changes, and there are as many counts as reasons.
            Self::Change(_) | Self::Frames(..) => 4 << 10,
        }
    }

    /// Its time: milliseconds of the Unix epoch.
    pub(super) const fn time(&self) -> u64 {
        match self {
            Self::Record(record) => record.time,
            Self::Change(change) => change.time,
            Self::Frames(time, _) => *time,
        }
    }
}
