//! A rule set, as it is compiled.

use std::collections::BTreeSet;

use super::contents::Contents;
use super::fault::Fault;
use crate::lists::Lists;
use crate::policy::rules::Policy;

/// Lists that were read and compiled, with what there is to say about them.
pub struct Loaded {
    /// The lists and their table.
    pub lists: Lists,
    /// What decides in SMTP sessions, if there are any.
    pub policy: Option<Policy>,
    /// What an operator is warned of.
    pub warnings: Vec<String>,
    /// Sources that something else is used for.
    pub faults: Vec<Fault>,
    /// The sources that something was read of.
    pub sources: BTreeSet<String>,
    /// What is used of sources that are not lists of addresses.
    pub contents: Contents,
}
