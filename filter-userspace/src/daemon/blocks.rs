//! Temporary blocks: set, lifted, listed, and kept across restarts.
//!
//! The kernel's map has them. The file is for a start that finds no map: after a
//! reboot, or where the filter does not outlive the daemon. A second file has those that
//! have ended, by which the next block of the same client is longer.
//!
//! However many there are, this thread does no more for each than copy it: files are
//! written and lists are answered by threads of their own.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use filter_common::abi::{SourceKey, TemporaryBlock, TemporaryReason};
use filter_common::{Address, Family};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::core::Daemon;
use super::refused;
use super::requests::{bad_request, not_found};
use crate::control::protocol::{Failure, TEMPORARY_LIMIT_S, TemporaryEntry, Window};
use crate::control::server::Incoming;
use crate::io::kernel::Inserted;
use crate::io::offender_file::{self, Ended};
use crate::io::smtp::Block;
use crate::io::{clock, temporary_file};
use crate::lists::Holder;
use crate::policy::offences::Offence;
use crate::smtp::refusal::Reason;

/// How often the files are written at most; and this share of the time at most.
const SAVE: Duration = Duration::from_secs(5);
const SHARE: u32 = 50;

/// How often they are written at least, for those who delivered mail.
const DELIVERED: Duration = Duration::from_secs(300);

const SECOND_NS: u64 = 1_000_000_000;

/// What is kept of temporary blocks, and how.
pub(super) struct Saving {
    /// Whether blocks came or went since they were last saved.
    changed: bool,
    /// When they were last saved, and how long that took.
    last: (Instant, Duration),
    /// The thread that saves them now.
    running: Option<JoinHandle<(io::Result<()>, Duration)>>,
}

impl Default for Saving {
    fn default() -> Self {
        Self { changed: false, last: (Instant::now(), Duration::ZERO), running: None }
    }
}

/// All blocks at one moment.
struct Snapshot {
    blocks: Vec<(SourceKey, TemporaryBlock)>,
    ended: Vec<(IpAddr, Duration, Duration)>,
    delivered: Vec<(IpAddr, Duration)>,
    /// Whether what ended is known: without SMTP, nobody remembers it.
    remembers: bool,
    /// The time now, in seconds of [`crate::io::timeline`].
    now: u64,
    boot_ns: u64,
}

impl Snapshot {
    fn save(&self, folder: &Path) -> io::Result<()> {
        let (now, boot) = (self.now, self.boot_ns);
        let blocks = self.blocks.iter().filter(|(_, block)| block.expires_ns > boot);
        let saved = blocks.filter_map(|(key, block)| {
            Some(temporary_file::Saved {
                address: key.network()?.to_ip(),
                reason: TemporaryReason::from_code(block.reason)?,
                created: now.saturating_sub(boot.wrapping_sub(block.created_ns) / SECOND_NS),
                expires: now + (block.expires_ns - boot).div_ceil(SECOND_NS),
            })
        });
        temporary_file::save(folder, saved)?;
        if !self.remembers {
            return Ok(());
        }
        let ended = self.ended.iter().map(|(address, lasted, ago)| Ended {
            address: *address,
            lasted: lasted.as_secs(),
            ended: now.saturating_sub(ago.as_secs()),
        });
        offender_file::save(folder, ended)?;
        let delivered = self.delivered.iter();
        let delivered =
            delivered.map(|(address, ago)| (*address, now.saturating_sub(ago.as_secs())));
        offender_file::save_delivered(folder, delivered)
    }
}

