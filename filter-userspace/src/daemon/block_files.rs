//! The files of temporary blocks: those that are active, those that have ended, by which the next
//! block of the same client is longer, and who delivered mail.
//!
//! The kernel's map has the blocks. The files are for a start that finds no map: after a
//! reboot, or where the filter does not outlive the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use filter_common::Address;
use filter_common::abi::{SourceKey, TemporaryBlock, TemporaryReason};

use crate::control::protocol::TEMPORARY_LIMIT_S;
use crate::io::kernel::{Filter, Inserted};
use crate::io::offender_file::{self, Ended};
use crate::io::smtp::Edge;
use crate::io::state::StateItem;
use crate::io::{clock, temporary_file};
use crate::lists::ClientNetwork;

/// How often the files are written at most; and this share of the time at most.
const SAVE: Duration = Duration::from_secs(5);
const SHARE: u32 = 50;

/// How often they are written at least, for those who delivered mail.
const DELIVERED: Duration = Duration::from_secs(300);

const SECOND_NS: u64 = 1_000_000_000;

/// What is kept of temporary blocks, and how.
pub(super) struct Saving {
    /// Whether blocks came or went since they were last saved.
    pub(super) changed: bool,
    /// The state folder.
    folder: PathBuf,
    /// When they were last saved, and how long that took.
    last: (Instant, Duration),
    /// The thread that saves them now.
    running: Option<JoinHandle<(io::Result<()>, Duration)>>,
}

impl Saving {
    /// Nothing is saved yet, in the state folder.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { changed: false, folder, last: (Instant::now(), Duration::ZERO), running: None }
    }

    /// Writes the files, where blocks came or went, or deliveries are remembered and were not
    /// saved for long: beside this thread, but at the end. `snapshot` copies all blocks.
    pub(super) fn save(
        &mut self,
        at_once: bool,
        remembers_deliveries: bool,
        snapshot: impl FnOnce() -> Snapshot,
    ) {
        self.finish(at_once);
        let (saved, took) = self.last;
        let is_time = at_once || saved.elapsed() >= SAVE.max(took * SHARE);
        // Who delivered mail changes all the time.
        let delivers = remembers_deliveries && (at_once || saved.elapsed() >= DELIVERED);
        if (self.changed || delivers) && self.running.is_none() && is_time {
            self.begin(snapshot());
            self.finish(at_once);
        }
    }

    /// Hears of the thread that saves how that went, if it is done or is to be waited for.
    fn finish(&mut self, wait: bool) {
        let is_done = |running: &mut JoinHandle<_>| wait || running.is_finished();
        let Some(running) = self.running.take_if(is_done) else { return };
        let (result, took) = running.join().unwrap_or_else(|_| {
            (Err(io::Error::other("the thread that saves them panicked")), Duration::ZERO)
        });
        self.last = (Instant::now(), took);
        if let Err(error) = result {
            tracing::error!("temporary blocks are not saved: {error}");
            self.changed = true;
        }
    }

    /// Starts a thread that saves all blocks as they are now.
    fn begin(&mut self, snapshot: Snapshot) {
        self.changed = false;
        let folder = self.folder.clone();
        self.running = Some(thread::spawn(move || {
            let start = Instant::now();
            (snapshot.save(&folder), start.elapsed())
        }));
    }
}

/// All blocks at one moment.
pub(super) struct Snapshot {
    /// The blocks of the kernel.
    pub(super) blocks: Vec<(SourceKey, TemporaryBlock)>,
    /// Those that have ended, how long they lasted, and how long ago they ended.
    pub(super) ended: Vec<(ClientNetwork, Duration, Duration)>,
    /// Who delivered mail, and how long ago.
    pub(super) delivered: Vec<(ClientNetwork, Duration)>,
    /// Whether what ended is known: without SMTP, nobody remembers it.
    pub(super) remembers: bool,
    /// The time now, in seconds of [`crate::io::timeline`].
    pub(super) now: u64,
    /// The time now, by CLOCK_BOOTTIME.
    pub(super) boot_ns: u64,
}

