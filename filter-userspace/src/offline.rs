//! What the configuration and its lists say, without a daemon and without root.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::EnforcementTable;
use crate::config::smtp::Dns;
use crate::control::protocol::{Answer, ExplainedEnvelope, Explanation, ListStatus};
use crate::daemon::answer;
use crate::daemon::build::{self, Lists};
use crate::daemon::mail;
use crate::explain::{Known, NoMemory, explain};
use crate::io::dns::Resolver;
use crate::io::smtp::{Standing, Zones};
use crate::policy::pipeline::Policy;
use crate::policy::reputation::Verdict;

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
    dns: Option<Dns>,
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
            let dns = config.smtp.map(|smtp| smtp.dns);
            Ok(Self { lists, enforcement: config.enforcement, policy, dns })
        });
        loaded.map_err(|errors| errors.join("\n"))
    }

    /// What the lists say of an address.
    #[must_use]
    pub fn answer(&self, ip: IpAddr) -> Answer {
        let found = self.lists.set.classify(ip);
        answer::answer(ip, &[&found], |class| self.enforcement.of(class)).0
    }

    /// What would become of a message. DNS is asked, as a session would.
    ///
    /// # Errors
    ///
    /// In words, when sender or recipient is no address, or there is no name server.
    pub fn explain(&self, envelope: &ExplainedEnvelope) -> Result<Explanation, String> {
        let found = self.lists.set.classify(envelope.ip);
        let standing = mail::standing(&[found], self.enforcement);
        let reputation = self.reputation(envelope.ip, &standing)?;
        let known = Known {
            syn: &self.answer(envelope.ip),
            standing: &standing,
            policy: self.policy.as_ref(),
            reputation: reputation.as_ref(),
        };
        explain(envelope, &known, &mut NoMemory)
    }

    fn reputation(&self, ip: IpAddr, standing: &Standing) -> Result<Option<Verdict>, String> {
        let (Some(policy), Some(dns)) = (&self.policy, &self.dns) else { return Ok(None) };
        if !policy.reputation.is_on() || standing.connection.approved.is_some() {
            return Ok(None);
        }
        asking(async {
            let resolver = Resolver::new(dns, None)?;
            let zones: Arc<Zones> = Arc::default();
            Ok(Some(zones.ask(resolver, policy.reputation.clone(), ip).await))
        })
    }
}

/// Runs what asks name servers, without a daemon.
fn asking<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("the asynchronous runtime: {error}"))?.block_on(asking)
}