impl Daemon {
    /// Remembers the blocks that have ended, and puts those of the file in force that still
    /// have time left, unless the kernel's map outlived the daemon that wrote it: the file
    /// may have some that were lifted since. `shift` is what is to be added to the times
    /// of the files.
    pub(super) fn restore_blocks(&mut self, shift: i64) {
        self.restore_ended(shift);
        self.restore_delivered(shift);
        if self.filter.blocks_outlived() {
            // The file may be another daemon's, and older than they are.
            self.saving.changed = true;
            return;
        }
        let (saved, bad) = match temporary_file::load(&self.config.state.folder) {
            Ok(loaded) => loaded,
            Err(error) => {
                // They end by themselves; a damaged file is no reason not to start.
                tracing::error!("temporary blocks are not restored: {error}");
                return;
            }
        };
        if bad > 0 {
            tracing::error!(
                "{bad} lines of {} in {} are damaged and were skipped",
                temporary_file::FILE_NAME,
                self.config.state.folder.display()
            );
        }
        let (now, boot) = (self.timeline.now(), clock::boot_ns());
        let mut restored = 0_u64;
        for block in saved {
            let expires = block.expires.saturating_add_signed(shift);
            // Whatever this host's clock says now, it lasts no longer than it was to.
            let time = block.expires.saturating_sub(block.created).min(TEMPORARY_LIMIT_S);
            if expires <= now {
                if let Some(edge) = &self.edge {
                    let ago = Duration::from_secs(now - expires);
                    edge.remember_block(block.address, Duration::from_secs(time), ago);
                }
                continue;
            }
            let left = (expires - now).min(time);
            let expires_ns = boot + left * SECOND_NS;
            let kept = TemporaryBlock {
                expires_ns,
                // It may have begun before this boot: then the number wraps.
                created_ns: expires_ns.wrapping_sub(time * SECOND_NS),
                reason: block.reason as u32,
                reserved: 0,
            };
            let key = SourceKey::of(&Address::from_ip(block.address));
            match self.filter.temporary().insert(key, kept) {
                Ok(Inserted::Added) => restored += 1,
                Ok(Inserted::Evicted(_)) => {}
                Err(error) => {
                    tracing::error!("temporary blocks are not all restored: {error:#}");
                    break;
                }
            }
        }
        if restored > 0 {
            tracing::info!(restored, "restored temporary blocks");
        }
    }

