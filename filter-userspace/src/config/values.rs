//! What many keys are: paths, sockets, networks, domains, and durations of a day at most.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::section::key::Key;
use super::section::{At, Section, Unit, clean, code};
use crate::lists::normalise;
use crate::smtp::address::Domain;

/// A domain, or all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainName {
    /// The domain.
    pub domain: Domain,
    /// Whether the domains below it are meant, and not itself.
    pub below: bool,
}

/// A duration from a second to a day.
pub(super) fn read_seconds(section: &Section<'_>, key: Key, default: u64) -> Duration {
    section.duration(key, Unit::Seconds, 1..=86_400, default)
}

/// A string that must be there; empty where it is not, with an error.
pub(super) fn read_required(section: &Section<'_>, key: Key) -> String {
    section.describe(key, "", "required");
    if !section.has(key) {
        section.missing(key, "is missing");
    }
    let text = section.string(key).map_or("", |text| text.value);
    if text.is_empty() && section.is_text(key) {
        section.wrong(key, "must not be empty");
    }
    text.to_owned()
}

pub(super) fn read_path(section: &Section<'_>, key: Key, folder: &Path) -> Option<PathBuf> {
    section.describe(key, "path", "");
    section.string(key).map(|text| folder.join(text.value))
}

pub(super) fn read_paths(section: &Section<'_>, key: Key, folder: &Path) -> Vec<PathBuf> {
    section.describe(key, "array of paths", "");
    section.strings(key).iter().map(|text| folder.join(text.value)).collect()
}

pub(super) fn read_sockets(section: &Section<'_>, key: Key) -> Vec<SocketAddr> {
    section.describe(key, "array of address:port", "");
    let parse = |text: &At<&str>| {
        let socket = text.value.parse().ok().filter(|socket: &SocketAddr| socket.port() != 0);
        if socket.is_none() {
            let message =
                format!("`{}` is not an address and port, such as 0.0.0.0:25", clean(text.value));
            section.error(&text.span, key, message);
        }
        socket
    };
    section.strings(key).iter().filter_map(parse).collect()
}

pub(super) fn read_networks(section: &Section<'_>, key: Key) -> Vec<IpNet> {
    section.describe(key, "array of addresses and CIDRs", "");
    let parse = |text: &At<&str>| {
        let address = || text.value.parse::<IpAddr>().map(IpNet::from).ok();
        let network = text.value.parse::<IpNet>().ok().or_else(address);
        if network.is_none() {
            let message = format!(
                "`{}` is not an address or network, such as 192.0.2.7 or 192.0.2.0/24",
                clean(text.value)
            );
            section.error(&text.span, key, message);
        }
        network.map(normalise)
    };
    section.strings(key).iter().filter_map(parse).collect()
}

pub(super) fn read_domain_names(section: &Section<'_>, key: Key) -> Vec<DomainName> {
    section.describe(key, "array of domains", "");
    let parse = |text: &At<&str>| {
        let below = text.value.strip_prefix("*.");
        let domain = Domain::parse(below.unwrap_or(text.value)).ok();
        if domain.is_none() {
            section.error(&text.span, key, not_a_domain(text.value));
        }
        domain.map(|domain| DomainName { domain, below: below.is_some() })
    };
    section.strings(key).iter().filter_map(parse).collect()
}

pub(super) fn not_a_domain(text: &str) -> String {
    format!("`{}` is not a domain name, such as example.org or *.example.org", clean(text))
}

pub(super) fn read_absolute(
    section: &Section<'_>,
    key: Key,
    default: impl Into<PathBuf>,
) -> PathBuf {
    let default = default.into();
    section.describe(key, "absolute path", &code(default.display()));
    let Some(text) = section.string(key) else {
        return default;
    };
    if text.value.is_empty() {
        section.error(&text.span, key, "must not be empty");
    } else if !text.value.starts_with('/') {
        let message = format!("`{}` is not an absolute path", clean(text.value));
        section.error(&text.span, key, message);
    }
    text.value.into()
}

pub(super) fn find_duplicates<T: PartialEq + std::fmt::Display>(
    section: &Section<'_>,
    key: Key,
    values: &[At<T>],
) {
    for (index, value) in values.iter().enumerate() {
        if values[..index].iter().any(|earlier| earlier.value == value.value) {
            let named = clean(&value.value.to_string());
            section.error(&value.span, key, format!("{named} is named twice"));
        }
    }
}
