//! The thread that owns the filter and all state.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use filter_common::abi::{Event, SourceKey, TemporaryBlock, TemporaryReason};
use filter_common::{Address, Disposition, Family};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::sync::mpsc;

use super::build::{self, Built, Lists};
use super::sources::Sources;
use super::{answer, misconfigured, refused};
use crate::config::Config;
use crate::control::protocol::{
    Detached, FailedReload, Failure, FailureKind, KernelAnswer, LOOKUP_LIMIT, LiveAnswer, Reloaded,
    Request, RuntimeEntry, RuntimeList, TemporaryEntry,
};
use crate::control::server::Incoming;
use crate::io::kernel::{Change, Filter};
use crate::io::{clock, runtime_file};
use crate::runtime::{Addition, RuntimeEntries};

/// The longest temporary block: 30 days. What is to stand longer is an entry.
const TEMPORARY_LIMIT_S: u64 = 30 * 24 * 3600;

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
    /// A second has passed.
    Tick,
    /// The daemon is to end.
    Stop(&'static str),
}

/// Everything the daemon knows.
pub(super) struct Daemon {
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) lists: Lists,
    pub(super) entries: RuntimeEntries,
    pub(super) runtime: Lists,
    pub(super) filter: Filter,
    pub(super) generation: u64,
    pub(super) since: u64,
    pub(super) build_ms: u64,
    pub(super) failed_reload: Option<FailedReload>,
    pub(super) alarms: Vec<String>,
    pub(super) started: Instant,
    pub(super) sources: Sources,
    pub(super) events_read: u64,
    pub(super) temporary_held: u64,
    messages: mpsc::Sender<Message>,
    building: bool,
    build_again: bool,
    waiting: Vec<Incoming>,
    watched: mpsc::UnboundedSender<Vec<PathBuf>>,
}

/// The channels by which the thread reaches the edge.
pub(super) struct Channels {
    /// To itself, for what is built beside it.
    pub(super) messages: mpsc::Sender<Message>,
    /// To the watch: the files that are in use now.
    pub(super) watched: mpsc::UnboundedSender<Vec<PathBuf>>,
}

impl Daemon {
    /// Says what is in force, for the log.
    pub(super) fn announce(&self) {
        for attachment in self.filter.attachments() {
            tracing::info!(
                interface = attachment.interface,
                mode = attachment.mode.name(),
                adopted = attachment.adopted,
                pinned = attachment.is_pinned(),
                "filtering"
            );
        }
        tracing::info!(
            generation = self.generation,
            ipv4 = self.lists.table.v4.len(),
            ipv6 = self.lists.table.v6.len(),
            runtime = self.entries.len(),
            milliseconds = self.build_ms,
            "in force"
        );
    }

    /// Puts the first generation in force and attaches the filter.
    pub(super) fn start(
        path: PathBuf,
        built: Built,
        entries: RuntimeEntries,
        mut filter: Filter,
        channels: Channels,
    ) -> Result<Self> {
        let generation = filter.generation()? + 1;
        let runtime = build::runtime_lists(&entries);
        let tries = build::tries(&runtime.table, |_| ())?;
        let Built { config, lists, tries: files, elapsed, .. } = built;
        filter.publish(&Change {
            files: Some(files),
            runtime: Some(tries),
            settings: Some(build::settings(&config, generation)),
        })?;
        filter.attach(&config.filter.interfaces, build::mode(&config))?;
        let mut daemon = Self {
            path,
            lists,
            entries,
            runtime,
            filter,
            generation,
            since: clock::unix_seconds(),
            build_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            failed_reload: None,
            alarms: Vec::new(),
            started: Instant::now(),
            sources: Sources::default(),
            events_read: 0,
            temporary_held: 0,
            messages: channels.messages,
            building: false,
            build_again: false,
            waiting: Vec::new(),
            watched: channels.watched,
            config,
        };
        daemon.collect()?;
        daemon.watch();
        Ok(daemon)
    }

