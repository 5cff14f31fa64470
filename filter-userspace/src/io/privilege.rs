//! The privileges of this process: checked, and reduced to what the filter needs.

use std::fs;
use std::sync::LazyLock;

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// The capabilities that the daemon keeps.
const KEPT: [Capability; 6] = [
    // Programs, maps and links.
    Capability::CAP_BPF,
    // Interfaces that a reload adds.
    Capability::CAP_NET_ADMIN,
    // The verifier requires it for ranges; a reload may bring the first.
    Capability::CAP_PERFMON,
    // Maps and programs by id: a map in a map, the program of an interface.
    Capability::CAP_SYS_ADMIN,
    // Ports below 1024.
    Capability::CAP_NET_BIND_SERVICE,
    // Lists and keys that only another user may read.
    Capability::CAP_DAC_READ_SEARCH,
];

const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Reports what is missing, before the kernel reports only "not permitted".
///
/// # Errors
///
/// When this process may not load or attach the filter.
pub fn require() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    // If the kernel does not report it, loading the program shows whether it works.
    let Some(held) = effective(&status) else {
        return Ok(());
    };
    let missing = missing(held);
    if !missing.is_empty() {
        bail!(
            "no privilege to load and attach the filter: {} missing; run mxdp as root (`sudo mxdp \
             …`), or with CAP_BPF, CAP_NET_ADMIN and, for large lists, CAP_PERFMON",
            missing.join(" and ")
        );
    }
    Ok(())
}

/// Drops every capability except those in [`KEPT`], for this thread and those that it starts, and
/// with them the way to regain any.
///
/// # Errors
///
/// When the kernel refuses to drop them.
pub fn drop_capabilities() -> Result<()> {
    drop_all_but(&KEPT.into_iter().collect()).context("giving up capabilities")
}

/// Drops the capabilities of threads that talk with clients, except for reading files. The filter
/// and the ports belong to the threads that existed before.
pub fn drop_worker_capabilities() {
    if let Err(error) = drop_all_but(&CapsHashSet::from([Capability::CAP_DAC_READ_SEARCH])) {
        tracing::error!("a thread keeps more capabilities than it needs: {error:#}");
    }
}

fn drop_all_but(kept: &CapsHashSet) -> Result<()> {
    prctl::set_no_new_privs().context("no_new_privs")?;
    // The bounding set first: changing it needs CAP_SETPCAP, which is dropped next. Without
    // CAP_SETPCAP, no_new_privs still keeps dropped capabilities from coming back.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    let permitted = caps::read(None, CapSet::Permitted)?;
    let left = permitted.intersection(kept).copied().collect();
    caps::set(None, CapSet::Ambient, &CapsHashSet::new())?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    // Effective first: it must not contain what is not permitted.
    caps::set(None, CapSet::Effective, &left)?;
    caps::set(None, CapSet::Permitted, &left)?;
    Ok(())
}

/// Whether the kernel's verifier accepts the search in ranges from this process: it requires
/// CAP_PERFMON, or CAP_SYS_ADMIN before kernel 5.8.
#[must_use]
pub fn has_ranges() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // If the kernel does not report it, loading the program shows whether it works.
        effective(&status).is_none_or(|held| has(held, PERFMON) || has(held, SYS_ADMIN))
    });
    *HAS
}

const fn has(held: u64, capability: u32) -> bool {
    held & (1 << capability) != 0
}

/// The effective capabilities in the text of `/proc/PID/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(held: u64) -> Vec<&'static str> {
    let bpf = has(held, BPF) || has(held, SYS_ADMIN);
    let needed = [("CAP_BPF", bpf), ("CAP_NET_ADMIN", has(held, NET_ADMIN))];
    needed.into_iter().filter(|(_, held)| !held).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let held = |text: &str| missing(effective(text).expect("a line"));
        assert!(held("Name:\tmxdp\nCapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(held("CapEff:\t0000000000000000"), ["CAP_BPF", "CAP_NET_ADMIN"]);
        assert_eq!(held("CapEff:\t0000008000000000"), ["CAP_NET_ADMIN"]);
        assert!(held("CapEff:\t0000008000001000").is_empty());
        assert!(held("CapEff:\t0000000000201000").is_empty());
        assert_eq!(effective("Name:\tmxdp\n"), None);
    }
}
