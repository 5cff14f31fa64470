//! Reloads: built beside the daemon's thread, put in force by it, and recorded.

use std::sync::Arc;
use std::{mem, panic, thread};

use anyhow::{Result, anyhow};

use super::core::{Daemon, Message, Origin};
use super::misconfigured;
use crate::config::Config;
use crate::control::protocol::{FailedReload, Reloaded};
use crate::control::server::Incoming;
use crate::generation::answers::{DIRECTORY, SPF};
use crate::generation::build::{self, Built, InForce};
use crate::generation::{certificates, standing};
use crate::io::clock;
use crate::io::kernel::Change as KernelChange;
use crate::io::service_manager;
use crate::io::smtp::Generation;
use crate::policy::rules::Policy;
use crate::record::Change;
use crate::store::Entry;

/// The longest text of a recorded reload, in characters.
const RECORDED: usize = 4000;

/// Why an operator's reload is one.
pub(super) const ASKED: &str = "an operator asked for it";

impl Daemon {
    /// Reloads because an operator asked for it, who is answered by a generation whose files
    /// were read after that.
    pub(super) fn reload_for(&mut self, asked: Incoming, accept: Vec<String>) {
        self.accept.extend(accept);
        if self.building { &mut self.waiting_for_next } else { &mut self.waiting }.push(asked);
        self.reload(ASKED);
    }

    /// Builds a generation beside this thread; [`Message::Built`] brings it.
    pub(super) fn reload(&mut self, why: &'static str) {
        if self.building {
            self.build_again = true;
            return;
        }
        tracing::info!(why, "reloading");
        self.reload_why = why;
        service_manager::reloading();
        self.building = true;
        let path = self.path.clone();
        let in_force = InForce {
            lists: self.lists.clone(),
            layouts: self.layouts,
            sources: self.list_sources.clone(),
            remembered: self.remembered.clone(),
            started_with: self.started_with.clone(),
            config: self.config.clone(),
        };
        let accept = mem::take(&mut self.accept);
        let messages = self.messages.clone();
        thread::spawn(move || {
            let result = panic::catch_unwind(|| build::build(&path, Some(&in_force), &accept))
                .unwrap_or_else(|_| {
                    Err(vec!["reading or compiling the lists panicked; see the log".to_owned()])
                });
            // The channel is closed only when the daemon ends.
            _ = messages.blocking_send(Message::Built(Box::new(result)));
        });
    }

    pub(super) fn install(&mut self, result: Result<Built, Vec<String>>) {
        self.building = false;
        let outcome = result
            .and_then(|built| self.put_in_force(built).map_err(|error| vec![format!("{error:#}")]));
        self.note_reload(&outcome);
        let outcome = outcome.map(|(warnings, _)| warnings);
        let answer = match outcome {
            Ok(warnings) => {
                let now = clock::unix_seconds();
                let faults = self.faults.iter().map(|fault| fault.alarm(now)).collect();
                Ok(Reloaded { generation: self.generation, warnings, faults })
            }
            Err(errors) => {
                let failure = misconfigured(&errors);
                let message = failure.message.clone();
                tracing::error!(
                    generation = self.generation,
                    "the reload failed, and the last good generation stays in force:\n{message}"
                );
                self.failed_reload = Some(FailedReload { at: clock::unix_seconds(), message });
                self.watch_what_is_wanted();
                Err(failure)
            }
        };
        // Seen by whoever asks next, not a second later.
        self.check();
        for waiting in self.waiting.drain(..) {
            waiting.answer(answer.clone());
        }
        if self.build_again {
            // Whoever asked meanwhile waits for the state of now, and no longer, however
            // often files change.
            self.build_again = false;
            self.waiting = mem::take(&mut self.waiting_for_next);
            return self.reload("files changed while the last reload was built");
        }
        service_manager::ready(&self.summary());
    }

    /// Puts a generation in force, or leaves everything as it was.
    fn put_in_force(&mut self, built: Built) -> Result<(Vec<String>, Vec<String>)> {
        let Built { config, lists, policy, web, tables, layouts, elapsed, seen, .. } = built;
        let (warnings, faults, list_sources) = (built.warnings, built.faults, built.sources);
        let (remembered, changes) = (built.remembered, built.changes);
        let mail = self.next_mail(&config, policy)?;
        // First what may fail for reasons of the network; it changes no policy. Interfaces
        // that are no longer named are let go of when the policy stands.
        let (before, both) = self.filter.with(&config.filter.interfaces);
        self.filter.attach(&both, config.filter.mode)?;
        let generation = self.generation + 1;
        let published = self.filter.publish(&KernelChange {
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
        self.remembered = Arc::new(remembered);
        self.accepted(&built.accepted);
        if let (Some(edge), Some(mail)) = (&self.edge, mail) {
            edge.publish(mail);
        }
        match (&self.console, web) {
            (Some(console), Some(rules)) => console.publish(rules),
            // Its sockets stay until a restart, and let nobody in.
            (Some(console), None) => console.close(),
            (None, _) => {}
        }
        self.publish_lists();
        self.protect();
        self.watch(seen);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        self.announce();
        self.warnings.clone_from(&warnings);
        Ok((warnings, changes))
    }

    /// What was held back and is accepted needs nobody any more.
    fn accepted(&mut self, names: &[String]) {
        for name in names {
            let directory = name.strip_prefix(DIRECTORY);
            let origin = directory.map(|name| Origin::Directory(name.to_owned()));
            let domain = name.strip_prefix(SPF).map(|name| Origin::Spf(name.to_owned()));
            if let Some(origin) = origin.or(domain) {
                self.failing.remove(&origin);
            }
        }
    }

    /// Records what a reload changed, or why it changed nothing; what was asked for has a
    /// row with the operator's name besides.
    fn note_reload(&self, outcome: &Result<(Vec<String>, Vec<String>), Vec<String>>) {
        let why = self.reload_why;
        // What an operator asked for has its row already.
        let says_more = outcome.as_ref().is_ok_and(|(_, changes)| !changes.is_empty());
        if why == ASKED && !says_more {
            return;
        }
        let (what, outcome) = match outcome {
            Ok((_, changes)) if changes.is_empty() => {
                (format!("reload ({why}): nothing changed"), "done".to_owned())
            }
            Ok((_, changes)) => {
                (format!("reload ({why}): {}", changes.join("; ")), "done".to_owned())
            }
            Err(errors) => (format!("reload ({why})"), format!("refused: {}", errors.join("\n"))),
        };
        _ = self.sink.add(Entry::Change(Change {
            time: clock::unix_ms(),
            who: "mxdp".to_owned(),
            what: bounded(&what),
            outcome: bounded(&outcome),
        }));
    }

    /// The next generation of the SMTP side, which may still be refused.
    fn next_mail(&self, config: &Config, policy: Option<Policy>) -> Result<Option<Generation>> {
        let (Some(edge), Some(policy)) = (&self.edge, policy) else { return Ok(None) };
        certificates::generation(config, policy, Some(&edge.generation()))
            .map_err(|errors| anyhow!(errors.join("\n")))
    }

    /// Tells the SMTP edge what the lists say now.
    pub(super) fn publish_lists(&self) {
        if let Some(edge) = &self.edge {
            let (files, runtime) = (self.lists.clone(), self.entries.clone());
            edge.publish_lists(standing::classify(files, runtime, self.config.enforcement));
        }
    }
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(RECORDED) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
