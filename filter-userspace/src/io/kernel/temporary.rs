//! Temporary blocks in the kernel's map.

use anyhow::{Context as _, Result, bail};
use aya::maps::{HashMap, MapData, MapError};
use filter_common::abi::{SourceKey, TemporaryBlock};

use super::pod::{BlockPod, KeyPod};

/// The map of temporary blocks. One writer: the daemon.
pub struct TemporaryBlocks {
    map: HashMap<MapData, KeyPod, BlockPod>,
    capacity: u64,
}

impl TemporaryBlocks {
    pub(super) fn new(map: aya::maps::Map, capacity: u32) -> Result<Self> {
        Ok(Self { map: HashMap::try_from(map)?, capacity: capacity.into() })
    }

    /// The most blocks that the map holds.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Sets or replaces a block.
    ///
    /// # Errors
    ///
    /// When the map is full.
    pub fn insert(&mut self, key: SourceKey, block: TemporaryBlock) -> Result<()> {
        match self.map.insert(KeyPod(key), BlockPod(block), 0) {
            Ok(()) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::E2BIG) =>
            {
                bail!(
                    "all {} temporary blocks are in use; raise temporary.capacity, or block the \
                     network with `mxdp block add`",
                    self.capacity
                )
            }
            Err(error) => Err(error).context("the map of temporary blocks"),
        }
    }

    /// Removes a block and returns it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn remove(&mut self, key: SourceKey) -> Result<Option<TemporaryBlock>> {
        let Some(block) = self.get(key)? else {
            return Ok(None);
        };
        match self.map.remove(&KeyPod(key)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(Some(block)),
            Err(error) => Err(error).context("the map of temporary blocks"),
        }
    }

    /// The block of a source.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn get(&self, key: SourceKey) -> Result<Option<TemporaryBlock>> {
        match self.map.get(&KeyPod(key), 0) {
            Ok(block) => Ok(Some(block.0)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("the map of temporary blocks"),
        }
    }

    /// Every block, lapsed ones included, in no order.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn all(&self) -> Result<Vec<(SourceKey, TemporaryBlock)>> {
        read_all(&self.map)
    }

    /// Removes the blocks that lapsed by `now_ns` (CLOCK_BOOTTIME) and says how
    /// many are left.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn collect(&mut self, now_ns: u64) -> Result<u64> {
        let mut left = 0;
        for (key, block) in self.all()? {
            if block.expires_ns <= now_ns {
                self.remove(key)?;
            } else {
                left += 1;
            }
        }
        Ok(left)
    }
}

/// Every block of a map that is about to be replaced.
pub(super) fn read_all(
    map: &HashMap<MapData, KeyPod, BlockPod>,
) -> Result<Vec<(SourceKey, TemporaryBlock)>> {
    map.iter()
        .map(|item| {
            let (key, block) = item.context("the map of temporary blocks")?;
            Ok((key.0, block.0))
        })
        .collect()
}
