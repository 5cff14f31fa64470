//! The configuration as a whole.

use std::path::PathBuf;

use super::keys::countries::Countries;
use super::keys::dns::Dns;
use super::keys::filter::Filter;
use super::keys::limits::Limits;
use super::keys::lists::{InlineEntry, ListSource, SpfDomain};
use super::keys::reload::Reload;
use super::keys::syn_rate::SynRates;
use super::keys::web::Web;
use super::smtp::Smtp;
use super::startup::Startup;
use crate::lists::EnforcementTable;

/// A configuration without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// What only a restart changes; everything else is live.
    pub startup: Startup,
    /// What the packet filter does.
    pub filter: Filter,
    /// What each class does to a SYN.
    pub enforcement: EnforcementTable,
    /// Whether blocked lists count for nothing, since `reputation.ers_compatible`
    /// is set and there is no standard reputation.
    pub ignores_blocked: bool,
    /// List files.
    pub lists: Vec<ListSource>,
    /// Addresses that stand in the file itself.
    pub inline: Vec<InlineEntry>,
    /// Countries.
    pub countries: Countries,
    /// SYN rates.
    pub syn_rate: SynRates,
    /// The web console and the API; none without a section.
    pub web: Option<Web>,
    /// Reloading.
    pub reload: Reload,
    /// Limits on files.
    pub limits: Limits,
    /// The name servers that are queried.
    pub dns: Dns,
    /// Domains whose hosts are approved, by their SPF records.
    pub approved_spf: Vec<SpfDomain>,
    /// The SMTP side; none without `[listen]`.
    pub smtp: Option<Smtp>,
}

impl Config {
    /// Whether name servers are asked anything.
    #[must_use]
    pub fn asks_dns(&self) -> bool {
        !self.approved_spf.is_empty() || self.smtp.as_ref().is_some_and(Smtp::asks_dns)
    }

    /// What a reload does not carry out of this configuration while `active` is the
    /// active one, a line each. Asked for at every reload, it is said at every reload, until a restart.
    #[must_use]
    pub fn needs_restart(&self, active: &Self) -> Vec<String> {
        let keys = active.startup.changed_keys(&self.startup).into_iter();
        keys.map(|key| format!("{key} was changed; that takes effect when mxdp is restarted"))
            .collect()
    }

    /// This configuration with what only a restart changes as it is in `active`. The SMTP side
    /// neither comes nor goes, and a console does not come.
    #[must_use]
    pub fn until_restart(self, active: &Self) -> Self {
        let startup = active.startup.clone();
        let smtp = self.smtp.or_else(|| active.smtp.clone()).filter(|_| startup.mail.is_some());
        let web = self.web.filter(|_| startup.web.is_some());
        Self { startup, smtp, web, ..self }
    }
}