impl Snapshot {
    fn save(&self, folder: &Path) -> io::Result<()> {
        let (now, boot) = (self.now, self.boot_ns);
        let blocks = self.blocks.iter().filter(|(_, block)| block.expires_ns > boot);
        let saved = blocks.filter_map(|(key, block)| {
            Some(temporary_file::Saved {
                client: ClientNetwork::of(key.network()?.to_ip()),
                reason: TemporaryReason::from_code(block.reason)?,
                created: now.saturating_sub(boot.wrapping_sub(block.created_ns) / SECOND_NS),
                expires: now + (block.expires_ns - boot).div_ceil(SECOND_NS),
            })
        });
        temporary_file::save(folder, saved)?;
        if !self.remembers {
            return Ok(());
        }
        let ended = self.ended.iter().map(|(client, lasted, ago)| Ended {
            client: *client,
            lasted: lasted.as_secs(),
            ended: now.saturating_sub(ago.as_secs()),
        });
        offender_file::save(folder, ended)?;
        let delivered = self.delivered.iter();
        let delivered = delivered.map(|(client, ago)| (*client, now.saturating_sub(ago.as_secs())));
        offender_file::save_delivered(folder, delivered)
    }
}

/// The files of the last daemon.
pub(super) struct Kept<'a> {
    /// The state folder.
    pub(super) folder: &'a Path,
    /// What is to be added to their times, in seconds.
    pub(super) shift: i64,
    /// The time now, in seconds of [`crate::io::timeline`].
    pub(super) now: u64,
}

/// Puts those blocks of the file into the kernel that still have time left.
pub(super) fn restore_blocks(kept: &Kept<'_>, edge: Option<&Edge>, filter: &mut Filter) {
    let (saved, bad) = match temporary_file::load(kept.folder) {
        Ok(loaded) => loaded,
        Err(error) => {
            // They end by themselves; a damaged file does not keep mxdp from starting.
            tracing::error!("temporary blocks are not restored: {error}");
            return;
        }
    };
    if bad > 0 {
        tracing::error!(
            "{bad} lines of {} in {} are damaged and were skipped",
            StateItem::TemporaryBlocks,
            kept.folder.display()
        );
    }
    let (now, boot) = (kept.now, clock::boot_ns());
    let mut restored = 0_u64;
    for block in saved {
        let expires = block.expires.saturating_add_signed(kept.shift);
        // Whatever this host's clock says now, it lasts no longer than it was to.
        let time = block.expires.saturating_sub(block.created).min(TEMPORARY_LIMIT_S);
        if expires <= now {
            if let Some(edge) = edge {
                let ago = Duration::from_secs(now - expires);
                edge.remember_block(block.client, Duration::from_secs(time), ago);
            }
            continue;
        }
        let left = (expires - now).min(time);
        let expires_ns = boot + left * SECOND_NS;
        let restoring = TemporaryBlock {
            expires_ns,
            // It may have begun before this boot: then the number wraps.
            created_ns: expires_ns.wrapping_sub(time * SECOND_NS),
            reason: block.reason as u32,
            reserved: 0,
        };
        let key = SourceKey::of(&Address::from_ip(block.client.first()));
        match filter.temporary().insert(key, restoring) {
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

/// Tells the SMTP side which blocks have ended.
pub(super) fn restore_ended(kept: &Kept<'_>, edge: &Edge) {
    let (ended, bad) = match offender_file::load(kept.folder) {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::error!("ended blocks are not remembered: {error}");
            return;
        }
    };
    if bad > 0 {
        tracing::error!(
            "{bad} lines of {} in {} are damaged and were skipped",
            StateItem::EndedBlocks,
            kept.folder.display()
        );
    }
    for Ended { client, lasted, ended } in ended {
        let ago = kept.now.saturating_sub(ended.saturating_add_signed(kept.shift));
        edge.remember_block(client, Duration::from_secs(lasted), Duration::from_secs(ago));
    }
}

/// Tells the SMTP side who delivered mail within its `memory`.
pub(super) fn restore_delivered(kept: &Kept<'_>, edge: &Edge, memory: Option<Duration>) {
    let delivered = match offender_file::load_delivered(kept.folder) {
        Ok((delivered, _)) => delivered,
        Err(error) => return tracing::error!("who delivered mail is not remembered: {error}"),
    };
    for (client, time) in delivered {
        let ago = kept.now.saturating_sub(time.saturating_add_signed(kept.shift));
        let ago = Duration::from_secs(ago);
        if memory.is_some_and(|memory| ago <= memory) {
            edge.remember_delivery(client, ago);
        }
    }
}
