//! What is carried over from the maps of another filter: temporary blocks and counters.

use anyhow::Result;
use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use filter_common::abi::{COUNTERS, SourceKey, TemporaryBlock, maps};

use super::pins::{self, FoundLink};
use super::temporary;

/// Continues counters from the values of others.
pub(super) fn count_on(counters: &mut PerCpuArray<MapData, u64>, counted: Vec<u64>) -> Result<()> {
    for (index, frames) in (0..).zip(counted) {
        // No program counts here yet. What the old one counts from now on is lost.
        let mut values = vec![0; counters.get(&index, 0)?.len()];
        values[0] = frames;
        counters.set(index, PerCpuValues::try_from(values)?, 0)?;
    }
    Ok(())
}

/// The temporary blocks of the program behind a link, whatever its version, if
/// their layout is this one's.
pub(super) fn carried_blocks(found: &FoundLink) -> Option<Vec<(SourceKey, TemporaryBlock)>> {
    let read = || -> Result<Option<_>> {
        let sizes = (size_of::<SourceKey>(), size_of::<TemporaryBlock>());
        let Some(map) = map_behind(found, maps::TEMPORARY, sizes)? else { return Ok(None) };
        Ok(Some(temporary::read_all(&map)?))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(interface = found.interface, "temporary blocks are lost: {error:#}");
        None
    })
}

/// The counters of the program behind a link, by [`filter_common::abi::counter_index`], if it
/// counts the same things.
pub(super) fn carried_counters(found: &FoundLink) -> Vec<u64> {
    let read = || -> Result<Vec<_>> {
        let Some(map) = map_behind(found, maps::COUNTERS, (4, 8))? else { return Ok(Vec::new()) };
        if map.info()?.max_entries() as usize != COUNTERS {
            return Ok(Vec::new());
        }
        let counters = PerCpuArray::<_, u64>::try_from(aya::maps::Map::PerCpuArray(map))?;
        let sums = (0..).take(COUNTERS).map(|index| Ok(counters.get(&index, 0)?.iter().sum()));
        sums.collect()
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(interface = found.interface, "counters begin at zero: {error:#}");
        Vec::new()
    })
}

/// The map with a name that the program behind a link uses, if its keys and values have these
/// sizes.
fn map_behind(found: &FoundLink, name: &str, sizes: (usize, usize)) -> Result<Option<MapData>> {
    for id in pins::attached_maps(found)? {
        let map = MapData::from_id(id)?;
        let info = map.info()?;
        let fits = (info.key_size() as usize, info.value_size() as usize) == sizes;
        if info.name_as_str() == Some(name) && fits {
            return Ok(Some(map));
        }
    }
    Ok(None)
}
