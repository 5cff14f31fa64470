//! The maps, and the verdict's lookups in them.
#![expect(unsafe_code, reason = "map values are reached by pointers that the kernel gives")]

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use filter_common::abi::{
    COUNTERS as COUNTER_COUNT, INNER_MAP, MANAGED_ENTRIES, Managed, Selector, Settings, SourceKey,
    SynRate, TemporaryBlock, counter_index, slots,
};
use filter_common::ranges::v4::Planes;
use filter_common::ranges::{self, Page, Pages};
use filter_common::verdict::Tables;
use filter_common::{Address, ClassSet, Family, Reason};

// The sizes of inner tries, of TEMPORARY and of SYN_RATE are the loader's to set.
type Trie<K> = LpmTrie<K, u8, 1>;
type ManagedTrie<K> = LpmTrie<K, Managed, MANAGED_ENTRIES>;
type PageArray = Array<Page, 1, { INNER_MAP as usize }>;

#[btf_map]
static SELECTOR: Array<u8, 1> = Array::new();
#[btf_map]
static SETTINGS: Array<Settings, 2> = Array::new();
#[btf_map]
static LISTS_V4: ArrayOfMaps<Trie<[u8; 4]>, { slots::COUNT as usize }> = ArrayOfMaps::new();
#[btf_map]
static LISTS_V6: ArrayOfMaps<Trie<[u8; 16]>, { slots::COUNT as usize }> = ArrayOfMaps::new();
#[btf_map]
static PLANES_V4: ArrayOfMaps<Array<Planes, 1>, { slots::FILES.len() }> = ArrayOfMaps::new();
#[btf_map]
static PAGES_V4: ArrayOfMaps<PageArray, { slots::FILES.len() }> = ArrayOfMaps::new();
#[btf_map]
static PAGES_V6: ArrayOfMaps<PageArray, { slots::FILES.len() }> = ArrayOfMaps::new();
#[btf_map]
static MANAGED_V4: ManagedTrie<[u8; 4]> = LpmTrie::new();
#[btf_map]
static MANAGED_V6: ManagedTrie<[u8; 16]> = LpmTrie::new();
#[btf_map]
static TEMPORARY: HashMap<SourceKey, TemporaryBlock, 1024> = HashMap::new();
#[btf_map]
static SYN_RATE: LruHashMap<SourceKey, u64, 1024> = LruHashMap::new();
#[btf_map]
static COUNTERS: PerCpuArray<u64, COUNTER_COUNT> = PerCpuArray::new();

/// Counts a frame on this CPU.
#[inline(always)]
pub(crate) fn count(reason: Reason, family: Family) {
    if let Some(counter) = COUNTERS.get_ptr_mut(counter_index(reason, family)) {
        // SAFETY: the value belongs to this CPU, and the program is not preempted by another run of
        // itself on it.
        unsafe { *counter += 1 };
    }
}

/// The tables of one generation: the selector is read once, so that a frame
/// cannot see two. Without `RANGES`, the files' tables must be tries.
pub(crate) struct InForce<const RANGES: bool> {
    selector: Selector,
    dry: bool,
}

impl<const RANGES: bool> InForce<RANGES> {
    /// The active generation. A dry run changes no table.
    #[inline(always)]
    pub(crate) fn read(dry: bool) -> Self {
        let bits = SELECTOR.get_ptr(0).map_or(0, |word| {
            // SAFETY: an array's value exists as long as the program; volatile, so that the word is
            // read exactly once.
            unsafe { word.read_volatile() }
        });
        Self { selector: Selector::from_bits(bits), dry }
    }
}

