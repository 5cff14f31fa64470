//! Temporary blocks: set, lifted, listed, and kept across restarts ([`super::block_files`]).
//!
//! However many there are, this thread does no more for each than copy it: files are
//! written and lists are answered by threads of their own.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use filter_common::Address;
use filter_common::abi::{SourceKey, TemporaryBlock, TemporaryReason};
use ipnet::IpNet;
use tokio::runtime::Handle;

use super::block_files::{self, Kept, Saving, Snapshot};
use super::failures::{bad_request, not_found, refused};
use super::protection::Protection;
use crate::config::Config;
use crate::control::protocol::{Failure, TEMPORARY_LIMIT_S, TemporaryEntry, Window};
use crate::control::server::{Incoming, Peer};
use crate::io::clock;
use crate::io::kernel::{Filter, Inserted};
use crate::io::smtp::{Block, Edge};
use crate::io::timeline::Timeline;
use crate::lists::{ClientNetwork, Holder, Protected};
use crate::policy::offences::Offence;
use crate::smtp::refusal::Reason;

/// How often the addresses that are never blocked automatically are looked up again.
const PROTECT: Duration = Duration::from_secs(10);

/// For how long it is believed which addresses this host and the backends have.
const FRESH: Duration = Duration::from_secs(1);

/// For how long it is shown that a block could not be made.
const SHOWN: Duration = Duration::from_secs(60);

const SECOND_NS: u64 = 1_000_000_000;

/// The temporary blocks, which the kernel's map has.
pub(super) struct Blocks {
    edge: Option<Arc<Edge>>,
    saving: Saving,
    /// Who is never blocked automatically.
    protection: Protection,
    /// When and why a block could not be made.
    refused: Option<(Instant, String)>,
    /// The state folder.
    folder: PathBuf,
    /// Answers with long lists.
    tasks: Handle,
}

impl Blocks {
    /// None yet.
    pub(super) fn new(edge: Option<Arc<Edge>>, folder: PathBuf, tasks: Handle) -> Self {
        let saving = Saving::new(folder.clone());
        Self { edge, saving, protection: Protection::new(), refused: None, folder, tasks }
    }

    /// Remembers the blocks that have ended, and restores those of the file that still
    /// have time left, unless the kernel's map outlived the daemon that wrote it: the file
    /// may have some that were lifted since. `shift` is what is to be added to the times
    /// of the files.
    pub(super) fn restore(
        &mut self,
        shift: i64,
        timeline: &Timeline,
        config: &Config,
        filter: &mut Filter,
    ) {
        let kept = Kept { folder: &self.folder, shift, now: timeline.now() };
        let edge = self.edge.as_deref();
        if let Some(edge) = edge {
            block_files::restore_ended(&kept, edge);
            block_files::restore_delivered(&kept, edge, memory(config));
        }
        if filter.blocks_outlived() {
            // The file may be another daemon's, and older than they are.
            self.saving.changed = true;
        } else {
            block_files::restore_blocks(&kept, edge, filter);
        }
    }

    /// Writes the files, where blocks came or went: beside this thread, but at the end.
    pub(super) fn save(
        &mut self,
        at_once: bool,
        timeline: &Timeline,
        config: &Config,
        filter: &mut Filter,
    ) {
        let edge = self.edge.as_ref().zip(memory(config));
        let snapshot = || Snapshot {
            remembers: edge.is_some(),
            ended: edge.map(|(edge, memory)| edge.ended_blocks(memory)).unwrap_or_default(),
            delivered: edge.map(|(edge, memory)| edge.deliveries(memory)).unwrap_or_default(),
            now: timeline.now(),
            boot_ns: clock::boot_ns(),
            blocks: filter.temporary().iter().collect(),
        };
        self.saving.save(at_once, self.edge.is_some(), snapshot);
    }

    /// The alarm, while it is new that a block could not be made.
    pub(super) fn alarm(&self) -> Option<String> {
        let (at, why) = self.refused.as_ref()?;
        (at.elapsed() < SHOWN).then(|| format!("an address was not blocked: {why}"))
    }