    fn restore_ended(&self, shift: i64) {
        let Some(edge) = &self.edge else { return };
        let (ended, bad) = match offender_file::load(&self.config.state.folder) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("ended blocks are not remembered: {error}");
                return;
            }
        };
        if bad > 0 {
            tracing::error!(
                "{bad} lines of {} in {} are damaged and were skipped",
                offender_file::FILE_NAME,
                self.config.state.folder.display()
            );
        }
        let now = self.timeline.now();
        for Ended { address, lasted, ended } in ended {
            let ago = now.saturating_sub(ended.saturating_add_signed(shift));
            edge.remember_block(address, Duration::from_secs(lasted), Duration::from_secs(ago));
        }
    }

    fn restore_delivered(&self, shift: i64) {
        let Some(edge) = &self.edge else { return };
        let delivered = match offender_file::load_delivered(&self.config.state.folder) {
            Ok((delivered, _)) => delivered,
            Err(error) => return tracing::error!("who delivered mail is not remembered: {error}"),
        };
        let memory = self.config.smtp.as_ref().map(|smtp| smtp.escalation.memory);
        for (address, time) in delivered {
            let ago = self.timeline.now().saturating_sub(time.saturating_add_signed(shift));
            let ago = Duration::from_secs(ago);
            if memory.is_some_and(|memory| ago <= memory) {
                edge.remember_delivery(address, ago);
            }
        }
    }

    /// Writes the files, where blocks came or went: beside this thread, but at the end.
    pub(super) fn save_blocks(&mut self, at_once: bool) {
        self.finish_saving(at_once);
        let (saved, took) = self.saving.last;
        let is_time = at_once || saved.elapsed() >= SAVE.max(took * SHARE);
        // Who delivered mail changes all the time.
        let delivers = self.edge.is_some() && (at_once || saved.elapsed() >= DELIVERED);
        if (self.saving.changed || delivers) && self.saving.running.is_none() && is_time {
            self.begin_saving();
            self.finish_saving(at_once);
        }
    }

    /// Hears of the thread that saves how that went, if it is done or is to be waited for.
    fn finish_saving(&mut self, wait: bool) {
        let is_done = |saving: &mut JoinHandle<_>| wait || saving.is_finished();
        let Some(running) = self.saving.running.take_if(is_done) else { return };
        let (result, took) = running.join().unwrap_or_else(|_| {
            (Err(io::Error::other("the thread that saves them panicked")), Duration::ZERO)
        });
        self.saving.last = (Instant::now(), took);
        if let Err(error) = result {
            tracing::error!("temporary blocks are not saved: {error}");
            self.saving.changed = true;
        }
    }

    /// Starts a thread that saves all blocks as they are now.
    fn begin_saving(&mut self) {
        self.saving.changed = false;
        let memory = self.config.smtp.as_ref().map(|smtp| smtp.escalation.memory);
        let edge = self.edge.as_ref().zip(memory);
        let snapshot = Snapshot {
            remembers: edge.is_some(),
            ended: edge.map(|(edge, memory)| edge.ended_blocks(memory)).unwrap_or_default(),
            delivered: edge.map(|(edge, memory)| edge.deliveries(memory)).unwrap_or_default(),
            now: self.timeline.now(),
            boot_ns: clock::boot_ns(),
            blocks: self.filter.temporary().iter().collect(),
        };
        let folder = self.config.state.folder.clone();
        self.saving.running = Some(thread::spawn(move || {
            let start = Instant::now();
            (snapshot.save(&folder), start.elapsed())
        }));
    }

    pub(super) fn add_temporary(
        &mut self,
        address: IpAddr,
        seconds: u64,
    ) -> Result<TemporaryEntry, Failure> {
        if seconds == 0 || seconds > TEMPORARY_LIMIT_S {
            return Err(bad_request(
                "a temporary block lasts from 1 second to 30 days; see `mxdp block add`",
            ));
        }
        self.insert_temporary(address, seconds, TemporaryReason::Operator)
            .map_err(|error| refused(&error))?
            .ok_or_else(|| bad_request("not an address"))
    }

    fn insert_temporary(
        &mut self,
        address: IpAddr,
        seconds: u64,
        reason: TemporaryReason,
    ) -> Result<Option<TemporaryEntry>> {
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = TemporaryBlock {
            expires_ns: now + seconds * SECOND_NS,
            created_ns: now,
            reason: reason as u32,
            reserved: 0,
        };
        let inserted = self.filter.temporary().insert(key, block)?;
        self.saving.changed = true;
        if let (Some(edge), Inserted::Evicted(other)) = (&self.edge, inserted) {
            edge.end_blocks(other.network().iter().map(Address::to_ip));
        }
        if let (Some(edge), Some(network)) = (&self.edge, key.network()) {
            edge.publish_block(network.to_ip(), Duration::from_secs(seconds));
        }
        Ok(temporary_entry(&key, &block, now))
    }

    /// Blocks an address for a time, because of what it did in SMTP.
    pub(super) fn block(&mut self, block: Block) {
        let Block { address, time, offence } = block;
        let seconds = time.as_secs().clamp(1, TEMPORARY_LIMIT_S);
        if let Some(holder) = self.protected().forbids(address) {
            tracing::warn!(%address, offence = offence.name(), "not blocked: {holder}");
            if let Some(edge) = &self.edge {
                edge.lift_block(address);
            }
            return;
        }
        let reason = match offence {
            Offence::Reputation => TemporaryReason::Reputation,
            Offence::Dictionary => TemporaryReason::DictionaryAttack,
            Offence::Relay => TemporaryReason::RelayAttempts,
            Offence::EarlyTalker => TemporaryReason::EarlyTalker,
            Offence::Abuse => TemporaryReason::Abuse,
            Offence::Flood => TemporaryReason::Flood,
        };
        match self.insert_temporary(address, seconds, reason) {
            Ok(_) => tracing::warn!(%address, seconds, offence = offence.name(), "blocked"),
            Err(error) => {
                self.temporary_refused = Some((Instant::now(), format!("{error:#}")));
                if let Some(edge) = &self.edge {
                    edge.lift_block(address);
                }
            }
        }
    }

    /// Tells the SMTP edge which addresses are blocked for a time; once, at the start.
    pub(super) fn publish_blocks(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let now = clock::boot_ns();
        edge.publish_blocks(self.filter.temporary().iter().filter_map(|(key, block)| {
            let left = Duration::from_nanos(block.expires_ns.saturating_sub(now));
            let time = Duration::from_nanos(block.expires_ns.wrapping_sub(block.created_ns));
            Some((key.network()?.to_ip(), left, time))
        }));
    }

    /// Removes blocks that have ended.
    pub(super) fn collect(&mut self) -> Result<()> {
        let ended = self.filter.temporary().collect(clock::boot_ns())?;
        if ended.is_empty() {
            return Ok(());
        }
        self.saving.changed = true;
        if let Some(edge) = &self.edge {
            edge.end_blocks(ended.iter().filter_map(|(key, _)| Some(key.network()?.to_ip())));
        }
        Ok(())
    }

    /// Lifts the blocks of who is protected now, but for those that an operator made.
    pub(super) fn lift_protected(&mut self) {
        let protected = self.protected.1.clone();
        let (single, wide): (Vec<_>, Vec<_>) = protected
            .rows()
            .iter()
            .partition(|(network, _)| network.max_prefix_len() == 32 && network.prefix_len() == 32);
        let mut hit: Vec<_> = single
            .iter()
            .map(|(network, _)| SourceKey::of(&Address::from_ip(network.addr())))
            .collect();
        // An address of this host forbids its own block alone, not that of its IPv6 network.
        let wide: Vec<_> = wide
            .iter()
            .filter(|(network, holder)| *holder != Holder::ThisHost || network.prefix_len() <= 64)
            .map(|(network, _)| *network)
            .collect();
        let blocks = self.filter.temporary();
        hit.extend(blocks.iter().filter_map(|(key, _)| {
            let block = network_of(&key)?;
            wide.iter().any(|one| one.contains(&block) || block.contains(one)).then_some(key)
        }));
        for key in hit {
            let blocks = self.filter.temporary();
            let Ok(Some(block)) = blocks.get(key) else { continue };
            if block.reason == TemporaryReason::Operator as u32 {
                continue;
            }
            let Some(network) = network_of(&key) else { continue };
            match blocks.remove(key) {
                Ok(_) => tracing::warn!(%network, "a temporary block is lifted: it is protected"),
                Err(error) => tracing::error!(%network, "a block cannot be lifted: {error:#}"),
            }
            self.saving.changed = true;
            if let Some(edge) = &self.edge {
                edge.lift_block(network.addr());
            }
        }
    }

    pub(super) fn remove_temporary(&mut self, address: IpAddr) -> Result<TemporaryEntry, Failure> {
        let key = SourceKey::of(&Address::from_ip(address));
        let removed = self.filter.temporary().remove(key).map_err(|error| refused(&error))?;
        self.saving.changed = true;
        let now = clock::boot_ns();
        let removed = removed
            .filter(|block| block.expires_ns > now)
            .and_then(|block| temporary_entry(&key, &block, now));
        let deferred = self.edge.as_ref().zip(key.network()).and_then(|(edge, network)| {
            let left = edge.pardon(network.to_ip())?;
            let prefix = network_of(&key)?;
            let reason = Reason::Guessing.name().to_owned();
            Some(TemporaryEntry { prefix, reason, remaining_s: left.as_secs() })
        });
        removed.or(deferred).ok_or_else(|| {
            not_found(&format!("{address} is under no temporary block, and its mail not deferred"))
        })
    }

    /// Answers with all blocks, or with a part of them, beside this thread.
    pub(super) fn list_temporary(&mut self, asked: Incoming, window: Option<Window>) {
        let now = clock::boot_ns();
        let blocks: Vec<_> = self.filter.temporary().iter().collect();
        self.asynchronous.spawn_blocking(move || {
            let mut entries: Vec<_> = blocks
                .iter()
                .filter(|(_, block)| block.expires_ns > now)
                .filter_map(|(key, block)| temporary_entry(key, block, now))
                .collect();
            entries.sort_by_key(|entry| entry.prefix);
            let Some(window) = window else { return asked.answer(Ok(entries)) };
            asked.answer(Ok(window.of(
                entries.into_iter(),
                |block| (block.prefix, Some(block.reason.as_str())),
                |block| block,
            )));
        });
    }

    pub(super) fn temporary_of(&mut self, address: IpAddr) -> Result<Option<TemporaryEntry>> {
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = self.filter.temporary().get(key)?.filter(|block| block.expires_ns > now);
        Ok(block.and_then(|block| temporary_entry(&key, &block, now)))
    }
}

fn temporary_entry(key: &SourceKey, block: &TemporaryBlock, now: u64) -> Option<TemporaryEntry> {
    let prefix = network_of(key)?;
    let reason = TemporaryReason::from_code(block.reason).map_or("unknown", TemporaryReason::name);
    let remaining_s = block.expires_ns.saturating_sub(now).div_ceil(1_000_000_000);
    Some(TemporaryEntry { prefix, reason: reason.to_owned(), remaining_s })
}

/// What the block of a source covers.
fn network_of(key: &SourceKey) -> Option<IpNet> {
    let network = key.network()?;
    match network.to_ip() {
        IpAddr::V4(address) => Ipv4Net::new(address, 32).ok().map(IpNet::V4),
        IpAddr::V6(address) if network.family() == Family::V6 => {
            Ipv6Net::new(address, 64).ok().map(IpNet::V6)
        }
        IpAddr::V6(_) => None,
    }
}
