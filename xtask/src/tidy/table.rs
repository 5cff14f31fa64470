//! The table of rooms: change it where a room is to know another one.

/// What of the standard library a room may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Std {
    /// `core` alone: the kernel has no more.
    Core,
    /// Everything that has no file, process, thread, socket or clock.
    Pure,
    All,
}

use Std::{All, Core, Pure};

/// A crate, or a module at the top of `filter-userspace/src`.
pub(super) struct Room {
    pub(super) name: &'static str,
    pub(super) std: Std,
    /// The rooms that it may name, by spaces: those of earlier rows.
    pub(super) rooms: &'static str,
    /// The crates of others that it may name, by spaces.
    pub(super) crates: &'static str,
}

const fn row(name: &'static str, std: Std, rooms: &'static str, crates: &'static str) -> Room {
    Room { name, std, rooms, crates }
}

/// All rooms, and each names only those above it.
pub(super) const ROOMS: &[Room] = &[
    row("filter-common", Core, "", ""),
    row("filter-ebpf", Core, "", "aya_ebpf aya_log_ebpf filter_common"),
    row("text", Pure, "", ""),
    row("dns", Pure, "", ""),
    row("lists", Pure, "text", "filter_common ipnet maxminddb memchr serde serde_json thiserror"),
    row("runtime", Pure, "text lists", "filter_common ipnet serde serde_json thiserror"),
    row("spf", Pure, "dns", "idna ipnet serde"),
    row("smtp", Pure, "text", "idna mail_parser memchr time"),
    row("policy", Pure, "dns lists spf smtp", "base64 csv ipnet lru serde serde_json"),
    row("record", Pure, "text lists smtp policy", "csv filter_common ipnet lru serde time"),
    row("config", Pure, "lists smtp policy", "filter_common ipnet serde toml"),
    row("log", All, "text config", "tracing_subscriber"),
    row(
        "io",
        All,
        "text dns lists runtime spf smtp policy record config",
        "anyhow aya aya_log base64 caps filter_common hickory_resolver ipnet ldap3 libc log \
         netlink_packet_core netlink_packet_route netlink_sys nix notify ppp rcgen ring \
         rustls rustls_native_certs sd_notify serde serde_json socket2 thiserror tokio \
         tokio_rustls tracing x509_parser",
    ),
    row(
        "store",
        All,
        "record io",
        "filter_common libc lru rusqlite serde_json thiserror time tracing",
    ),
    row(
        "control",
        All,
        "lists runtime policy record io",
        "ipnet libc nix serde serde_json thiserror tokio tracing",
    ),
    row(
        "web",
        All,
        "text lists runtime smtp policy record config io control",
        "anyhow axum base64 filter_common futures_util hyper hyper_util ipnet lru maud \
         prometheus_client ring rustls serde serde_json socket2 tokio tokio_rustls tracing",
    ),
    row(
        "generation",
        All,
        "text lists runtime smtp policy record config io web",
        "anyhow filter_common nix tracing",
    ),
    row(
        "daemon",
        All,
        "text lists runtime smtp policy record config log io store control web generation",
        "anyhow aya aya_log filter_common ipnet log nix serde tokio tracing",
    ),
    row("detach", All, "config io control generation", ""),
    row("offline", All, "dns lists spf policy config io control generation", "nix serde tokio"),
    row(
        "cli",
        All,
        "text lists runtime spf smtp policy record config control web daemon detach offline",
        "clap clap_complete clap_mangen filter_common ipnet ratatui serde serde_json \
         signal_hook terminal_size time tokio toml",
    ),
    row(
        "tests",
        All,
        "",
        "anyhow aya base64 filter_common hickory_resolver ipnet mxdp nix pnet_datalink rcgen \
         ring rustls serde_json socket2 tempfile ureq",
    ),
    row("xtask", All, "", "anyhow clap proc_macro2 quote serde_json syn"),
];