    /// Finds what is protected now, tells the SMTP side, and lifts automatic blocks that
    /// were made before it was.
    pub(super) fn protect(&mut self, config: &Config, filter: &mut Filter) {
        if !self.protection.find(config, self.edge.as_deref()) {
            return;
        }
        if let Some(edge) = &self.edge {
            edge.publish_protected(self.protection.protected().clone());
        }
        self.lift_protected(filter);
    }

    /// The same, now and then.
    pub(super) fn protect_if_due(&mut self, config: &Config, filter: &mut Filter) {
        if self.protection.is_older_than(PROTECT) {
            self.protect(config, filter);
        }
    }

    /// What is protected now.
    fn protected(&mut self, config: &Config, filter: &mut Filter) -> Arc<Protected> {
        if self.protection.is_older_than(FRESH) {
            self.protect(config, filter);
        }
        self.protection.protected().clone()
    }

    /// Refuses a block that hits what is protected.
    pub(super) fn object(
        &mut self,
        prefix: IpNet,
        peer: &Peer,
        config: &Config,
        filter: &mut Filter,
    ) -> Result<(), Failure> {
        self.protected(config, filter);
        self.protection.object(prefix, peer)
    }

    /// Blocks an address because an operator asks for it.
    pub(super) fn add(
        &mut self,
        address: IpAddr,
        seconds: u64,
        filter: &mut Filter,
    ) -> Result<TemporaryEntry, Failure> {
        if seconds == 0 || seconds > TEMPORARY_LIMIT_S {
            return Err(bad_request(
                "a temporary block lasts from 1 second to 30 days; see `mxdp block add`",
            ));
        }
        self.insert(address, seconds, TemporaryReason::Operator, filter)
            .map_err(|error| refused(&error))?
            .ok_or_else(|| bad_request("not an address"))
    }

    fn insert(
        &mut self,
        address: IpAddr,
        seconds: u64,
        reason: TemporaryReason,
        filter: &mut Filter,
    ) -> Result<Option<TemporaryEntry>> {
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = TemporaryBlock {
            expires_ns: now + seconds * SECOND_NS,
            created_ns: now,
            reason: reason as u32,
            reserved: 0,
        };
        let inserted = filter.temporary().insert(key, block)?;
        self.saving.changed = true;
        if let (Some(edge), Inserted::Evicted(other)) = (&self.edge, inserted) {
            edge.end_blocks(other.network().iter().map(Address::to_ip));
        }
        if let (Some(edge), Some(network)) = (&self.edge, key.network()) {
            edge.publish_block(network.to_ip(), Duration::from_secs(seconds));
        }
        Ok(temporary_entry(&key, &block, now))
    }

