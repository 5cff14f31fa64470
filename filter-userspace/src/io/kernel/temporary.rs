//! Temporary blocks in the kernel's map, with a copy in memory.
//!
//! The daemon is the map's only writer, so the copy always matches the map, which is read once, in
//! batches, at the start. The blocks that are due and those that end first are found in memory,
//! however many there are.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};
use aya::maps::{HashMap as KernelMap, Map, MapData, MapError};
use filter_common::abi::{SourceKey, TemporaryBlock};

use super::bpf;
use super::pod::{BlockPod, KeyPod};

/// The maximum number of blocks that one call of [`TemporaryBlocks::collect`] removes, which takes
/// a few milliseconds. The kernel checks their time, so the others may wait.
const COLLECTED: usize = 10_000;

/// The result of adding a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was added, and no other was removed.
    Added,
    /// It replaced the one that would have ended first.
    Evicted(SourceKey),
}

/// The map of temporary blocks. One writer: the daemon.
pub struct TemporaryBlocks {
    map: KernelMap<MapData, KeyPod, BlockPod>,
    known: HashMap<SourceKey, TemporaryBlock>,
    /// The end of each block, the first on top, including blocks that were removed or replaced.
    ends: BinaryHeap<Reverse<(u64, SourceKey)>>,
    capacity: u64,
}

impl TemporaryBlocks {
    pub(super) fn new(map: Map, capacity: u32) -> Result<Self> {
        let Map::HashMap(data) = &map else { bail!("temporary blocks are in no hash map") };
        let held = read_all(data)?;
        let ends = held.iter().map(|(key, block)| Reverse((block.expires_ns, *key))).collect();
        let known = held.into_iter().collect();
        Ok(Self { map: KernelMap::try_from(map)?, known, ends, capacity: capacity.into() })
    }

    /// The capacity of the map.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The number of blocks that have not ended by `now_ns` (CLOCK_BOOTTIME); some that have ended
    /// may be counted until they are collected.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.known.len() as u64
    }

    /// Sets or replaces a block. In a full map it replaces the one that ends first, if that ends
    /// earlier.
    ///
    /// # Errors
    ///
    /// When the map is full of blocks that end later, or the kernel refuses.
    pub fn insert(&mut self, key: SourceKey, block: TemporaryBlock) -> Result<Inserted> {
        let mut inserted = Inserted::Added;
        let is_full = self.known.len() as u64 >= self.capacity && !self.known.contains_key(&key);
        if is_full && let Some(first) = self.make_room(block.expires_ns)? {
            inserted = Inserted::Evicted(first);
        }
        let mut result = self.map.insert(KeyPod(key), BlockPod(block), 0);
        // The kernel reserves some elements for each CPU: a map may be full a little below its
        // capacity.
        if result.as_ref().is_err_and(is_out_of_room)
            && let Some(first) = self.make_room(block.expires_ns)?
        {
            inserted = Inserted::Evicted(first);
            result = self.map.insert(KeyPod(key), BlockPod(block), 0);
        }
        match result {
            Ok(()) => {}
            Err(error) if is_out_of_room(&error) => bail!(
                "all {} temporary blocks are in use and end later; raise temporary.capacity, or \
                 block the network with `mxdp block add`",
                self.capacity
            ),
            Err(error) => return Err(error).context("the map of temporary blocks"),
        }
        self.known.insert(key, block);
        self.push(block.expires_ns, key);
        Ok(inserted)
    }

    /// Removes the block that ends first, if that is before `expires_ns`.
    fn make_room(&mut self, expires_ns: u64) -> Result<Option<SourceKey>> {
        while let Some(Reverse((end, key))) = self.ends.peek().copied() {
            if self.known.get(&key).is_none_or(|block| block.expires_ns != end) {
                self.ends.pop();
                continue;
            }
            if end >= expires_ns {
                return Ok(None);
            }
            self.remove(key)?;
            return Ok(Some(key));
        }
        Ok(None)
    }

    /// Notes an end; outdated entries are discarded in turn.
    fn push(&mut self, expires_ns: u64, key: SourceKey) {
        self.ends.push(Reverse((expires_ns, key)));
        if self.ends.len() > 2 * self.known.len() + 1024 {
            self.ends =
                self.known.iter().map(|(key, block)| Reverse((block.expires_ns, *key))).collect();
        }
    }

    /// Removes a block and returns it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn remove(&mut self, key: SourceKey) -> Result<Option<TemporaryBlock>> {
        let Some(block) = self.known.get(&key).copied() else {
            return Ok(None);
        };
        match self.map.remove(&KeyPod(key)) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error).context("the map of temporary blocks"),
        }
        self.known.remove(&key);
        Ok(Some(block))
    }

    /// The block of a source.
    ///
    /// # Errors
    ///
    /// Never; the copy in memory is read.
    pub fn get(&self, key: SourceKey) -> Result<Option<TemporaryBlock>> {
        Ok(self.known.get(&key).copied())
    }

    /// Every block, some that have ended included, in no order.
    ///
    /// # Errors
    ///
    /// Never; the copy in memory is read.
    pub fn all(&self) -> Result<Vec<(SourceKey, TemporaryBlock)>> {
        Ok(self.iter().collect())
    }

    /// The same, without a copy.
    pub fn iter(&self) -> impl Iterator<Item = (SourceKey, TemporaryBlock)> {
        self.known.iter().map(|(key, block)| (*key, *block))
    }

    /// Removes blocks that ended by `now_ns` (CLOCK_BOOTTIME), up to a bound, and returns them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn collect(&mut self, now_ns: u64) -> Result<Vec<(SourceKey, TemporaryBlock)>> {
        let mut ended = Vec::new();
        while ended.len() < COLLECTED
            && let Some(Reverse((end, key))) = self.ends.peek().copied()
            && end <= now_ns
        {
            self.ends.pop();
            if let Some(block) = self.known.get(&key).copied().filter(|one| one.expires_ns == end) {
                self.remove(key)?;
                ended.push((key, block));
            }
        }
        Ok(ended)
    }
}

fn is_out_of_room(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error)
        if error.io_error.raw_os_error() == Some(libc::E2BIG))
}

/// Every block of a map.
pub(super) fn read_all(map: &MapData) -> Result<Vec<(SourceKey, TemporaryBlock)>> {
    let elements = bpf::read_map::<KeyPod, BlockPod>(map.fd().as_fd());
    let elements = elements.context("the map of temporary blocks")?;
    Ok(elements.into_iter().map(|(key, block)| (key.0, block.0)).collect())
}