impl<const RANGES: bool> Tables for InForce<RANGES> {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        if !self.selector.is_valid() {
            return None;
        }
        SETTINGS.get(self.selector.settings())
    }

    #[inline(always)]
    fn classes(&self, source: &Address) -> ClassSet {
        match source.family() {
            Family::V6 => {
                let key = Key::new(128, *source.bytes());
                let (high, low) = source.halves();
                self.both(Family::V6, &LISTS_V6, &MANAGED_V6, &key, |slot| {
                    mxdp_ranges_v6(slot, high, low)
                })
            }
            Family::V4 | Family::Other => {
                let bytes = source.first_four();
                let address = u32::from_be_bytes(bytes);
                let key = Key::new(32, bytes);
                self.both(Family::V4, &LISTS_V4, &MANAGED_V4, &key, |slot| {
                    mxdp_ranges_v4(slot, address)
                })
            }
        }
    }

    #[inline(always)]
    fn is_blocked_for_a_time(&self, source: &SourceKey) -> bool {
        // SAFETY: the daemon may reuse the element while it is read. At worst, the expiry of
        // another block is read: this one frame is passed or dropped as if it had arrived a moment
        // later.
        let Some(block) = (unsafe { TEMPORARY.get(source) }) else {
            return false;
        };
        // SAFETY: the helper has no preconditions (kernel 5.8).
        block.expires_ns > unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn exceeds(&self, source: &SourceKey, rate: SynRate) -> bool {
        // The coarse clock advances only every few milliseconds: SYNs within them would be one
        // burst. SAFETY: the helper has no preconditions.
        let now = unsafe { bpf_ktime_get_ns() };
        let known = SYN_RATE.get_ptr_mut(source);
        // SAFETY: an element exists as long as this run. Two CPUs may read the same due time and
        // admit one SYN each: the limit protects, it does not account.
        let due = known.map_or(0, |due| unsafe { due.read_volatile() });
        let Some(next) = rate.admit(due, now) else {
            return true;
        };
        if !self.dry {
            match known {
                // SAFETY: as above.
                Some(due) => unsafe { due.write_volatile(next) },
                // A map that is full evicts; a failure admits, like an unknown source.
                None => _ = SYN_RATE.insert(source, next, 0),
            }
        }
        false
    }
}

impl<const RANGES: bool> InForce<RANGES> {
    /// The classes by the files and the managed entries. Those of the files are in ranges if there
    /// are any, and otherwise in a trie.
    #[inline(always)]
    fn both<K, const SLOTS: usize>(
        &self,
        family: Family,
        tries: &ArrayOfMaps<Trie<K>, SLOTS>,
        managed: &ManagedTrie<K>,
        key: &Key<K>,
        in_ranges: impl FnOnce(u32) -> i32,
    ) -> ClassSet {
        let mut classes = ClassSet::EMPTY;
        if self.selector.has_files(family) {
            let slot = self.selector.files();
            let found = if RANGES { in_ranges(slot) } else { NO_RANGES };
            classes = match u8::try_from(found) {
                Ok(bits) => ClassSet::from_bits(bits),
                Err(_) => in_trie(tries, slots::FILES[0] + slot, key),
            };
        }
        if self.selector.has_runtime(family)
            && let Some(entry) = managed.get(key)
        {
            // Without CAP_PERFMON the verifier refuses an index that has different bounds on
            // different paths, such as the result of comparing times. There only the daemon removes
            // expired entries (ADR 13).
            let found = if RANGES {
                // SAFETY: the helper has no preconditions (kernel 5.8).
                entry.classes(unsafe { bpf_ktime_get_boot_ns() })
            } else {
                entry.classes_ever()
            };
            classes = classes.union(found);
        }
        classes
    }
}

#[inline(always)]
fn in_trie<K, const SLOTS: usize>(
    tries: &ArrayOfMaps<Trie<K>, SLOTS>,
    slot: u32,
    key: &Key<K>,
) -> ClassSet {
    tries
        .get(slot)
        .and_then(|trie| trie.get(key))
        .map_or(ClassSet::EMPTY, |bits| ClassSet::from_bits(*bits))
}

/// The result if a slot has no ranges.
const NO_RANGES: i32 = -1;

/// The classes of an IPv4 address in the ranges of a slot. Exported, so that the verifier checks it
/// once for all paths that lead to it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn mxdp_ranges_v4(slot: u32, address: u32) -> i32 {
    let (Some(planes), Some(pages)) = (PLANES_V4.get(slot), PAGES_V4.get(slot)) else {
        return NO_RANGES;
    };
    let Some(planes) = planes.get_ptr(0) else {
        return NO_RANGES;
    };
    let plane = |index: usize| {
        // SAFETY: the lookup's indices are below the planes' length, which the verifier checks; the
        // array exists as long as this run.
        unsafe { *planes.cast::<u64>().add(index) }
    };
    ranges::v4::look_up(address, plane, &InMap(pages)).bits().into()
}

/// The classes of an IPv6 address in the ranges of a slot, likewise.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn mxdp_ranges_v6(slot: u32, high: u64, low: u64) -> i32 {
    PAGES_V6
        .get(slot)
        .map_or(NO_RANGES, |pages| ranges::v6::look_up(high, low, &InMap(pages)).bits().into())
}

/// Pages in the kernel's map.
struct InMap<'a>(&'a PageArray);

impl Pages for InMap<'_> {
    type Page = *const Page;

    #[inline(always)]
    fn page(&self, number: u32) -> Option<Self::Page> {
        self.0.get_ptr(number)
    }

    #[inline(always)]
    fn word(page: Self::Page, index: usize) -> u32 {
        // SAFETY: indices of words are below a page's length, which the verifier checks; the array
        // exists as long as this run.
        unsafe { *page.cast::<u32>().add(index) }
    }
}