    /// Blocks an address temporarily, because of what it did in SMTP.
    pub(super) fn block(&mut self, block: Block, config: &Config, filter: &mut Filter) {
        let Block { address, time, offence } = block;
        let seconds = time.as_secs().clamp(1, TEMPORARY_LIMIT_S);
        if let Some(holder) = self.protected(config, filter).forbids(address) {
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
        match self.insert(address, seconds, reason, filter) {
            Ok(_) => tracing::warn!(%address, seconds, offence = offence.name(), "blocked"),
            Err(error) => {
                self.refused = Some((Instant::now(), format!("{error:#}")));
                if let Some(edge) = &self.edge {
                    edge.lift_block(address);
                }
            }
        }
    }

    /// Tells the SMTP edge which addresses are blocked; once, at the start.
    pub(super) fn publish(&self, filter: &mut Filter) {
        let Some(edge) = &self.edge else { return };
        let now = clock::boot_ns();
        edge.publish_blocks(filter.temporary().iter().filter_map(|(key, block)| {
            let left = Duration::from_nanos(block.expires_ns.saturating_sub(now));
            let time = Duration::from_nanos(block.expires_ns.wrapping_sub(block.created_ns));
            Some((key.network()?.to_ip(), left, time))
        }));
    }

    /// Removes blocks that have ended.
    pub(super) fn collect(&mut self, filter: &mut Filter) -> Result<()> {
        let ended = filter.temporary().collect(clock::boot_ns())?;
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
    fn lift_protected(&mut self, filter: &mut Filter) {
        let protected = self.protection.protected().clone();
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
            .filter(|(network, holder)| {
                *holder != Holder::ThisHost || network.prefix_len() <= ClientNetwork::LENGTH_V6
            })
            .map(|(network, _)| *network)
            .collect();
        let blocks = filter.temporary();
        hit.extend(blocks.iter().filter_map(|(key, _)| {
            let block = network_of(&key)?.prefix();
            wide.iter().any(|one| one.contains(&block) || block.contains(one)).then_some(key)
        }));
        for key in hit {
            let blocks = filter.temporary();
            let Ok(Some(block)) = blocks.get(key) else { continue };
            if block.reason == TemporaryReason::Operator as u32 {
                continue;
            }
            let Some(client) = network_of(&key) else { continue };
            let network = client.prefix();
            match blocks.remove(key) {
                Ok(_) => tracing::warn!(%network, "a temporary block is lifted: it is protected"),
                Err(error) => tracing::error!(%network, "a block cannot be lifted: {error:#}"),
            }
            self.saving.changed = true;
            if let Some(edge) = &self.edge {
                edge.lift_block(client.first());
            }
        }
    }

    /// Lifts the block or the deferral of an address.
    pub(super) fn remove(
        &mut self,
        address: IpAddr,
        filter: &mut Filter,
    ) -> Result<TemporaryEntry, Failure> {
        let key = SourceKey::of(&Address::from_ip(address));
        let removed = filter.temporary().remove(key).map_err(|error| refused(&error))?;
        self.saving.changed = true;
        let now = clock::boot_ns();
        let removed = removed
            .filter(|block| block.expires_ns > now)
            .and_then(|block| temporary_entry(&key, &block, now));
        let deferred = self.edge.as_ref().zip(key.network()).and_then(|(edge, network)| {
            let left = edge.pardon(network.to_ip())?;
            let prefix = network_of(&key)?.prefix();
            let reason = Reason::Guessing.name().to_owned();
            Some(TemporaryEntry { prefix, reason, remaining_s: left.as_secs() })
        });
        removed.or(deferred).ok_or_else(|| {
            not_found(&format!("{address} is under no temporary block, and its mail not deferred"))
        })
    }

    /// Answers with all blocks, or with a part of them, beside this thread.
    pub(super) fn list(&self, asked: Incoming, window: Option<Window>, filter: &mut Filter) {
        let now = clock::boot_ns();
        let blocks: Vec<_> = filter.temporary().iter().collect();
        self.tasks.spawn_blocking(move || {
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

    /// The block that covers an address.
    pub(super) fn of(address: IpAddr, filter: &mut Filter) -> Result<Option<TemporaryEntry>> {
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = filter.temporary().get(key)?.filter(|block| block.expires_ns > now);
        Ok(block.and_then(|block| temporary_entry(&key, &block, now)))
    }
}

/// For how long the SMTP side remembers blocks and deliveries.
fn memory(config: &Config) -> Option<Duration> {
    config.smtp.as_ref().map(|smtp| smtp.escalation.memory)
}

fn temporary_entry(key: &SourceKey, block: &TemporaryBlock, now: u64) -> Option<TemporaryEntry> {
    let prefix = network_of(key)?.prefix();
    let reason = TemporaryReason::from_code(block.reason).map_or("unknown", TemporaryReason::name);
    let remaining_s = block.expires_ns.saturating_sub(now).div_ceil(1_000_000_000);
    Some(TemporaryEntry { prefix, reason: reason.to_owned(), remaining_s })
}

/// The client network that the block of a source covers.
fn network_of(key: &SourceKey) -> Option<ClientNetwork> {
    Some(ClientNetwork::of(key.network()?.to_ip()))
}
