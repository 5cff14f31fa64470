//! The thread that owns the filter and all state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use filter_common::abi::Event;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

use super::blocks::Saving;
use super::entries::Loss;
pub(super) use super::origin::Origin;
use super::origin::tell;
use super::requests::LOOKS;
use super::sources::Sources;
use super::syns::{self, Counted, Dropped, Told};
use super::{approvals, directories, refused};
use crate::config::Config;
use crate::control::protocol::{Detached, FailedReload, Request};
use crate::control::server::Incoming;
use crate::generation::answer;
use crate::generation::build::{self, Built};
use crate::generation::changes::Remembered;
use crate::generation::fault::Fault;
use crate::generation::read;
use crate::generation::watched::{self, FileStamps};
use crate::io::clock::{self, Settled};
use crate::io::kernel::{Change, Filter, Layouts};
use crate::io::service_manager;
use crate::io::smtp::{Block, Edge};
use crate::io::timeline::Timeline;
use crate::lists::{Lists, Protected};
use crate::runtime::RuntimeEntries;
use crate::store::{Archive, Entry, Sink};
use crate::web::Publisher;

/// How often the time by which entries end is kept for the next start, at least.
const KEEP_TIME: Duration = Duration::from_secs(600);

/// How often it is looked up anew who is never blocked automatically.
const PROTECT: Duration = Duration::from_secs(10);

/// What the thread is told.
pub(super) enum Message {
    /// An operator's request.
    Request(Incoming),
    /// Files changed, or a signal asked for it.
    Reload(&'static str),
    /// A reload was built, or could not be.
    Built(Box<Result<Built, Vec<String>>>),
    /// Sampled events.
    Events(Vec<Event>),
    /// SMTP asks for a temporary block.
    Block(Block),
    /// A look at where lists come from, and what failed of it.
    Asked(Origin, Option<String>),
    /// A second has passed.
    Tick,
    /// The daemon is to end.
    Stop(&'static str),
}

/// Everything the daemon knows.
pub(super) struct Daemon {
    pub(super) path: PathBuf,
    pub(super) config: Config,
    /// The configuration of the start: what only a restart can change is as it says.
    pub(super) started_with: Config,
    pub(super) lists: Arc<Lists>,
    pub(super) layouts: Layouts,
    /// The managed entries: written by this thread alone.
    pub(super) entries: Arc<RwLock<RuntimeEntries>>,
    /// The steps of them that are in the journal.
    pub(super) journaled: usize,
    pub(super) edge: Option<Arc<Edge>>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) archive: Arc<dyn Archive>,
    dropped: Dropped,
    told: Told,
    counted: Counted,
    pub(super) filter: Filter,
    pub(super) generation: u64,
    pub(super) since: u64,
    pub(super) build_ms: u64,
    pub(super) failed_reload: Option<FailedReload>,
    /// What is remembered of the configuration in force and its files.
    pub(super) remembered: Arc<Remembered>,
    /// Why the reload that is being built was begun.
    pub(super) reload_why: &'static str,
    pub(super) alarms: Vec<String>,
    /// What the generation in force is warned of.
    pub(super) warnings: Vec<String>,
    pub(super) started: Instant,
    /// The time by which entries lapse.
    pub(super) time: Settled,
    pub(super) sources: Sources,
    pub(super) events_read: u64,
    /// SYNs of sampled events of which it is not known who sent them.
    pub(super) unattributed: u64,
    /// Runs what waits for the network.
    pub(super) asynchronous: Handle,
    /// Places for those that look into the record.
    pub(super) looks: Arc<Semaphore>,
    /// Why entries whose time is over are still in force, or in the file; empty where
    /// they are yet to be taken out of it.
    pub(super) unlapsed: Option<String>,
    /// What is kept of temporary blocks.
    pub(super) saving: Saving,
    /// Since when it is known, who is never blocked automatically.
    pub(super) protected: (Option<Instant>, Arc<Protected>),
    /// The time by which entries end.
    pub(super) timeline: Timeline,
    /// When it was last kept for the next start.
    timeline_saved: Instant,
    /// The suspended hosts as they were last saved.
    pub(super) suspended_saved: String,
    /// When and why a block could not be had.
    pub(super) temporary_refused: Option<(Instant, String)>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) building: bool,
    pub(super) build_again: bool,
    /// Reloads that the one that is being built answers.
    pub(super) waiting: Vec<Incoming>,
    /// The sources that the next reload is to accept however little they have left.
    pub(super) accept: Vec<String>,
    /// Sources of the active rule set that something else is used for.
    pub(super) faults: Vec<Fault>,
    /// Files of managed entries that could not be used.
    pub(super) losses: Vec<Loss>,
    /// The sources of the active rule set.
    pub(super) list_sources: BTreeSet<String>,
    /// Reloads that were asked for since it began, which the next one answers.
    pub(super) waiting_for_next: Vec<Incoming>,
    pub(super) console: Option<Publisher>,
    pub(super) watched: mpsc::UnboundedSender<FileStamps>,
    approvals: watch::Sender<approvals::Wanted>,
    directories: watch::Sender<directories::Wanted>,
    /// Where no lists come from now, and why.
    pub(super) failing: BTreeMap<Origin, String>,
}

