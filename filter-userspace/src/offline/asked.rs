//! What `check --online` found of one thing on the network.

use serde::{Deserialize, Serialize};

/// Something on the network that the configuration names, and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What it is: `resolver`, `zone`, `backend`, `ldap` or `port`.
    pub kind: String,
    /// Which one.
    pub name: String,
    /// Whether it does what mxdp needs of it.
    pub good: bool,
    /// What it said, or why it is not good.
    pub detail: String,
}
