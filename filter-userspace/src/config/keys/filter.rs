//! `[filter]`: where and how the packet filter works.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, clean};
use crate::config::values::{find_duplicates, read_absolute};

/// Where the filter is pinned, unless the configuration says otherwise.
pub const DEFAULT_PIN: &str = "/sys/fs/bpf/mxdp";

/// The longest interface name, in bytes (IFNAMSIZ less its zero).
const INTERFACE_NAME: usize = 15;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "The packet filter", sections: &["filter"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("filter");

keys! {
    /// The interfaces that mail comes in on: Ethernet (or loopback). VLAN tags and PPPoE
    /// sessions on them are looked through. A tunnel that carries Ethernet frames (VXLAN,
    /// Geneve, GRETAP) is an interface of its own: name it where mail comes in through it. What
    /// comes out of a tunnel device without Ethernet headers (IPIP, GRE, TUN, WireGuard, the
    /// PPP device of a session) is not judged, and naming one is an error. An interface whose
    /// frames are all judged below it (a VLAN of one that is named, a bond whose members all
    /// are) is not attached a second time
    live INTERFACES = "interfaces";
    /// Native XDP runs in the driver; generic runs later, is many times slower and works
    /// everywhere. `auto` tries native first and warns when it falls back
    restart MODE = "mode";
    /// The protected TCP ports; SYNs to other ports pass. What another program listens on, 465
    /// and 587 say, is protected only if it is named
    live PORTS = "ports";
    /// The layout of the tables in the kernel. Tries are small; ranges cost 6 MiB (IPv4) or 1
    /// MiB (IPv6) and about 9 bytes a prefix, and stay fast at any size. `auto` uses ranges
    /// from 512 prefixes of a family on. Without CAP_PERFMON all tables are tries, with a
    /// warning (kernels 6.1 and 6.12 refuse even that)
    live ENGINE = "engine";
    /// The folder on a bpf file system where the filter is pinned. A filter that is pinned
    /// elsewhere on one of the interfaces is taken over at start
    restart PIN = "pin";
    /// Whether the filter outlives the daemon. If not, nothing is pinned and the filter ends
    /// with the process
    restart PERSIST = "persist";
    /// The most sampled events of dropped and monitored SYNs per second and CPU. Counters are
    /// exact regardless
    live EVENTS_PER_SECOND = "events_per_second";
    /// What the program in the kernel logs; `debug` writes a line for each judged SYN
    restart DEBUG = "debug";
}

/// What the packet filter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The interfaces, at least one.
    pub interfaces: Vec<String>,
    /// The protected ports; while `[filter]` is read, none if the configuration names none.
    pub ports: Vec<u16>,
    /// How the tables of lists are laid out in the kernel.
    pub engine: Engine,
    /// Sampled events a second and CPU.
    pub events_per_second: u32,
}

/// What of the packet filter is fixed at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterStartup {
    /// How the program is attached.
    pub mode: Mode,
    /// The pin directory.
    pub pin: PathBuf,
    /// Whether the filter outlives the daemon.
    pub persist: bool,
    /// What the program logs about itself.
    #[serde(rename = "debug")]
    pub kernel_log: KernelLog,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// Native, then generic with a warning.
    #[default]
    Auto,
    /// Native or not at all.
    Native,
    /// Generic.
    Generic,
}

/// How the tables of lists are laid out in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Small tables as tries, large ones as ranges.
    #[default]
    Auto,
    /// The kernel's longest-prefix-match tries.
    Trie,
    /// Ranges in arrays.
    Ranges,
}

/// What the XDP program logs about itself. The codes are the program's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[repr(u8)]
pub enum KernelLog {
    /// Nothing; the verifier removes the code.
    #[default]
    Off = 0,
    /// Errors.
    Error = 1,
    /// Warnings too.
    Warn = 2,
    /// Information too.
    Info = 3,
    /// Every judged SYN.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Reads `[filter]`.
pub(in crate::config) fn read(section: Section<'_>) -> (FilterStartup, Filter) {
    let interfaces = read_interfaces(&section);
    let mode = section.choice(
        MODE,
        &[("auto", Mode::Auto), ("native", Mode::Native), ("generic", Mode::Generic)],
        Mode::Auto,
    );
    let ports = read_ports(&section);
    let engine = section.choice(
        ENGINE,
        &[("auto", Engine::Auto), ("trie", Engine::Trie), ("ranges", Engine::Ranges)],
        Engine::Auto,
    );
    let startup = FilterStartup {
        mode,
        pin: read_absolute(&section, PIN, DEFAULT_PIN),
        persist: section.boolean(PERSIST, true),
        kernel_log: section.choice(
            DEBUG,
            &[
                ("off", KernelLog::Off),
                ("error", KernelLog::Error),
                ("warn", KernelLog::Warn),
                ("info", KernelLog::Info),
                ("debug", KernelLog::Debug),
                ("trace", KernelLog::Trace),
            ],
            KernelLog::Off,
        ),
    };
    let events_per_second = section.integer(EVENTS_PER_SECOND, 0..=100_000, 256);
    section.finish();
    (startup, Filter { interfaces, ports, engine, events_per_second })
}

fn read_interfaces(section: &Section<'_>) -> Vec<String> {
    section.describe(INTERFACES, "array of 1 to 64 names", "required");
    let interfaces = section.strings(INTERFACES);
    for name in &interfaces {
        let wrong = name.value.is_empty()
            || name.value.len() > INTERFACE_NAME
            || name.value.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        if wrong {
            let message =
                format!("`{}` is not an interface name (see `ip link`)", clean(name.value));
            section.error(&name.span, INTERFACES, message);
        }
    }
    find_duplicates(section, INTERFACES, &interfaces);
    section.needs_some(INTERFACES, "name at least one, such as [\"eth0\"]");
    if let Some(surplus) = interfaces.get(64) {
        section.error(&surplus.span, INTERFACES, "at most 64");
    }
    interfaces.iter().map(|name| name.value.to_owned()).collect()
}

fn read_ports(section: &Section<'_>) -> Vec<u16> {
    section.describe(PORTS, "", "`25`, and the ports that mxdp listens on for mail");
    let ports = section.integers::<u16>(PORTS, &(1..=65_535));
    find_duplicates(section, PORTS, &ports);
    if section.has(PORTS) {
        section.needs_some(PORTS, "name at least one, such as 25");
    }
    ports.iter().map(|port| port.value).collect()
}
