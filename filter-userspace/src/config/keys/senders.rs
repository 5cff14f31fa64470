//! `[senders]`: approved and blocked senders.

use std::path::{Path, PathBuf};

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{At, Section};
use crate::config::values::read_paths;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Senders", sections: &["senders"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("senders");

keys! {
    /// Approved senders: `user@example.org`, `*@example.org`, `*@*.example.org`. They skip
    /// known spam sources, temporary blocks and DNS lists, and nothing else
    live APPROVED = "approved";
    /// Whether an approved sender counts as one only if SPF passes
    live APPROVE_REQUIRES_SPF_PASS = "approve_requires_spf_pass";
    /// Blocked senders: 550. The more specific pattern counts; of equal ones the blocked
    live BLOCKED = "blocked";
    /// Files of approved senders, a pattern a line. A last line without a line end is an error
    /// where all senders of a domain are meant: it may be half of another domain
    live APPROVED_FILES = "approved_files";
    /// Files of blocked senders. A domain alone (`example.org`) is read as `*@example.org`. The
    /// rule about the last line holds here too
    live BLOCKED_FILES = "blocked_files";
}

/// Approved and blocked senders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// Patterns in the configuration, each with its line.
    pub approved: Vec<(String, u32)>,
    /// Patterns in the configuration, each with its line.
    pub blocked: Vec<(String, u32)>,
    /// Files of approved patterns.
    pub approved_files: Vec<PathBuf>,
    /// Files of blocked patterns.
    pub blocked_files: Vec<PathBuf>,
    /// Whether an approved sender is one only where SPF lets it pass.
    pub approve_requires_spf_pass: bool,
}

/// Reads `[senders]`.
pub(in crate::config) fn read(section: Section<'_>, folder: &Path) -> Senders {
    let patterns = |key: Key| {
        section.describe(key, "array of patterns", "");
        let found = section.strings(key).into_iter();
        found.map(|text: At<&str>| (text.value.to_owned(), text.line)).collect()
    };
    let senders = Senders {
        approved: patterns(APPROVED),
        blocked: patterns(BLOCKED),
        approved_files: read_paths(&section, APPROVED_FILES, folder),
        blocked_files: read_paths(&section, BLOCKED_FILES, folder),
        approve_requires_spf_pass: section.boolean(APPROVE_REQUIRES_SPF_PASS, false),
    };
    section.finish();
    senders
}
