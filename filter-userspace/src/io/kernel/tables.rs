//! Verdict tables in the kernel, in generations.
//!
//! A generation is built beside the active one and activated by one write of the selector;
//! [`Tables::publish`] waits until no running program can still see the old one before its slots
//! are emptied or reused.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{
    Array, ArrayOfMaps, HashMap as KernelMap, InnerMap, LpmTrie, Map, MapData, MapError,
};
use filter_common::ClassSet;
use filter_common::abi::{INNER_MAP, Managed, Selector, Settings, maps, slots};
use filter_common::ranges::Page;
use filter_common::ranges::v4::Planes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::managed::ManagedTables;
use super::object::take;
use super::pod::SettingsPod;
use crate::config::Engine;
use crate::io::privilege;
use crate::lists::Table;
use crate::lists::ranges::{V4, V6};

type Trie<K> = LpmTrie<MapData, K, u8>;
type PlaneArray = Array<MapData, Planes>;
type PageArray = Array<MapData, Page>;

/// LPM tries are always allocated entry by entry (kernel 4.11).
const BPF_F_NO_PREALLOC: u32 = 1;

/// The number of prefixes of a family from which on ranges are faster than a trie, and worth their
/// memory.
const RANGES_FROM: usize = 512;

/// Tries that no program reads yet.
struct Tries {
    v4: Option<Trie<[u8; 4]>>,
    v6: Option<Trie<[u8; 16]>>,
}

/// Tables in either layout that no program reads yet: for each family a trie, ranges, or nothing.
pub struct Prepared {
    tries: Tries,
    v4: Option<(PlaneArray, PageArray)>,
    v6: Option<PageArray>,
}

/// The layout of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The kernel's longest-prefix-match trie.
    Trie,
    /// Ranges in arrays.
    Ranges,
}

impl Layout {
    /// The name used in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trie => "trie",
            Self::Ranges => "ranges",
        }
    }

    /// The layout of a table with this number of prefixes; none for an empty one.
    fn choose(engine: Engine, prefixes: usize) -> Option<Self> {
        let ranges = match engine {
            _ if prefixes == 0 => return None,
            Engine::Auto => prefixes >= RANGES_FROM,
            Engine::Trie => false,
            Engine::Ranges => true,
        };
        Some(if ranges && privilege::has_ranges() { Self::Ranges } else { Self::Trie })
    }
}

/// The layouts of the tables of both families, if they are not empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layouts {
    /// IPv4.
    pub v4: Option<Layout>,
    /// IPv6.
    pub v6: Option<Layout>,
}

impl Layouts {
    /// The layouts of a table with an engine. Without CAP_PERFMON, all are tries.
    #[must_use]
    pub fn choose(engine: Engine, table: &Table) -> Self {
        let choose = |prefixes| Layout::choose(engine, prefixes);
        Self { v4: choose(table.v4.len()), v6: choose(table.v6.len()) }
    }

    /// Whether a table is a trie that would have been ranges.
    #[must_use]
    pub fn lacks_ranges(self, engine: Engine, table: &Table) -> bool {
        let lacks = |layout, prefixes| {
            let wanted = engine == Engine::Ranges || prefixes >= RANGES_FROM;
            engine != Engine::Trie && layout == Some(Layout::Trie) && wanted
        };
        lacks(self.v4, table.v4.len()) || lacks(self.v6, table.v6.len())
    }
}

impl Prepared {
    /// Installs a verdict table in the kernel. `progress` is called with the number of prefixes
    /// done, now and then.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory, after some retries; what was made so far is released.
    pub fn build(table: &Table, engine: Engine, progress: impl FnMut(usize)) -> Result<Self> {
        Self::in_layouts(table, Layouts::choose(engine, table), progress)
    }

    fn in_layouts(
        table: &Table,
        layouts: Layouts,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        let mut prepared = Self { tries: Tries { v4: None, v6: None }, v4: None, v6: None };
        match layouts.v4 {
            None => {}
            Some(Layout::Trie) => {
                let key = |net: &Ipv4Net| Key::new(net.prefix_len().into(), net.network().octets());
                let trie = fill(&table.v4, key, &mut progress).context("the IPv4 trie")?;
                prepared.tries.v4 = Some(trie);
            }
            Some(Layout::Ranges) => {
                let ranges = V4::compile(&table.v4).context("the IPv4 table")?;
                let planes = array(std::slice::from_ref(ranges.planes()), 0);
                let pages = array(ranges.words().pages(), INNER_MAP).context("the IPv4 pages")?;
                prepared.v4 = Some((planes.context("the IPv4 planes")?, pages));
            }
        }
        match layouts.v6 {
            None => {}
            Some(Layout::Trie) => {
                let key = |net: &Ipv6Net| Key::new(net.prefix_len().into(), net.network().octets());
                let trie = fill(&table.v6, key, |done| progress(table.v4.len() + done));
                prepared.tries.v6 = Some(trie.context("the IPv6 trie")?);
            }
            Some(Layout::Ranges) => {
                let ranges = V6::compile(&table.v6).context("the IPv6 table")?;
                let pages = array(ranges.words().pages(), INNER_MAP);
                prepared.v6 = Some(pages.context("the IPv6 pages")?);
            }
        }
        Ok(prepared)
    }
}

