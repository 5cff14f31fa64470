//! The active rule set, and how the next one takes its place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use anyhow::{Result, anyhow};

use crate::config::Config;
use crate::generation::build::{Built, Previous, settings};
use crate::generation::changes::Remembered;
use crate::generation::fault::Fault;
use crate::generation::watched::FileStamps;
use crate::generation::{certificates, standing};
use crate::io::certificates::Facts;
use crate::io::clock;
use crate::io::kernel::{Change, Filter, Layouts};
use crate::io::smtp::{Edge, Generation};
use crate::lists::Lists;
use crate::policy::rules::Policy;
use crate::runtime::RuntimeEntries;
use crate::web::Publisher;

/// The active rule set.
pub(super) struct Active {
    /// The configuration file.
    pub(super) path: PathBuf,
    /// Its configuration.
    pub(super) config: Config,
    /// Its lists and their table.
    pub(super) lists: Arc<Lists>,
    /// How the table is laid out in the kernel.
    pub(super) layouts: Layouts,
    /// Its number: one more than that of the one before it.
    pub(super) number: u64,
    /// When it became active, in seconds of the Unix epoch.
    pub(super) since: u64,
    /// How long it took to be built, in milliseconds.
    pub(super) build_ms: u64,
    /// What an operator is warned of.
    pub(super) warnings: Vec<String>,
    /// Its sources that something else is used for.
    faults: Vec<Fault>,
    /// Its sources.
    sources: BTreeSet<String>,
    /// What is remembered of its configuration and files.
    remembered: Arc<Remembered>,
    /// The SMTP side, if there is one.
    edge: Option<Arc<Edge>>,
    /// Where the console learns who may use it, if there is one.
    console: Option<Publisher>,
}

/// What a rule set that has become active leaves to be done.
pub(super) struct Installed {
    /// The files that are to be watched.
    pub(super) seen: FileStamps,
    /// The answers that were held back and are accepted.
    pub(super) accepted: Vec<String>,
    /// What differs from the rule set before it, a line each.
    pub(super) changes: Vec<String>,
}

impl Active {
    /// The rule set of a start, and the files that are to be watched.
    pub(super) fn new(
        path: PathBuf,
        built: Built,
        number: u64,
        edge: Option<Arc<Edge>>,
        console: Option<Publisher>,
    ) -> (Self, FileStamps) {
        let active = Self {
            path,
            config: built.config,
            lists: built.lists,
            layouts: built.layouts,
            number,
            since: clock::unix_seconds(),
            build_ms: built.elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            warnings: built.warnings,
            faults: built.faults,
            sources: built.sources,
            remembered: Arc::new(built.remembered),
            edge,
            console,
        };
        (active, built.seen)
    }

    /// What the next rule set is built beside.
    pub(super) fn previous(&self) -> Previous {
        Previous {
            lists: self.lists.clone(),
            layouts: self.layouts,
            sources: self.sources.clone(),
            remembered: self.remembered.clone(),
            config: self.config.clone(),
        }
    }

    /// Makes a rule set active, or leaves everything as it was.
    pub(super) fn replace(&mut self, built: Built, filter: &mut Filter) -> Result<Installed> {
        let Built { config, policy, web, tables, .. } = built;
        let mail = self.next_mail(&config, policy)?;
        // First what may fail for reasons of the network; it changes no policy. Interfaces
        // that are no longer named are let go of when the policy stands.
        let (before, both) = filter.with(&config.filter.interfaces);
        filter.attach(&both, config.startup.filter.mode)?;
        let number = self.number + 1;
        let settings = Some(settings(&config, number));
        if let Err(error) = filter.publish(&Change { files: tables, settings }) {
            // What is new must not stay, judged by rules that are not its own.
            if let Err(error) = filter.attach(&before, config.startup.filter.mode) {
                tracing::error!("interfaces are filtered that should not be: {error:#}");
            }
            return Err(error);
        }
        if let Err(error) = filter.attach(&config.filter.interfaces, config.startup.filter.mode) {
            tracing::error!("interfaces are filtered that should not be: {error:#}");
        }
        self.number = number;
        self.since = clock::unix_seconds();
        self.build_ms = built.elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        self.config = config;
        self.lists = built.lists;
        self.layouts = built.layouts;
        self.warnings = built.warnings;
        self.faults = built.faults;
        self.sources = built.sources;
        self.remembered = Arc::new(built.remembered);
        if let (Some(edge), Some(mail)) = (&self.edge, mail) {
            edge.publish(mail);
        }
        match (&self.console, web) {
            (Some(console), Some(rules)) => console.publish(rules),
            // Its sockets stay until a restart, and let nobody in.
            (Some(console), None) => console.close(),
            (None, _) => {}
        }
        Ok(Installed { seen: built.seen, accepted: built.accepted, changes: built.changes })
    }

    /// The next generation of the SMTP side, which may still be refused.
    fn next_mail(&self, config: &Config, policy: Option<Policy>) -> Result<Option<Generation>> {
        let (Some(edge), Some(policy)) = (&self.edge, policy) else { return Ok(None) };
        certificates::generation(config, policy, Some(&edge.generation()))
            .map_err(|errors| anyhow!(errors.join("\n")))
    }

    /// Tells the SMTP side what the lists, and the managed entries, say now.
    pub(super) fn publish_lists(&self, managed: Arc<RwLock<RuntimeEntries>>) {
        if let Some(edge) = &self.edge {
            let lists = self.lists.clone();
            edge.publish_lists(standing::classify(lists, managed, self.config.enforcement));
        }
    }

    /// The first of the protected ports.
    pub(super) fn port(&self) -> u16 {
        self.config.filter.ports.first().copied().unwrap_or(25)
    }

    /// The faults of its sources, as alarms at `now`, in seconds of the Unix epoch.
    pub(super) fn alarms(&self, now: u64) -> Vec<String> {
        self.faults.iter().map(|fault| fault.alarm(now)).collect()
    }

    /// The certificates that are served, to SMTP clients and by the console.
    pub(super) fn served(&self) -> Vec<Facts> {
        let edge = self.edge.iter().flat_map(|edge| edge.certificates());
        edge.chain(self.console.iter().filter_map(Publisher::certificate)).collect()
    }

    /// Logs what is active.
    pub(super) fn announce(&self, filter: &Filter, managed: usize) {
        for attachment in filter.attachments() {
            tracing::info!(
                interface = attachment.interface,
                mode = attachment.mode.name(),
                adopted = attachment.adopted,
                pinned = attachment.is_pinned(),
                "filtering"
            );
        }
        tracing::info!(
            generation = self.number,
            ipv4 = self.lists.table.v4.len(),
            ipv6 = self.lists.table.v6.len(),
            managed,
            milliseconds = self.build_ms,
            "the rule set is active"
        );
    }

    /// The same in a line, for the service manager.
    pub(super) fn summary(&self, filter: &Filter, has_failed: bool) -> String {
        let interfaces: Vec<_> =
            filter.attachments().iter().map(|one| one.interface.as_str()).collect();
        let prefixes = self.lists.table.v4.len() + self.lists.table.v6.len();
        let failed = if has_failed { "; the last reload failed" } else { "" };
        format!(
            "Filtering on {}: generation {}, {prefixes} prefixes{failed}",
            interfaces.join(", "),
            self.number
        )
    }
}
