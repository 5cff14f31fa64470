//! The embedded object file and its loading.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapInfo, MapType};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use filter_common::abi::{
    self, COUNTERS, Event, MANAGED_ENTRIES, Managed, Sampler, Settings, SourceKey, TemporaryBlock,
    maps, slots,
};

use crate::config::KernelLog;
use crate::io::privilege;

/// The XDP program, built by this crate's build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("MXDP_EBPF_OBJECT"));

/// The sizes of the maps that the configuration decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Temporary blocks.
    pub temporary: u32,
    /// Sources whose SYN rate is remembered.
    pub syn_rate: u32,
}

/// Loads maps and program; with `pins`, the maps pinned there are taken over.
///
/// # Errors
///
/// Without the privilege, on a kernel that lacks a feature, or without memory.
pub(super) fn load(
    capacities: Capacities,
    kernel_log: KernelLog,
    pins: Option<&Path>,
) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    let level = kernel_log as u8;
    loader
        .override_global("AYA_LOG_LEVEL", &level, true)
        .map_max_entries(maps::TEMPORARY, capacities.temporary)
        .map_max_entries(maps::SYN_RATE, capacities.syn_rate);
    if let Some(folder) = pins {
        for name in maps::PINNED {
            loader.map_pin_path(name, folder.join(name));
        }
    }
    let mut ebpf = loader.load(OBJECT).map_err(explain)?;
    program(&mut ebpf)?.load().map_err(|error| explain(error.into()))?;
    Ok(ebpf)
}

/// The program of a loaded object.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let name = if privilege::has_ranges() { abi::PROGRAM } else { abi::PROGRAM_TRIE };
    let program = ebpf.program_mut(name).context("the object lacks its program")?;
    Ok(program.try_into()?)
}

/// A map of a loaded object; it can be taken once.
pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("no map {name}"))
}

/// What a map must look like to be taken over; the kernel does not compare it.
pub(super) struct Shape {
    pub(super) name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: Option<u32>,
}

impl Shape {
    /// Whether a map of the kernel has this shape.
    pub(super) fn matches(&self, info: &MapInfo) -> bool {
        let size = |bytes: usize| u32::try_from(bytes).ok();
        info.map_type().is_ok_and(|kind| kind == self.kind)
            && size(self.key) == Some(info.key_size())
            && size(self.value) == Some(info.value_size())
            && self.entries.is_none_or(|entries| entries == info.max_entries())
    }
}

/// The shapes of all pinned maps.
pub(super) fn shapes(capacities: Capacities) -> [Shape; maps::PINNED.len()] {
    let shape = |name, kind, key, value, entries: usize| Shape {
        name,
        kind,
        key,
        value,
        entries: u32::try_from(entries).ok(),
    };
    let lists = slots::COUNT as usize;
    let temporary = capacities.temporary as usize;
    let syn_rate = capacities.syn_rate as usize;
    let (key, block) = (size_of::<SourceKey>(), size_of::<TemporaryBlock>());
    // A ring's capacity is set by the object, and its size is not that of an element.
    let ring =
        Shape { name: maps::EVENTS, kind: MapType::RingBuf, key: 0, value: 0, entries: None };
    const { assert!(size_of::<Event>().is_multiple_of(8)) };
    [
        shape(maps::SELECTOR, MapType::Array, 4, 1, 1),
        shape(maps::SETTINGS, MapType::Array, 4, size_of::<Settings>(), 2),
        shape(maps::LISTS_V4, MapType::ArrayOfMaps, 4, 4, lists),
        shape(maps::LISTS_V6, MapType::ArrayOfMaps, 4, 4, lists),
        shape(maps::PLANES_V4, MapType::ArrayOfMaps, 4, 4, slots::FILES.len()),
        shape(maps::PAGES_V4, MapType::ArrayOfMaps, 4, 4, slots::FILES.len()),
        shape(maps::PAGES_V6, MapType::ArrayOfMaps, 4, 4, slots::FILES.len()),
        // A key consists of the prefix's length and the address.
        shape(maps::MANAGED_V4, MapType::LpmTrie, 8, size_of::<Managed>(), MANAGED_ENTRIES),
        shape(maps::MANAGED_V6, MapType::LpmTrie, 20, size_of::<Managed>(), MANAGED_ENTRIES),
        shape(maps::TEMPORARY, MapType::Hash, key, block, temporary),
        shape(maps::SYN_RATE, MapType::LruHash, key, 8, syn_rate),
        shape(maps::COUNTERS, MapType::PerCpuArray, 4, 8, COUNTERS),
        shape(maps::SAMPLER, MapType::PerCpuArray, 4, size_of::<Sampler>(), 1),
        ring,
    ]
}

/// Adds advice to the errors that operators meet.
fn explain(error: aya::EbpfError) -> anyhow::Error {
    let text = format!("{error:?}");
    let hint = if text.contains("PermissionDenied") || text.contains("Operation not permitted") {
        if privilege::has_ranges() {
            "loading the XDP program needs root, or CAP_BPF and CAP_NET_ADMIN"
        } else {
            "this kernel takes the XDP program from root only, or with CAP_BPF, CAP_NET_ADMIN and \
             CAP_PERFMON"
        }
    } else if text.contains("Cannot allocate memory") || text.contains("OutOfMemory") {
        "the kernel has no memory for the maps; see temporary.capacity and syn_rate.capacity"
    } else {
        "the kernel refused the XDP program"
    };
    anyhow::Error::new(error).context(hint)
}
