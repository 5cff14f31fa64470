//! What the configuration and its lists say, without a daemon and without root.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::EnforcementTable;
use crate::control::protocol::{Answer, ExplainedEnvelope, Explanation, ListStatus};
use crate::daemon::answer;
use crate::daemon::build::{self, Lists};
use crate::daemon::mail;
use crate::explain::{NoMemory, explain};
use crate::policy::pipeline::Policy;

/// What `mxdp check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// What keeps the configuration from being used, a line each.
    pub errors: Vec<String>,
    /// What is allowed and probably not meant, a line each.
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
    let loaded = build::read_config(config).and_then(|config| {
        let mut loaded = build::load(&config)?;
        if let Some(policy) = loaded.policy.take() {
            // Certificates are read, as the daemon would.
            mail::generation(&config, policy, None)?;
        }
        loaded.warnings.splice(0..0, config.warnings());
        Ok(loaded)
    });
    match loaded {
        Ok(loaded) => CheckReport {
            errors: Vec::new(),
            warnings: loaded.warnings,
            lists: loaded.lists.statuses(),
            ipv4_prefixes: loaded.lists.table.v4.len() as u64,
            ipv6_prefixes: loaded.lists.table.v6.len() as u64,
        },
        Err(errors) => CheckReport { errors, ..CheckReport::default() },
    }
}

/// The control socket that a configuration names.
///
/// # Errors
///
/// Every error of the configuration, in lines.
pub fn socket(config: &Path) -> Result<PathBuf, String> {
    let config = build::read_config(config).map_err(|errors| errors.join("\n"))?;
    Ok(config.control.socket)
}

/// The lists of a configuration, ready to be asked.
pub struct Lookup {
    lists: Lists,
    enforcement: EnforcementTable,
    policy: Option<Policy>,
}

impl Lookup {
    /// Reads the configuration and its lists.
    ///
    /// # Errors
    ///
    /// Every error of either, in lines.
    pub fn open(config: &Path) -> Result<Self, String> {
        let loaded = build::read_config(config).and_then(|config| {
            let build::Loaded { lists, policy, .. } = build::load(&config)?;
            Ok(Self { lists, enforcement: config.enforcement, policy })
        });
        loaded.map_err(|errors| errors.join("\n"))
    }

    /// What the lists say of an address.
    #[must_use]
    pub fn answer(&self, ip: IpAddr) -> Answer {
        let found = self.lists.set.classify(ip);
        answer::answer(ip, &[&found], |class| self.enforcement.of(class)).0
    }

    /// What would become of a message.
    ///
    /// # Errors
    ///
    /// In words, when sender or recipient is no address.
    pub fn explain(&self, envelope: &ExplainedEnvelope) -> Result<Explanation, String> {
        let found = self.lists.set.classify(envelope.ip);
        let standing = mail::standing(&[found], self.enforcement);
        let syn = self.answer(envelope.ip);
        explain(envelope, &syn, &standing, self.policy.as_ref(), &mut NoMemory)
    }
}
