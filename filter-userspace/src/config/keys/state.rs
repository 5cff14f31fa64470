//! `[state]`: what is kept across restarts.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::values::read_absolute;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "State", sections: &["state"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("state");

keys! {
    /// The folder of the entries of `mxdp approve` and `mxdp block`, and of the last good
    /// content of lists, databases and directories. An entry that cannot be written there is
    /// refused, and is not active
    restart FOLDER = "folder";
}

/// What is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// The folder of runtime entries.
    pub folder: PathBuf,
}

/// Reads `[state]`.
pub(in crate::config) fn read(section: Section<'_>) -> State {
    let folder = read_absolute(&section, FOLDER, "/var/lib/mxdp");
    section.finish();
    State { folder }
}