/// An array with these values, at least one long.
fn array<V: aya::Pod>(values: &[V], flags: u32) -> Result<Array<MapData, V>> {
    let length = u32::try_from(values.len().max(1)).context("more values than a map can hold")?;
    let mut array = patiently(|| Array::create(length, flags))?;
    for (index, value) in (0..).zip(values) {
        patiently(|| array.set(index, value, 0))?;
    }
    Ok(array)
}

/// How many entries are installed between two reports of progress.
const PROGRESS_STEP: usize = 65_536;

fn fill<P, K: aya::Pod>(
    table: &[(P, ClassSet)],
    key: impl Fn(&P) -> Key<K>,
    mut progress: impl FnMut(usize),
) -> Result<Trie<K>> {
    let capacity = u32::try_from(table.len()).context("more prefixes than a map can hold")?;
    let mut trie = patiently(|| Trie::create(capacity, BPF_F_NO_PREALLOC))?;
    for (done, (net, classes)) in table.iter().enumerate() {
        let key = key(net);
        patiently(|| trie.insert(&key, classes.bits(), 0))?;
        if done % PROGRESS_STEP == 0 {
            progress(done);
        }
    }
    progress(table.len());
    Ok(trie)
}

/// Retries while the kernel has no memory: it frees a former generation only gradually. Gives up
/// after about two seconds.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, MapError>) -> Result<T> {
    let mut pause = Duration::from_millis(16);
    loop {
        match attempt() {
            Err(error) if errno(&error) == Some(libc::ENOMEM) && pause < Duration::from_secs(2) => {
                thread::sleep(pause);
                pause *= 2;
            }
            result => return result.context("the kernel refused an entry"),
        }
    }
}

