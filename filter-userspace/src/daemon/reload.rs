//! A reload's last step: a generation that was built is put in force.

use anyhow::{Result, anyhow};

use super::build::{self, Built};
use super::core::Daemon;
use super::mail;
use crate::config::Config;
use crate::io::clock;
use crate::io::kernel::Change;
use crate::io::smtp::Generation;
use crate::policy::pipeline::Policy;

impl Daemon {
    /// Puts a generation in force, or leaves everything as it was.
    pub(super) fn put_in_force(&mut self, built: Built) -> Result<Vec<String>> {
        let Built { config, lists, policy, tables, layouts, elapsed, seen, .. } = built;
        let (mut warnings, faults, list_sources) = (built.warnings, built.faults, built.sources);
        warnings.extend(build::needs_restart(&self.config, &config));
        let config = build::keep_until_restart(&self.config, config);
        let mail = self.next_mail(&config, policy)?;
        // First what may fail for reasons of the network; it changes no policy. Interfaces
        // that are no longer named are let go of when the policy stands.
        let (before, both) = self.filter.with(&config.filter.interfaces);
        self.filter.attach(&both, config.filter.mode)?;
        let generation = self.generation + 1;
        let published = self.filter.publish(&Change {
            files: tables,
            settings: Some(build::settings(&config, generation)),
        });
        if let Err(error) = published {
            // What is new must not stay, judged by rules that are not its own.
            if let Err(error) = self.filter.attach(&before, config.filter.mode) {
                tracing::error!("interfaces are filtered that should not be: {error:#}");
            }
            return Err(error);
        }
        if let Err(error) = self.filter.attach(&config.filter.interfaces, config.filter.mode) {
            tracing::error!("interfaces are filtered that should not be: {error:#}");
        }
        self.generation = generation;
        self.since = clock::unix_seconds();
        self.build_ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        self.failed_reload = None;
        self.config = config;
        self.lists = lists;
        self.layouts = layouts;
        self.faults = faults;
        self.list_sources = list_sources;
        if let (Some(edge), Some(mail)) = (&self.edge, mail) {
            edge.publish(mail);
        }
        self.publish_lists();
        self.protect();
        self.watch(seen);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        self.announce();
        self.warnings.clone_from(&warnings);
        Ok(warnings)
    }

    /// The next generation of the SMTP side, which may still be refused.
    fn next_mail(&self, config: &Config, policy: Option<Policy>) -> Result<Option<Generation>> {
        let (Some(edge), Some(policy)) = (&self.edge, policy) else { return Ok(None) };
        mail::generation(config, policy, Some(&edge.generation()))
            .map_err(|errors| anyhow!(errors.join("\n")))
    }

    /// Tells the SMTP edge what the lists say now.
    pub(super) fn publish_lists(&self) {
        if let Some(edge) = &self.edge {
            let (files, runtime) = (self.lists.clone(), self.entries.clone());
            edge.publish_lists(mail::classify(files, runtime, self.config.enforcement));
        }
    }
}
