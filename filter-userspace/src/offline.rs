//! SEAM, to be filled: what the configuration and its lists say, without a
//! daemon. The signatures are what the command line calls.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::protocol::{Answer, ListStatus};

/// What `mxdp check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// What keeps the configuration from being used; each may have lines.
    pub errors: Vec<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
    /// The list files and country databases that were read.
    pub lists: Vec<ListStatus>,
    /// The prefixes of the compiled IPv4 table.
    pub ipv4_prefixes: u64,
    /// The prefixes of the compiled IPv6 table.
    pub ipv6_prefixes: u64,
}

/// Reads the configuration and every list it names.
#[must_use]
pub fn check(config: &Path) -> CheckReport {
    CheckReport { errors: vec![missing(config)], ..CheckReport::default() }
}

/// The control socket that a configuration names.
///
/// # Errors
///
/// Every error of the configuration, in lines.
pub fn socket(config: &Path) -> Result<PathBuf, String> {
    Err(missing(config))
}

/// The lists of a configuration, ready to be asked.
#[derive(Debug)]
pub struct Lookup(());

impl Lookup {
    /// Reads the configuration and its lists.
    ///
    /// # Errors
    ///
    /// Every error of either, in lines.
    pub fn open(config: &Path) -> Result<Self, String> {
        Err(missing(config))
    }

    /// What the lists say of an address.
    #[must_use]
    pub fn answer(&self, ip: IpAddr) -> Answer {
        Answer {
            ip,
            class: "none".to_owned(),
            action: "pass".to_owned(),
            prefix: None,
            source: None,
            note: None,
            country: None,
            listed: Vec::new(),
        }
    }
}

fn missing(config: &Path) -> String {
    format!("{}: this build cannot read configurations", config.display())
}
