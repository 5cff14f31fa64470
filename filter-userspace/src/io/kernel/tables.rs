//! Verdict tables in the kernel, in generations.
//!
//! A generation is built beside the one in force and put in force by one write
//! of the selector; [`Tables::publish`] waits until no running program can still
//! see the old one before its slots are emptied or used again.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, ArrayOfMaps, LpmTrie, MapData, MapError};
use filter_common::ClassSet;
use filter_common::abi::{Selector, Settings, maps, slots};
use ipnet::{Ipv4Net, Ipv6Net};

use super::pod::SettingsPod;

type Trie<K> = LpmTrie<MapData, K, u8>;
type Lists<K> = ArrayOfMaps<MapData, Trie<K>>;

/// LPM tries are always allocated entry by entry (kernel 4.11).
const BPF_F_NO_PREALLOC: u32 = 1;

/// A pair of tries that no program reads yet.
pub struct Tries {
    v4: Option<Trie<[u8; 4]>>,
    v6: Option<Trie<[u8; 16]>>,
}

impl Tries {
    /// Fills tries with a verdict table. `progress` hears the entries done, now
    /// and then.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory, after some patience; the tries made so far
    /// are given back.
    pub fn build(
        v4: &[(Ipv4Net, ClassSet)],
        v6: &[(Ipv6Net, ClassSet)],
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        let keys = v4.iter().map(|(net, classes)| {
            (Key::new(net.prefix_len().into(), net.network().octets()), *classes)
        });
        let v4_trie = fill(v4.len(), keys, &mut progress).context("the IPv4 table")?;
        let keys = v6.iter().map(|(net, classes)| {
            (Key::new(net.prefix_len().into(), net.network().octets()), *classes)
        });
        let v6_trie = fill(v6.len(), keys, |done| progress(v4.len() + done));
        Ok(Self { v4: v4_trie, v6: v6_trie.context("the IPv6 table")? })
    }
}

/// How many entries are installed between two reports of progress.
const PROGRESS_STEP: usize = 65_536;

fn fill<K: aya::Pod>(
    length: usize,
    entries: impl Iterator<Item = (Key<K>, ClassSet)>,
    mut progress: impl FnMut(usize),
) -> Result<Option<Trie<K>>> {
    if length == 0 {
        return Ok(None);
    }
    let capacity = u32::try_from(length).context("more prefixes than a map can hold")?;
    let mut trie = patiently(|| Trie::create(capacity, BPF_F_NO_PREALLOC))?;
    for (done, (key, classes)) in entries.enumerate() {
        patiently(|| trie.insert(&key, classes.bits(), 0))?;
        if done % PROGRESS_STEP == 0 {
            progress(done);
        }
    }
    progress(length);
    Ok(Some(trie))
}

/// Tries again while the kernel has no memory: it gives back a freed generation
/// only by and by. Gives up after about two seconds.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, MapError>) -> Result<T> {
    let mut pause = Duration::from_millis(16);
    loop {
        match attempt() {
            Err(error) if is_out_of_memory(&error) && pause < Duration::from_secs(2) => {
                thread::sleep(pause);
                pause *= 2;
            }
            result => return result.context("the kernel refused an entry"),
        }
    }
}

fn is_out_of_memory(error: &MapError) -> bool {
    let io_error = match error {
        MapError::CreateError { io_error, .. } => io_error,
        MapError::SyscallError(error) => &error.io_error,
        _ => return false,
    };
    io_error.raw_os_error() == Some(libc::ENOMEM)
}

/// What a new generation changes; what it leaves out stays as it is.
#[derive(Default)]
pub struct Change {
    /// The tables of list files and countries.
    pub files: Option<Tries>,
    /// The tables of runtime entries.
    pub runtime: Option<Tries>,
    /// Ports, enforcement and limits.
    pub settings: Option<Settings>,
}

/// The maps that a generation is made of.
pub(super) struct Tables {
    selector: Array<MapData, u8>,
    settings: Array<MapData, SettingsPod>,
    lists_v4: Lists<[u8; 4]>,
    lists_v6: Lists<[u8; 16]>,
    empty_v4: Trie<[u8; 4]>,
    empty_v6: Trie<[u8; 16]>,
    in_force: Selector,
    /// Whether no running program can still see the slots that are not in force.
    has_settled: bool,
}

