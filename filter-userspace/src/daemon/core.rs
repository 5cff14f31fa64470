//! The thread that owns the filter and all state.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::active::{Active, Installed};
use super::alarms::{self, Alarms};
use super::blocks::Blocks;
use super::clocks::Clocks;
use super::failures::refused;
use super::followers::Followers;
use super::lookups::{Lookup, of_lists};
use super::losses::Loss;
use super::message::Message;
use super::reloads::Reloads;
use super::runtime_lists::RuntimeLists;
use super::searches::Searches;
use super::status;
use super::suspensions::Suspensions;
use super::syns::Syns;
use crate::control::protocol::{
    Detached, EventStatus, FailedReload, Reloaded, Request, RuntimeEntry, RuntimeList, Status,
};
use crate::control::server::Incoming;
use crate::generation::build::{Built, settings};
use crate::io::kernel::{Change, Filter};
use crate::io::smtp::Edge;
use crate::io::{clock, service_manager};
use crate::lists::ClientNetwork;
use crate::runtime::{Addition, RuntimeEntries};
use crate::store::{Archive, Sink};
use crate::web::Publisher;

/// Everything the daemon knows, in parts of which none knows another's fields.
pub(super) struct Daemon {
    filter: Filter,
    /// The SMTP side, if there is one.
    edge: Option<Arc<Edge>>,
    /// The mail log.
    sink: Arc<dyn Sink>,
    clocks: Clocks,
    active: Active,
    reloads: Reloads,
    runtime_lists: RuntimeLists,
    blocks: Blocks,
    suspensions: Suspensions,
    syns: Syns,
    followers: Followers,
    searches: Searches,
    alarms: Alarms,
    /// Runs what waits for the network.
    tasks: Handle,
}

/// How the thread reaches everything else.
pub(super) struct Channels {
    /// To itself, for what is built beside it.
    pub(super) messages: mpsc::Sender<Message>,
    /// To those who follow sources.
    pub(super) followers: Followers,
    /// The SMTP side, if there is one.
    pub(super) edge: Option<Arc<Edge>>,
    /// To the mail log.
    pub(super) sink: Arc<dyn Sink>,
    /// To what the mail log has.
    pub(super) archive: Arc<dyn Archive>,
    /// Where the console learns who may use it.
    pub(super) console: Option<Publisher>,
}

impl Daemon {
    /// Makes the first rule set active and attaches the filter.
    pub(super) fn start(
        path: PathBuf,
        mut built: Built,
        (mut entries, losses): (RuntimeEntries, Vec<Loss>),
        mut filter: Filter,
        channels: Channels,
    ) -> Result<Self> {
        let Channels { messages, followers, edge, sink, archive, console } = channels;
        let (state, tasks) = (built.config.startup.state.folder.clone(), Handle::current());
        let (clocks, shift) = Clocks::start(state.clone());
        entries.put_forward(shift);
        let number = filter.generation()? + 1;
        let files = built.tables.take();
        let interfaces = &built.config.filter.interfaces;
        filter.require(interfaces)?;
        filter.look_elsewhere(interfaces)?;
        // Maps that were taken over hold a rule set that is active: attach
        // first, so that a start that fails changes nothing of it. New maps are
        // filled before any packet meets them.
        let taken_over = number > 1;
        if taken_over {
            filter.attach(interfaces, built.config.startup.filter.mode)?;
        }
        filter.manage_exactly(&entries.said_of_all(|at| clocks.timeline.boot_ns_at(at)))?;
        filter.publish(&Change { files, settings: Some(settings(&built.config, number)) })?;
        if !taken_over {
            filter.attach(interfaces, built.config.startup.filter.mode)?;
        }
        let (active, seen) = Active::new(path, built, number, edge.clone(), console);
        let mut daemon = Self {
            filter,
            clocks,
            active,
            reloads: Reloads::new(messages, sink.clone()),
            runtime_lists: RuntimeLists::new((entries, losses), state.clone(), tasks.clone()),
            blocks: Blocks::new(edge.clone(), state.clone(), tasks.clone()),
            suspensions: Suspensions::new(edge.clone(), state),
            syns: Syns::default(),
            followers,
            searches: Searches::new(archive, tasks.clone()),
            alarms: Alarms::default(),
            edge,
            sink,
            tasks,
        };
        let Self { clocks, active, blocks, filter, .. } = &mut daemon;
        blocks.restore(shift, &clocks.timeline, &active.config, filter);
        daemon.suspensions.restore(shift, &daemon.clocks.timeline);
        daemon.blocks.publish(&mut daemon.filter);
        daemon.blocks.protect(&daemon.active.config, &mut daemon.filter);
        daemon.blocks.collect(&mut daemon.filter)?;
        daemon.clocks.save();
        daemon.runtime_lists.save();
        daemon.active.publish_lists(daemon.runtime_lists.shared());
        daemon.followers.follow(&daemon.active.config, seen);
        Ok(daemon)
    }