/// The channels by which the thread reaches the edge.
pub(super) struct Channels {
    /// To itself, for what is built beside it.
    pub(super) messages: mpsc::Sender<Message>,
    /// To the watch: the files that are in use now.
    pub(super) watched: mpsc::UnboundedSender<FileStamps>,
    /// The SMTP edge, if there is one.
    pub(super) edge: Option<Arc<Edge>>,
    /// To the record.
    pub(super) sink: Arc<dyn Sink>,
    pub(super) archive: Arc<dyn Archive>,
    /// To who follows approved domains.
    pub(super) approvals: watch::Sender<approvals::Wanted>,
    pub(super) directories: watch::Sender<directories::Wanted>,
    /// Where the console learns who may use it.
    pub(super) console: Option<Publisher>,
}

impl Daemon {
    /// Puts the first generation in force and attaches the filter.
    pub(super) fn start(
        path: PathBuf,
        built: Built,
        (mut entries, losses): (RuntimeEntries, Vec<Loss>),
        mut filter: Filter,
        channels: Channels,
    ) -> Result<Self> {
        let (timeline, shift) = Timeline::start(&built.config.state.folder);
        entries.put_forward(shift);
        let generation = filter.generation()? + 1;
        let Built { config, lists, tables: files, layouts, elapsed, warnings, seen, .. } = built;
        let (faults, list_sources) = (built.faults, built.sources);
        let remembered = Arc::new(built.remembered);
        filter.require(&config.filter.interfaces)?;
        filter.look_elsewhere(&config.filter.interfaces)?;
        // Maps that were taken over hold a generation that is in force: attach
        // first, so that a start that fails changes nothing of it. New maps are
        // filled before any packet meets them.
        let taken_over = generation > 1;
        if taken_over {
            filter.attach(&config.filter.interfaces, config.filter.mode)?;
        }
        filter.manage_exactly(&entries.said_of_all(|at| timeline.boot_ns_at(at)))?;
        filter.publish(&Change { files, settings: Some(build::settings(&config, generation)) })?;
        if !taken_over {
            filter.attach(&config.filter.interfaces, config.filter.mode)?;
        }
        let mut daemon = Self {
            path,
            lists,
            layouts,
            // Those that were restored, so that the journal is empty soon.
            journaled: 0,
            entries: Arc::new(RwLock::new(entries)),
            edge: channels.edge,
            sink: channels.sink,
            archive: channels.archive,
            dropped: Dropped::default(),
            told: Told::default(),
            counted: Counted::default(),
            filter,
            generation,
            since: clock::unix_seconds(),
            build_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            failed_reload: None,
            remembered,
            reload_why: "",
            alarms: Vec::new(),
            warnings,
            started: Instant::now(),
            time: Settled::new(clock::unix_ms(), clock::boot_ns()),
            sources: Sources::default(),
            events_read: 0,
            unattributed: 0,
            asynchronous: Handle::current(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            unlapsed: None,
            saving: Saving::default(),
            protected: (None, Arc::new(Protected::new())),
            timeline,
            timeline_saved: Instant::now(),
            suspended_saved: String::new(),
            temporary_refused: None,
            messages: channels.messages,
            building: false,
            build_again: false,
            waiting: Vec::new(),
            accept: Vec::new(),
            faults,
            losses,
            list_sources,
            waiting_for_next: Vec::new(),
            console: channels.console,
            watched: channels.watched,
            approvals: channels.approvals,
            directories: channels.directories,
            failing: BTreeMap::new(),
            started_with: config.clone(),
            config,
        };
        daemon.restore_blocks(shift);
        daemon.restore_suspended(shift);
        daemon.publish_blocks();
        daemon.protect();
        daemon.collect()?;
        daemon.save_timeline();
        daemon.save_entries();
        daemon.publish_lists();
        daemon.watch(seen);
        Ok(daemon)
    }

    /// Takes messages until it is told to stop; then takes the filter off, if it
    /// is not to outlive the daemon.
    pub(super) fn run(mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<()> {
        service_manager::ready(&self.summary());
        while let Some(message) = inbox.blocking_recv() {
            match message {
                Message::Request(incoming) => {
                    if matches!(incoming.request, Request::Detach) {
                        return self.detach(incoming);
                    }
                    self.serve(incoming);
                }
                Message::Reload(why) => self.reload(why),
                Message::Built(result) => self.install(*result),
                Message::Events(events) => self.note(&events),
                Message::Block(block) => self.block(block),
                Message::Asked(origin, failure) => {
                    match failure {
                        Some(failure) => self.failing.insert(origin, failure),
                        None => self.failing.remove(&origin),
                    };
                }
                Message::Tick => self.tick(),
                Message::Stop(why) => {
                    let stays = self.config.filter.persist;
                    tracing::info!(why, filter_stays = stays, "stopping");
                    service_manager::stopping();
                    break;
                }
            }
        }
        self.record_dropped();
        self.save_blocks(true);
        self.save_suspended();
        self.save_timeline();
        self.save_entries();
        if !self.config.filter.persist {
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

    /// Tells the watch which files count now, and who asks others for lists, whom.
    pub(super) fn watch(&self, seen: FileStamps) {
        tell(&self.approvals, approvals::Wanted::of(&self.config));
        tell(&self.directories, directories::Wanted::of(&self.config));
        _ = self.watched.send(seen);
    }

    /// After a failed reload: what the configuration names now counts too, so
    /// that a list that was missing is loaded when it comes.
    pub(super) fn watch_what_is_wanted(&self) {
        let mut paths = watched::watched_paths(&self.path, &self.config);
        if let Ok(wanted) = read::read_config(&self.path) {
            paths.extend(watched::watched_paths(&self.path, &wanted));
        }
        _ = self.watched.send(watched::stamps(paths));
    }

    fn note(&mut self, events: &[Event]) {
        let now = self.started.elapsed().as_secs();
        for event in events {
            let Some(reason) = event.reason() else { continue };
            self.events_read += 1;
            if !event.is_attributed() {
                self.unattributed += u64::from(event.weight);
                tracing::debug!(
                    target: "mxdp::syn",
                    weight = event.weight,
                    "SYNs of an earlier second, unattributed"
                );
                continue;
            }
            let syn = event.syn();
            self.sources.add(now, syn.source.to_ip(), reason, event.weight);
            self.dropped.add(syn.source.to_ip(), reason, event.weight);
            tracing::debug!(
                target: "mxdp::syn",
                source = %syn.source.to_ip(),
                destination = %syn.destination.to_ip(),
                port = syn.port,
                reason = reason.name(),
                weight = event.weight,
                ifindex = event.ifindex,
                "sampled SYN"
            );
        }
    }

    /// Hands the SYNs that were dropped since the last time to the record.
    fn record_dropped(&mut self) {
        let now = clock::unix_ms();
        for (source, reason, count) in self.dropped.take() {
            let files = self.lists.set.classify(source);
            let runtime = self.entries().classify(source);
            let enforcement = |class| self.config.enforcement.of(class);
            let (answer, _) = answer::answer(source, &[&runtime, &files], enforcement);
            _ = self.sink.add(Entry::Record(Box::new(syns::record(
                now,
                &answer,
                (reason, count),
                &mut self.told,
            ))));
        }
        let Ok(counters) = self.filter.counters() else { return };
        let frames = self.counted.take(counters);
        if !frames.is_empty() {
            _ = self.sink.add(Entry::Frames(now, frames));
        }
    }

    fn tick(&mut self) {
        service_manager::alive();
        self.believed_seconds();
        self.expire_entries(self.timeline.now());
        if self.timeline.has_moved() || self.timeline_saved.elapsed() >= KEEP_TIME {
            self.save_timeline();
        }
        if let Err(error) = self.collect() {
            tracing::error!("{error:#}");
        }
        if self.protected.0.is_none_or(|at| at.elapsed() >= PROTECT) {
            self.protect();
        }
        self.record_dropped();
        self.save_blocks(false);
        self.save_suspended();
        self.check();
    }

    /// Keeps the time by which entries end for the next start.
    fn save_timeline(&mut self) {
        self.timeline_saved = Instant::now();
        if let Err(error) = self.timeline.save(&self.config.state.folder) {
            tracing::error!("the time by which entries end is not saved: {error}");
        }
    }
}