/// The kernel's error.
fn errno(error: &MapError) -> Option<i32> {
    match error {
        MapError::CreateError { io_error, .. } => io_error.raw_os_error(),
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

/// The changes of a new generation; what it leaves out stays.
#[derive(Default)]
pub struct Change {
    /// The tables of list files and countries.
    pub files: Option<Prepared>,
    /// Ports, enforcement and limits.
    pub settings: Option<Settings>,
}

/// The maps that a generation is made of.
pub(super) struct Tables {
    selector: Array<MapData, u8>,
    settings: Array<MapData, SettingsPod>,
    lists_v4: Slots<Trie<[u8; 4]>>,
    lists_v6: Slots<Trie<[u8; 16]>>,
    planes_v4: Slots<PlaneArray>,
    pages_v4: Slots<PageArray>,
    pages_v6: Slots<PageArray>,
    managed: ManagedTables,
    /// The map that is put into a slot to wait for running programs.
    grace: Trie<[u8; 4]>,
    in_force: Selector,
    /// Whether no running program can still see the inactive slots.
    has_settled: bool,
}

/// An array of maps.
struct Slots<V> {
    array: ArrayOfMaps<MapData, V>,
    /// The same array as a hash map: aya can empty slots of those only, and the system call is the
    /// same.
    emptied: KernelMap<MapData, u32, u32>,
}

impl<V: InnerMap> Slots<V> {
    fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        let Map::ArrayOfMaps(map) = take(ebpf, name)? else {
            bail!("{name} is no array of maps");
        };
        let same = MapData::from_fd(map.fd().as_fd().try_clone_to_owned()?)?;
        let emptied = Map::HashMap(same).try_into()?;
        Ok(Self { array: Map::ArrayOfMaps(map).try_into()?, emptied })
    }

    /// Puts a map into a slot, or empties the slot. Returns when no running program can still see
    /// what was there (see [`Tables::wait_for_running_programs`]).
    fn set(&mut self, slot: u32, map: Option<&V>) -> Result<()> {
        match map {
            Some(map) => Ok(self.array.set(slot, map, 0)?),
            None => match self.emptied.remove(&slot) {
                Err(error) if errno(&error) != Some(libc::ENOENT) => Err(error.into()),
                _ => Ok(()),
            },
        }
    }
}

impl Tables {
    /// Takes the maps of a loaded object. What a former daemon left active stays active.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let selector: Array<_, u8> = take(ebpf, maps::SELECTOR)?.try_into()?;
        let in_force = Selector::from_bits(selector.get(&0, 0)?);
        Ok(Self {
            settings: take(ebpf, maps::SETTINGS)?.try_into()?,
            lists_v4: Slots::take(ebpf, maps::LISTS_V4)?,
            lists_v6: Slots::take(ebpf, maps::LISTS_V6)?,
            planes_v4: Slots::take(ebpf, maps::PLANES_V4)?,
            pages_v4: Slots::take(ebpf, maps::PAGES_V4)?,
            pages_v6: Slots::take(ebpf, maps::PAGES_V6)?,
            managed: ManagedTables::take(ebpf)?,
            grace: patiently(|| Trie::create(1, BPF_F_NO_PREALLOC))?,
            in_force,
            // The former daemon may have ended between the switch and its grace period.
            has_settled: false,
            selector,
        })
    }

    /// Sets the managed entries of prefixes, or removes them, one after the other. Readers do not
    /// notice, since a SYN matches one prefix of them.
    pub(super) fn manage(&mut self, changes: &[(IpNet, Option<Managed>)]) -> Result<()> {
        let changed = self.managed.change(changes);
        let (v4, v6) = self.managed.families();
        let next = self.in_force.with_runtime(v4, v6);
        if next != self.in_force {
            self.selector.set(0, next.bits(), 0).context("the selector")?;
            self.in_force = next;
        }
        changed
    }

    /// The prefixes in the tries of managed entries that are not among these.
    pub(super) fn managed_besides(&self, wanted: &HashMap<IpNet, Managed>) -> Vec<IpNet> {
        self.managed.besides(wanted)
    }

    /// The active settings, if a generation is active.
    pub(super) fn settings(&self) -> Result<Option<Settings>> {
        if !self.in_force.is_valid() {
            return Ok(None);
        }
        Ok(Some(self.settings.get(&self.in_force.settings(), 0)?.0))
    }

    /// Activates a generation: all of the change at once, or nothing.
    pub(super) fn publish(&mut self, change: &Change) -> Result<()> {
        if !self.has_settled {
            self.wait_for_running_programs()?;
            self.has_settled = true;
        }
        let mut next = self.in_force;
        if let Some(files) = &change.files {
            let slot = 1 - next.files();
            self.install_files(slot, Some(files))?;
            let v4 = files.v4.is_some() || files.tries.v4.is_some();
            let v6 = files.v6.is_some() || files.tries.v6.is_some();
            next = next.with_files(slot, v4, v6);
        }
        if let Some(settings) = &change.settings {
            let slot = 1 - next.settings();
            self.settings.set(slot, SettingsPod(*settings), 0).context("settings")?;
            next = next.with_settings(slot);
        }
        let former = self.in_force;
        self.selector.set(0, next.bits(), 0).context("the selector")?;
        self.in_force = next;
        // The generation is active: an error from here on keeps memory for a while, and does not
        // fail the publication.
        if let Err(error) = self.retire(former, change) {
            self.has_settled = false;
            tracing::error!("the former generation is not freed yet: {error:#}");
        }
        Ok(())
    }

    /// Empties the slots that a publication has made inactive, once no running program can see
    /// them.
    fn retire(&mut self, former: Selector, change: &Change) -> Result<()> {
        self.wait_for_running_programs()?;
        if change.files.is_some() {
            self.install_files(former.files(), None)?;
        }
        Ok(())
    }

    /// Puts the tables of files into a slot, or releases those that are there.
    fn install_files(&mut self, slot: u32, tables: Option<&Prepared>) -> Result<()> {
        let v4 = tables.and_then(|tables| tables.v4.as_ref());
        self.planes_v4.set(slot, v4.map(|v4| &v4.0)).context("the IPv4 planes")?;
        self.pages_v4.set(slot, v4.map(|v4| &v4.1)).context("the IPv4 pages")?;
        let v6 = tables.and_then(|tables| tables.v6.as_ref());
        self.pages_v6.set(slot, v6).context("the IPv6 pages")?;
        self.install_tries(slots::FILES[0] + slot, tables.map(|tables| &tables.tries))
    }

    fn install_tries(&mut self, slot: u32, tries: Option<&Tries>) -> Result<()> {
        let v4 = tries.and_then(|tries| tries.v4.as_ref());
        self.lists_v4.set(slot, v4).context("the IPv4 tries")?;
        let v6 = tries.and_then(|tries| tries.v6.as_ref());
        self.lists_v6.set(slot, v6).context("the IPv6 tries")
    }

    /// Returns when every program run that began before has ended.
    ///
    /// The kernel promises this to the writer of a map of maps (`synchronize_rcu`
    /// in `maybe_wait_bpf_programs`, kernel 5.0): that is what the slot that no
    /// program reads is for.
    fn wait_for_running_programs(&mut self) -> Result<()> {
        self.lists_v4.set(slots::GRACE, Some(&self.grace)).context("the grace period")
    }
}