impl Tables {
    /// Takes the maps of a loaded object. What a former daemon left in force
    /// stays in force.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let mut take = |name| ebpf.take_map(name).with_context(|| format!("no map {name}"));
        let selector: Array<_, u8> = take(maps::SELECTOR)?.try_into()?;
        let in_force = Selector::from_bits(selector.get(&0, 0)?);
        Ok(Self {
            settings: take(maps::SETTINGS)?.try_into()?,
            lists_v4: take(maps::LISTS_V4)?.try_into()?,
            lists_v6: take(maps::LISTS_V6)?.try_into()?,
            empty_v4: patiently(|| Trie::create(1, BPF_F_NO_PREALLOC))?,
            empty_v6: patiently(|| Trie::create(1, BPF_F_NO_PREALLOC))?,
            in_force,
            // The former daemon may have ended between a flip and its grace period.
            has_settled: false,
            selector,
        })
    }

    /// The settings in force, if a generation is.
    pub(super) fn settings(&self) -> Result<Option<Settings>> {
        if !self.in_force.is_valid() {
            return Ok(None);
        }
        Ok(Some(self.settings.get(&self.in_force.settings(), 0)?.0))
    }

    /// Puts a generation in force: all of the change at once, or nothing.
    pub(super) fn publish(&mut self, change: &Change) -> Result<()> {
        if !self.has_settled {
            self.wait_for_running_programs()?;
            self.has_settled = true;
        }
        let mut next = self.in_force;
        if let Some(tries) = &change.files {
            let slot = 1 - next.files();
            self.install(slots::FILES[0] + slot, tries)?;
            next = next.with_files(slot, tries.v4.is_some(), tries.v6.is_some());
        }
        if let Some(tries) = &change.runtime {
            let slot = 1 - next.runtime();
            self.install(slots::RUNTIME[0] + slot, tries)?;
            next = next.with_runtime(slot, tries.v4.is_some(), tries.v6.is_some());
        }
        if let Some(settings) = &change.settings {
            let slot = 1 - next.settings();
            self.settings.set(slot, SettingsPod(*settings), 0).context("settings")?;
            next = next.with_settings(slot);
        }
        let former = self.in_force;
        self.selector.set(0, next.bits(), 0).context("the selector")?;
        self.in_force = next;
        // The generation is in force: what goes wrong now keeps memory for a
        // while, and is no failure of the publication.
        if let Err(error) = self.retire(former, change) {
            self.has_settled = false;
            tracing::error!("the former generation is not freed yet: {error:#}");
        }
        Ok(())
    }

    /// Empties the slots that a publication has put out of force, once no running
    /// program can see them.
    fn retire(&mut self, former: Selector, change: &Change) -> Result<()> {
        self.wait_for_running_programs()?;
        if change.files.is_some() {
            self.empty(slots::FILES[0] + former.files())?;
        }
        if change.runtime.is_some() {
            self.empty(slots::RUNTIME[0] + former.runtime())?;
        }
        Ok(())
    }

    fn install(&mut self, slot: u32, tries: &Tries) -> Result<()> {
        let v4 = tries.v4.as_ref().unwrap_or(&self.empty_v4);
        let v6 = tries.v6.as_ref().unwrap_or(&self.empty_v6);
        self.lists_v4.set(slot, v4, 0).context("the IPv4 tables")?;
        self.lists_v6.set(slot, v6, 0).context("the IPv6 tables")
    }

    /// Lets go of the tries of a slot that is no longer in force.
    fn empty(&mut self, slot: u32) -> Result<()> {
        self.lists_v4.set(slot, &self.empty_v4, 0)?;
        self.lists_v6.set(slot, &self.empty_v6, 0)?;
        Ok(())
    }

    /// Returns when every program run that began before has ended.
    ///
    /// The kernel promises this to the writer of a map of maps (`synchronize_rcu`
    /// in `maybe_wait_bpf_programs`, kernel 5.0): that is what the slot that no
    /// program reads is for.
    fn wait_for_running_programs(&mut self) -> Result<()> {
        self.lists_v4.set(slots::GRACE, &self.empty_v4, 0).context("the grace period")
    }
}
