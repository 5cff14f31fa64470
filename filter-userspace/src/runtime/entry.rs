//! A managed entry: what it holds, its bounds, and why one is refused.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::text;

/// The most entries of both lists together. What is longer belongs in a file.
pub const ENTRY_LIMIT: usize = 100_000;

/// The longest note, in characters.
pub const NOTE_LIMIT: usize = 200;

/// The longest time an entry may be given, in seconds: a hundred years.
pub const LONGEST_S: u64 = 100 * 365 * 86_400;

/// A list that is changed while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeList {
    /// Approved addresses.
    Approved,
    /// Blocked addresses.
    Blocked,
}

/// A managed entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeEntry {
    /// The list it is on.
    pub list: RuntimeList,
    /// The network, masked.
    pub prefix: IpNet,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was added: seconds of the Unix epoch.
    pub added_at: u64,
    /// When it expires: seconds of the Unix epoch; none means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl RuntimeEntry {
    /// Whether its time is not over at `now`, by the clock of its times.
    #[must_use]
    pub fn is_in_force(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

impl RuntimeList {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Blocked => "blocked",
        }
    }

    /// The command that lists its entries.
    const fn command(self) -> &'static str {
        match self {
            Self::Approved => "approve",
            Self::Blocked => "block",
        }
    }
}

/// Why the entries were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The note is longer than [`NOTE_LIMIT`] characters.
    #[error("the note has {0} characters, at most {NOTE_LIMIT} are kept")]
    NoteTooLong(usize),
    /// The note holds a line break or another control character.
    #[error("the note holds a control character; it must be one line of text")]
    NoteControl,
    /// The entry would have expired at once, or never.
    #[error("an entry may stand for 1 second to {days} days, not {0} seconds", days = LONGEST_S / 86_400)]
    Expiry(u64),
    /// The entry would have an end, and none.
    #[error("an entry is permanent or has a time: `permanent` and `expires_in_s` are not both")]
    TimeOfPermanent,
    /// A block of so much that it must be forced.
    #[error(
        "{0} is a block of more than a /8 of IPv4 or a /16 of IPv6; if that is meant, use \
         --force (API: \"force\": true; console: the box)"
    )]
    TooShort(IpNet),
    /// The lists are full.
    #[error(
        "there are already {ENTRY_LIMIT} managed entries; remove some, or keep them in a list file"
    )]
    Full,
    /// There is no such entry.
    #[error("{prefix} is not {} by a managed entry; see `mxdp {} list`", list.name(), list.command())]
    NotFound {
        /// The list that was searched.
        list: RuntimeList,
        /// The prefix, normalised.
        prefix: IpNet,
    },
}

/// Refuses a note that is not one line of bounded length.
pub(super) fn check_note(note: &str) -> Result<(), RuntimeError> {
    let characters = note.chars().count();
    if characters > NOTE_LIMIT {
        return Err(RuntimeError::NoteTooLong(characters));
    }
    if note.contains(text::is_active) {
        return Err(RuntimeError::NoteControl);
    }
    Ok(())
}