    /// Logs what is active.
    pub(super) fn announce(&self) {
        self.active.announce(&self.filter, self.runtime_lists.entries().len());
    }

    /// Takes messages until it is told to stop; then takes the filter off, if it
    /// is not to outlive the daemon.
    pub(super) fn run(mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<()> {
        service_manager::ready(&self.summary());
        while let Some(message) = inbox.blocking_recv() {
            match message {
                Message::Request(asked) => {
                    if matches!(asked.request, Request::Detach) {
                        return self.detach(asked);
                    }
                    self.serve(asked);
                }
                Message::Reload(why) => self.reloads.begin(why, &self.active),
                Message::Built(result) => self.install(*result),
                Message::Events(events) => self.syns.note(&events, self.clocks.uptime()),
                Message::Block(block) => {
                    self.blocks.block(block, &self.active.config, &mut self.filter);
                }
                Message::SourceChecked(origin, failure) => self.followers.checked(origin, failure),
                Message::Tick => self.tick(),
                Message::Stop(why) => {
                    let stays = self.active.config.startup.filter.persist;
                    tracing::info!(why, filter_stays = stays, "stopping");
                    service_manager::stopping();
                    break;
                }
            }
        }
        self.record_dropped();
        self.save_blocks(true);
        self.suspensions.save(&self.clocks.timeline);
        self.clocks.save();
        self.runtime_lists.save();
        if !self.active.config.startup.filter.persist {
            self.filter.detach()?;
        }
        Ok(())
    }

    fn detach(mut self, asked: Incoming) -> Result<()> {
        service_manager::stopping();
        self.save_blocks(true);
        let result = self.filter.detach();
        let outcome = result.as_ref().map(|_| ()).map_err(|error| anyhow!("{error:#}"));
        let answer = result.map(|interfaces| Detached { interfaces });
        asked.answer(answer.map_err(|error| refused(&error)));
        outcome
    }

    fn tick(&mut self) {
        service_manager::alive();
        self.clocks.look();
        self.runtime_lists.expire(&mut self.filter, &self.clocks.timeline);
        self.clocks.save_if_due();
        if let Err(error) = self.blocks.collect(&mut self.filter) {
            tracing::error!("{error:#}");
        }
        self.blocks.protect_if_due(&self.active.config, &mut self.filter);
        self.record_dropped();
        self.save_blocks(false);
        self.suspensions.save(&self.clocks.timeline);
        self.check();
    }

    /// Makes a rule set active that was built, or says why none was; answers who waits for it.
    fn install(&mut self, result: Result<Built, Vec<String>>) {
        let outcome = result
            .and_then(|built| self.replace(built).map_err(|error| vec![format!("{error:#}")]));
        self.reloads.ended(&outcome);
        let answer = match outcome {
            Ok(_) => Ok(Reloaded {
                generation: self.active.number,
                warnings: self.active.warnings.clone(),
                faults: self.active.alarms(clock::unix_seconds()),
            }),
            Err(errors) => {
                let failure = self.reloads.fail(&errors, self.active.number);
                self.followers.watch_wanted(&self.active.path, &self.active.config);
                Err(failure)
            }
        };
        // Seen by whoever asks next, not a second later.
        self.check();
        if self.reloads.answer(&answer, &self.active) {
            service_manager::ready(&self.summary());
        }
    }

    /// Makes a rule set active, or leaves everything as it was; what it changes.
    fn replace(&mut self, built: Built) -> Result<Vec<String>> {
        let Installed { seen, accepted, changes } = self.active.replace(built, &mut self.filter)?;
        self.followers.accepted(&accepted);
        self.active.publish_lists(self.runtime_lists.shared());
        self.blocks.protect(&self.active.config, &mut self.filter);
        self.followers.follow(&self.active.config, seen);
        for warning in &self.active.warnings {
            tracing::warn!("{warning}");
        }
        self.announce();
        Ok(changes)
    }

    /// Mends what it can, looks for what needs an operator, and says it once.
    fn check(&mut self) {
        let mut alarms = match self.filter.keep(self.active.config.startup.filter.mode) {
            Ok(alarms) => alarms,
            Err(error) => vec![format!("{error:#}")],
        };
        let now = clock::unix_seconds();
        let today = i64::try_from(now).unwrap_or(i64::MAX);
        alarms.extend(self.reloads.failed().map(FailedReload::alarm));
        alarms.extend(self.clocks.alarm());
        alarms.extend(self.blocks.alarm());
        alarms.extend(self.runtime_lists.expiry_alarm());
        alarms.extend(self.followers.alarms(&self.active.config));
        alarms.extend(self.active.alarms(now));
        alarms.extend(self.runtime_lists.loss_alarms(now));
        alarms.extend(self.active.served().iter().filter_map(|one| one.concern(today)));
        alarms.extend(self.suspensions.alarms());
        alarms.extend(self.edge.iter().flat_map(|edge| alarms::of_edge(edge)));
        alarms.extend(alarms::of_record(self.sink.health()));
        self.alarms.report(alarms);
    }

    /// Carries out a request, but for the one that ends the thread.
    fn serve(&mut self, asked: Incoming) {
        let (filter, timeline) = (&mut self.filter, &self.clocks.timeline);
        let config = &self.active.config;
        match asked.request.clone() {
            Request::Status => {
                let status = self.status().map_err(|error| refused(&error));
                asked.answer(status);
            }
            Request::Reload { accept } => self.reloads.ask(asked, accept, &self.active),
            Request::Lookup { addresses } => asked.answer(self.lookup().all(&addresses)),
            Request::Explain(envelope) => {
                let (edge, tasks) = (self.edge.clone(), self.tasks.clone());
                self.lookup().explain(&envelope, edge, &tasks, asked);
            }
            Request::RuntimeAdd { list, prefix, note, expires_in_s, permanent, force } => {
                if list == RuntimeList::Blocked
                    && !force
                    && let Err(failure) = self.blocks.object(prefix, &asked.peer, config, filter)
                {
                    return asked.answer::<RuntimeEntry>(Err(failure));
                }
                let addition = Addition { list, prefix, note, expires_in_s, permanent, force };
                asked.answer(self.runtime_lists.add(addition, filter, timeline));
            }
            Request::RuntimeRemove { list, prefix } => {
                asked.answer(self.runtime_lists.remove(list, prefix, filter, timeline));
            }
            Request::RuntimeList { list } => self.runtime_lists.answer_list(list, timeline, asked),
            Request::RuntimePart { list, window } => {
                self.runtime_lists.answer_part(list, window, timeline, asked);
            }
            Request::Shadowed { prefix } => {
                let lists = self.active.lists.clone();
                self.runtime_lists.answer_shadowed(prefix, lists, timeline.now(), asked);
            }
            Request::TemporaryAdd { address, seconds, force } => {
                let network = ClientNetwork::of(address).prefix();
                let objection = match force {
                    true => Ok(()),
                    false => self.blocks.object(network, &asked.peer, config, filter),
                };
                asked.answer(objection.and_then(|()| self.blocks.add(address, seconds, filter)));
            }
            Request::TemporaryRemove { address } => {
                asked.answer(self.blocks.remove(address, filter));
            }
            Request::TemporaryList => self.blocks.list(asked, None, filter),
            Request::TemporaryPart { window } => self.blocks.list(asked, Some(window), filter),
            Request::RelayList => asked.answer(Ok(self.suspensions.list())),
            Request::RelayResume { address, customer } => {
                asked.answer(self.suspensions.resume(address, customer.as_deref(), timeline));
            }
            Request::Traffic { query } => self.searches.search(&query, asked),
            Request::Summary { since, until } => self.searches.sum_up(since, until, asked),
            Request::Changes { limit } => self.searches.changes(limit, asked),
            // Taken by the caller, since it ends the thread.
            Request::Detach => {}
        }
    }

    /// What is asked about addresses.
    fn lookup(&mut self) -> Lookup<'_> {
        Lookup {
            active: &self.active,
            runtime_lists: &mut self.runtime_lists,
            filter: &mut self.filter,
            timeline: &self.clocks.timeline,
        }
    }

