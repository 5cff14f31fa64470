//! Temporary blocks: set, lifted, listed, and kept across restarts.
//!
//! The kernel's map has them. The file is for a start that finds no map: after a
//! reboot, or where the filter does not outlive the daemon.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use filter_common::abi::{SourceKey, TemporaryBlock, TemporaryReason};
use filter_common::{Address, Family};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::core::Daemon;
use super::refused;
use super::requests::{bad_request, not_found};
use crate::control::protocol::{Failure, TemporaryEntry};
use crate::io::smtp::Block;
use crate::io::{clock, temporary_file};
use crate::policy::escalation::Offence;

/// The longest temporary block: 30 days. What is to stand longer is an entry.
const TEMPORARY_LIMIT_S: u64 = 30 * 24 * 3600;

/// How often the file is written at most; and this share of the time at most.
const SAVE: Duration = Duration::from_secs(5);
const SHARE: u32 = 50;

const SECOND_NS: u64 = 1_000_000_000;

impl Daemon {
    /// Puts the blocks of the file in force that still have time left, unless the
    /// kernel's map outlived the daemon that wrote it: the file may have some that were
    /// lifted since.
    pub(super) fn restore_blocks(&mut self) -> Result<()> {
        if self.filter.blocks_outlived() {
            return Ok(());
        }
        let saved = match temporary_file::load(&self.config.state.folder) {
            Ok(saved) => saved,
            Err(error) => {
                // They lapse by themselves; a damaged file is no reason not to start.
                tracing::error!("temporary blocks are not restored: {error}");
                return Ok(());
            }
        };
        let (now, boot) = (clock::unix_seconds(), clock::boot_ns());
        let mut restored = 0_u64;
        for block in saved.iter().filter(|block| block.expires > now) {
            // Whatever this host's clock says now, it lasts no longer than it was to.
            let time = block.expires.saturating_sub(block.created).min(TEMPORARY_LIMIT_S);
            let left = (block.expires - now).min(time);
            let expires_ns = boot + left * SECOND_NS;
            let kept = TemporaryBlock {
                expires_ns,
                // It may have begun before this boot: then the number wraps.
                created_ns: expires_ns.wrapping_sub(time * SECOND_NS),
                reason: block.reason as u32,
                reserved: 0,
            };
            let key = SourceKey::of(&Address::from_ip(block.address));
            if let Err(error) = self.filter.temporary().insert(key, kept) {
                tracing::error!("temporary blocks are not all restored: {error:#}");
                break;
            }
            restored += 1;
        }
        if restored > 0 {
            tracing::info!(restored, "temporary blocks of before");
        }
        Ok(())
    }

    /// Writes the file, where blocks came or went.
    pub(super) fn save_blocks(&mut self, at_once: bool) {
        let (saved, took) = self.temporary_saved;
        if !self.temporary_changed || (!at_once && saved.elapsed() < SAVE.max(took * SHARE)) {
            return;
        }
        let start = Instant::now();
        let (now, boot) = (clock::unix_seconds(), clock::boot_ns());
        let blocks = self.filter.temporary().all().unwrap_or_default();
        let saved = blocks.iter().filter(|(_, block)| block.expires_ns > boot).filter_map(
            |(key, block)| {
                Some(temporary_file::Saved {
                    address: key.network()?.to_ip(),
                    reason: TemporaryReason::from_code(block.reason)?,
                    created: now.saturating_sub(boot.wrapping_sub(block.created_ns) / SECOND_NS),
                    expires: now + (block.expires_ns - boot).div_ceil(SECOND_NS),
                })
            },
        );
        let result = temporary_file::save(&self.config.state.folder, saved);
        self.temporary_saved = (Instant::now(), start.elapsed());
        match result {
            Ok(()) => self.temporary_changed = false,
            Err(error) => tracing::error!("temporary blocks are not saved: {error}"),
        }
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
        if self.filter.temporary().insert(key, block).is_err() {
            // Lapsed ones are collected in turn; those that are left must go now. That
            // looks at all of them, so not for every block that a flood asks for.
            if self.collected.elapsed() > Duration::from_secs(1) {
                self.collect()?;
            }
            self.filter.temporary().insert(key, block)?;
        }
        self.temporary_held = self.temporary_held.saturating_add(1);
        self.temporary_changed = true;
        if let (Some(edge), Some(network)) = (&self.edge, key.network()) {
            edge.publish_block(network.to_ip(), Duration::from_secs(seconds));
        }
        Ok(temporary_entry(&key, &block, now))
    }

    /// Blocks an address for a time, because of what it did in SMTP.
    pub(super) fn block(&mut self, block: Block) {
        let Block { address, time, offence } = block;
        let seconds = time.as_secs().clamp(1, TEMPORARY_LIMIT_S);
        let reason = match offence {
            Offence::Reputation => TemporaryReason::Reputation,
            Offence::Dictionary => TemporaryReason::DictionaryAttack,
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

    /// Tells the SMTP edge which addresses are blocked for a time.
    pub(super) fn publish_blocks(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let now = clock::boot_ns();
        let blocks = self.filter.temporary().all().unwrap_or_default();
        edge.publish_blocks(blocks.iter().filter_map(|(key, block)| {
            let left = Duration::from_nanos(block.expires_ns.saturating_sub(now));
            let time = Duration::from_nanos(block.expires_ns.wrapping_sub(block.created_ns));
            Some((key.network()?.to_ip(), left, time))
        }));
    }

    pub(super) fn remove_temporary(&mut self, address: IpAddr) -> Result<TemporaryEntry, Failure> {
        let key = SourceKey::of(&Address::from_ip(address));
        let removed = self.filter.temporary().remove(key).map_err(|error| refused(&error))?;
        self.temporary_changed = true;
        if let (Some(edge), Some(network)) = (&self.edge, key.network()) {
            edge.lift_block(network.to_ip());
        }
        let now = clock::boot_ns();
        removed
            .filter(|block| block.expires_ns > now)
            .and_then(|block| temporary_entry(&key, &block, now))
            .ok_or_else(|| not_found(&format!("{address} is under no temporary block")))
    }

    pub(super) fn list_temporary(&mut self) -> Result<Vec<TemporaryEntry>, Failure> {
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

    pub(super) fn temporary_of(&mut self, address: IpAddr) -> Result<Option<TemporaryEntry>> {
        let key = SourceKey::of(&Address::from_ip(address));
        let now = clock::boot_ns();
        let block = self.filter.temporary().get(key)?.filter(|block| block.expires_ns > now);
        Ok(block.and_then(|block| temporary_entry(&key, &block, now)))
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