    /// Takes messages until it is told to stop; then takes the filter off, if it
    /// is not to outlive the daemon.
    pub(super) fn run(mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<()> {
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
                Message::Tick => self.tick(),
                Message::Stop(why) => {
                    let stays = self.config.filter.persist;
                    tracing::info!(why, filter_stays = stays, "stopping");
                    break;
                }
            }
        }
        if !self.config.filter.persist {
            self.filter.detach()?;
        }
        Ok(())
    }

    fn detach(self, asked: Incoming) -> Result<()> {
        let result = self.filter.detach();
        let outcome = result.as_ref().map(|_| ()).map_err(|error| anyhow!("{error:#}"));
        let answer = result.map(|interfaces| Detached { interfaces });
        asked.answer(answer.map_err(|error| refused(&error)));
        outcome
    }

    fn serve(&mut self, asked: Incoming) {
        match asked.request.clone() {
            Request::Status => {
                let status = self.status().map_err(|error| refused(&error));
                asked.answer(status);
            }
            Request::Reload => {
                self.waiting.push(asked);
                self.reload("an operator asked for it");
            }
            Request::Lookup { addresses } => asked.answer(self.look_up(&addresses)),
            Request::RuntimeAdd { list, prefix, note, expires_in_s, force } => {
                let addition = Addition { list, prefix, note, expires_in_s, force };
                let now = clock::unix_seconds();
                asked.answer(self.change_entries(|entries| {
                    entries.add(addition, now).map(|added| added.entry).map_err(Failure::from)
                }));
            }
            Request::RuntimeRemove { list, prefix } => {
                asked.answer(
                    self.change_entries(|entries| {
                        entries.remove(list, prefix).map_err(Failure::from)
                    }),
                );
            }
            Request::RuntimeList { list } => asked.answer(Ok(self.entries_of(list))),
            Request::TemporaryAdd { address, seconds } => {
                asked.answer(self.add_temporary(address, seconds));
            }
            Request::TemporaryRemove { address } => asked.answer(self.remove_temporary(address)),
            Request::TemporaryList => asked.answer(self.list_temporary()),
            // Taken by the caller, since it ends the thread.
            Request::Detach => {}
        }
    }

    fn entries_of(&self, list: RuntimeList) -> Vec<RuntimeEntry> {
        self.entries.list(list).cloned().collect()
    }

    fn look_up(&mut self, addresses: &[IpAddr]) -> Result<Vec<LiveAnswer>, Failure> {
        if addresses.len() > LOOKUP_LIMIT {
            return Err(bad_request(&format!("more than {LOOKUP_LIMIT} addresses")));
        }
        let port = self.config.filter.ports.first().copied().unwrap_or(25);
        let mut answers = Vec::with_capacity(addresses.len());
        for ip in addresses {
            answers.push(self.look_up_one(*ip, port).map_err(|error| refused(&error))?);
        }
        Ok(answers)
    }

    fn look_up_one(&mut self, ip: IpAddr, port: u16) -> Result<LiveAnswer> {
        let files = self.lists.set.classify(ip);
        let runtime = self.runtime.set.classify(ip);
        let enforcement = |class| self.config.enforcement.of(class);
        let (answer, expected) = answer::answer(ip, &[&runtime, &files], enforcement);
        let temporary = self.temporary_of(ip)?;
        let (reason, classes) = self.filter.ask(ip, port)?;
        let agree = expected.agrees(reason, classes, temporary.is_some());
        if !agree {
            let (reason, class) = (reason.name(), &answer.class);
            tracing::error!(%ip, reason, class, "kernel and lists differ");
        }
        let kernel = KernelAnswer {
            reason: reason.name().to_owned(),
            action: disposition(reason.disposition()).to_owned(),
            listed: classes.iter().map(|class| class.name().to_owned()).collect(),
        };
        Ok(LiveAnswer { answer, temporary, kernel, agree })
    }

    /// Changes the runtime entries: first on disk, then in the kernel, then here.
    fn change_entries<T>(
        &mut self,
        change: impl FnOnce(&mut RuntimeEntries) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut entries = self.entries.clone();
        let result = change(&mut entries)?;
        runtime_file::save(&self.config.state.folder, &entries)
            .map_err(|error| refused(&anyhow!(error.to_string())))?;
        if let Err(error) = self.install_entries(entries) {
            // What the kernel refused must not come back at the next start.
            if let Err(error) = runtime_file::save(&self.config.state.folder, &self.entries) {
                tracing::error!(%error, "runtime entries on disk differ from those in force");
            }
            return Err(refused(&error));
        }
        Ok(result)
    }

    fn install_entries(&mut self, entries: RuntimeEntries) -> Result<()> {
        let lists = build::runtime_lists(&entries);
        let tries = build::tries(&lists.table, |_| ())?;
        self.filter.publish(&Change { runtime: Some(tries), ..Change::default() })?;
        self.entries = entries;
        self.runtime = lists;
        Ok(())
    }

    fn add_temporary(&mut self, address: IpAddr, seconds: u64) -> Result<TemporaryEntry, Failure> {
        if seconds == 0 || seconds > TEMPORARY_LIMIT_S {
            return Err(bad_request(
                "a temporary block lasts from 1 second to 30 days; see `mxdp block add`",
            ));
        }
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = TemporaryBlock {
            expires_ns: now + seconds * 1_000_000_000,
            created_ns: now,
            reason: TemporaryReason::Operator as u32,
            reserved: 0,
        };
        self.filter.temporary().insert(key, block).map_err(|error| refused(&error))?;
        self.temporary_held = self.temporary_held.saturating_add(1);
        temporary_entry(&key, &block, now).ok_or_else(|| bad_request("not an address"))
    }

    fn remove_temporary(&mut self, address: IpAddr) -> Result<TemporaryEntry, Failure> {
        let key = SourceKey::of(&Address::from_ip(address));
        let removed = self.filter.temporary().remove(key).map_err(|error| refused(&error))?;
        let now = clock::boot_ns();
        removed
            .filter(|block| block.expires_ns > now)
            .and_then(|block| temporary_entry(&key, &block, now))
            .ok_or_else(|| not_found(&format!("{address} is under no temporary block")))
    }

    fn list_temporary(&mut self) -> Result<Vec<TemporaryEntry>, Failure> {
        let now = clock::boot_ns();
        let blocks = self.filter.temporary().all().map_err(|error| refused(&error))?;
        let mut entries: Vec<_> = blocks
            .iter()
            .filter(|(_, block)| block.expires_ns > now)
            .filter_map(|(key, block)| temporary_entry(key, block, now))
            .collect();
        entries.sort_by_key(|entry| entry.prefix);
        Ok(entries)
    }

    fn temporary_of(&mut self, address: IpAddr) -> Result<Option<TemporaryEntry>> {
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = self.filter.temporary().get(key)?.filter(|block| block.expires_ns > now);
        Ok(block.and_then(|block| temporary_entry(&key, &block, now)))
    }

    /// Builds a generation beside this thread; [`Message::Built`] brings it.
    fn reload(&mut self, why: &'static str) {
        if self.building {
            self.build_again = true;
            return;
        }
        tracing::info!(why, "reloading");
        self.building = true;
        let path = self.path.clone();
        let messages = self.messages.clone();
        thread::spawn(move || {
            let result = build::build(&path);
            // The channel is closed only when the daemon ends.
            _ = messages.blocking_send(Message::Built(Box::new(result)));
        });
    }

    fn install(&mut self, result: Result<Built, Vec<String>>) {
        self.building = false;
        let outcome = result
            .and_then(|built| self.put_in_force(built).map_err(|error| vec![format!("{error:#}")]));
        let answer = match outcome {
            Ok(warnings) => Ok(Reloaded { generation: self.generation, warnings }),
            Err(errors) => {
                let failure = misconfigured(&errors);
                let message = failure.message.clone();
                tracing::error!(
                    generation = self.generation,
                    "the reload failed, and the last good generation stays in force:\n{message}"
                );
                self.failed_reload = Some(FailedReload { at: clock::unix_seconds(), message });
                Err(failure)
            }
        };
        if self.build_again {
            // Whoever asked meanwhile waits for the state of now.
            self.build_again = false;
            return self.reload("files changed while the last reload was built");
        }
        for waiting in self.waiting.drain(..) {
            waiting.answer(answer.clone());
        }
    }

    fn put_in_force(&mut self, built: Built) -> Result<Vec<String>> {
        let Built { config, lists, tries, elapsed, mut warnings } = built;
        warnings.extend(build::needs_restart(&self.config, &config));
        let generation = self.generation + 1;
        // This first: an interface that cannot be had leaves everything as it is.
        self.filter.attach(&config.filter.interfaces, build::mode(&config))?;
        self.filter.publish(&Change {
            files: Some(tries),
            runtime: None,
            settings: Some(build::settings(&config, generation)),
        })?;
        self.generation = generation;
        self.since = clock::unix_seconds();
        self.build_ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        self.failed_reload = None;
        self.config = Config {
            // What only a restart can change stays as it is in force.
            control: self.config.control.clone(),
            state: self.config.state.clone(),
            temporary: self.config.temporary,
            ..config
        };
        self.lists = lists;
        self.watch();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        self.announce();
        Ok(warnings)
    }

    /// Tells the watch which files count now.
    fn watch(&self) {
        if self.config.reload.watch {
            _ = self.watched.send(build::watched_paths(&self.path, &self.config));
        }
    }

    fn note(&mut self, events: &[Event]) {
        let now = self.started.elapsed().as_secs();
        for event in events {
            let Some(reason) = event.reason() else { continue };
            let syn = event.syn();
            self.events_read += 1;
            self.sources.add(now, syn.source.to_ip(), reason, event.weight);
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

    fn tick(&mut self) {
        let now = clock::unix_seconds();
        if self.entries.next_expiry().is_some_and(|expiry| expiry <= now) {
            let expired = self.change_entries(|entries| Ok(entries.expire(now)));
            match expired {
                Ok(expired) => {
                    for entry in expired {
                        tracing::info!(prefix = %entry.prefix, "a runtime entry has expired");
                    }
                }
                Err(failure) => tracing::error!("expiry of runtime entries: {}", failure.message),
            }
        }
        if self.started.elapsed().as_secs().is_multiple_of(60)
            && let Err(error) = self.collect()
        {
            tracing::error!("{error:#}");
        }
        self.check();
    }

    fn collect(&mut self) -> Result<()> {
        self.temporary_held = self.filter.temporary().collect(clock::boot_ns())?;
        Ok(())
    }

    /// Looks for what needs an operator, and says it once.
    fn check(&mut self) {
        let alarms = match self.filter.check() {
            Ok(alarms) => alarms,
            Err(error) => vec![format!("{error:#}")],
        };
        for alarm in alarms.iter().filter(|alarm| !self.alarms.contains(alarm)) {
            tracing::error!("ALARM: {alarm}");
        }
        self.alarms = alarms;
    }
}

pub(super) const fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Pass => "pass",
        Disposition::Drop => "drop",
    }
}

fn temporary_entry(key: &SourceKey, block: &TemporaryBlock, now: u64) -> Option<TemporaryEntry> {
    let network = key.network()?;
    let prefix = match network.to_ip() {
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::new(address, 32).ok()?),
        IpAddr::V6(address) if network.family() == Family::V6 => {
            IpNet::V6(Ipv6Net::new(address, 64).ok()?)
        }
        IpAddr::V6(_) => return None,
    };
    let reason = TemporaryReason::from_code(block.reason).map_or("unknown", TemporaryReason::name);
    let remaining_s = block.expires_ns.saturating_sub(now).div_ceil(1_000_000_000);
    Some(TemporaryEntry { prefix, reason: reason.to_owned(), remaining_s })
}

fn bad_request(message: &str) -> Failure {
    Failure { kind: FailureKind::BadRequest, message: message.to_owned() }
}

fn not_found(message: &str) -> Failure {
    Failure { kind: FailureKind::NotFound, message: message.to_owned() }
}
