//! What a check examines on the host: interfaces, addresses, name servers, modes of files.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::net::if_::if_nametoindex;

use crate::config::{Config, Surroundings};
use crate::io::host;

/// Where the system's name servers are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The longest of it that is read, in bytes.
const RESOLV_CONF_LIMIT: usize = 64 * 1024;

/// What matters to a configuration.
pub(super) fn of(config: &Config) -> Surroundings {
    let interfaces = config.filter.interfaces.iter();
    Surroundings {
        missing_interfaces: interfaces
            .filter(|name| if_nametoindex(name.as_str()).is_err())
            .cloned()
            .collect(),
        addresses: host::addresses().unwrap_or_default(),
        resolvers: if config.dns.servers.is_empty() {
            system_resolvers()
        } else {
            config.dns.servers.iter().map(|server| server.ip()).collect()
        },
        open_secrets: open_secrets(config),
    }
}

/// The name servers of resolv.conf(5).
pub(super) fn system_resolvers() -> Vec<IpAddr> {
    let text = fs::read(RESOLV_CONF).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(RESOLV_CONF_LIMIT)]).into_owned();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
    });
    servers.collect()
}

/// Files with secrets whose mode lets others than their owner at them; a group may read.
fn open_secrets(config: &Config) -> Vec<(String, PathBuf, u32)> {
    let Some(smtp) = &config.smtp else { return Vec::new() };
    let passwords = smtp
        .directories
        .iter()
        .filter_map(|directory| Some(("ldap.password_file", directory.password_file.as_deref()?)));
    let keys = smtp.zone_keys.iter().map(|key| ("reputation.zones.key_file", key.file.as_path()));
    let open = |(key, path): (&str, &Path)| {
        let mode = fs::metadata(path).ok()?.permissions().mode();
        // Others may do nothing, and a group may not write.
        (mode & 0o027 != 0).then(|| (key.to_owned(), path.to_owned(), mode))
    };
    passwords.chain(keys).filter_map(open).collect()
}
