//! `[syn_rate]`: the rate of SYNs that one source may send.

use filter_common::abi::SynRate;
use serde::Serialize;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "SYN rates", sections: &["syn_rate"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("syn_rate");

keys! {
    /// The rate of SYNs that one IPv4 address may send
    live IPV4 = "ipv4";
    /// The same for each IPv6 /64
    live IPV6 = "ipv6";
    /// SYNs per second
    live PER_SECOND = "per_second";
    /// SYNs at once
    live BURST = "burst";
    /// The most sources whose rate is remembered; the least recent is forgotten
    restart CAPACITY = "capacity";
}

/// The rates of SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynRates {
    /// For each IPv4 address.
    pub ipv4: SynRate,
    /// For each IPv6 /64.
    pub ipv6: SynRate,
}

/// What of the rates is fixed at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SynRateStartup {
    /// The most sources that are remembered.
    pub capacity: u32,
}

/// The default of `syn_rate.capacity`.
pub(in crate::config) const DEFAULT_CAPACITY: u32 = 65_536;

/// Reads `[syn_rate]`.
pub(in crate::config) fn read(section: Section<'_>) -> (SynRateStartup, SynRates) {
    for family in [IPV4, IPV6] {
        section.describe(family, "table", "off");
    }
    let rates =
        SynRates { ipv4: read_rate(section.section(IPV4)), ipv6: read_rate(section.section(IPV6)) };
    let capacity = section.integer(CAPACITY, 1024..=16_777_216, DEFAULT_CAPACITY);
    section.finish();
    (SynRateStartup { capacity }, rates)
}

/// SYNs a second and a burst, as a generic cell rate.
fn read_rate(section: Section<'_>) -> SynRate {
    if section.is_there() && !section.has(PER_SECOND) {
        section.missing(PER_SECOND, "is missing: SYNs a second");
    }
    section.describe(PER_SECOND, "", "required in the table");
    section.describe(BURST, "", "as `per_second`");
    let per_second: u64 = section.integer(PER_SECOND, 1..=1_000_000, 0);
    let burst = section.integer(BURST, 1..=1_000_000, per_second.max(1));
    section.finish();
    if per_second == 0 {
        return SynRate::default();
    }
    let interval_ns = 1_000_000_000 / per_second;
    SynRate { interval_ns, tolerance_ns: (burst - 1) * interval_ns }
}