    /// The state of everything.
    fn status(&mut self) -> Result<Status> {
        let now = self.clocks.uptime();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now,
            config: self.active.path.display().to_string(),
            alarms: self.alarms.active().to_vec(),
            interfaces: status::interfaces(&mut self.filter),
            ports: self.active.config.filter.ports.clone(),
            generation: status::generation(&self.active, self.runtime_lists.entries().len()),
            failed_reload: self.reloads.failed().cloned(),
            counters: status::counters(&self.filter)?,
            events: EventStatus {
                unattributed: self.syns.unattributed,
                read: self.syns.read,
                lost: self.filter.lost_events()?,
            },
            temporary: status::temporary(&mut self.filter),
            top_sources: self.syns.top(now),
            record: status::record(self.sink.health()),
            certificates: status::certificates(self.active.served()),
            smtp: self.edge.as_ref().map(|edge| status::smtp(edge.status())),
        })
    }

    /// What is active, in a line for the service manager.
    fn summary(&self) -> String {
        self.active.summary(&self.filter, self.reloads.failed().is_some())
    }

    /// Hands the SYNs that were dropped since the last time to the mail log.
    fn record_dropped(&mut self) {
        let (active, runtime_lists) = (&self.active, &self.runtime_lists);
        let answer = |source| of_lists(source, active, runtime_lists).0;
        self.syns.record(answer, &self.filter, self.sink.as_ref());
    }

    fn save_blocks(&mut self, at_once: bool) {
        let Self { blocks, clocks, active, filter, .. } = self;
        blocks.save(at_once, &clocks.timeline, &active.config, filter);
    }
}
