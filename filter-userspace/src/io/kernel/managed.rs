//! Managed entries in the kernel's tries: changed one by one, each with its end, so that the cost
//! of a change does not depend on their number, and none outlasts its time without a daemon.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData, MapError};
use filter_common::abi::{Managed, maps};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::object::take;
use super::pod::ManagedPod;

/// The tries of both families, and what is in them. One writer: the daemon.
pub(super) struct ManagedTables {
    v4: LpmTrie<MapData, [u8; 4], ManagedPod>,
    v6: LpmTrie<MapData, [u8; 16], ManagedPod>,
    known: HashMap<IpNet, Managed>,
    /// The number of IPv4 entries.
    count_v4: usize,
}

impl ManagedTables {
    /// Takes the tries of a loaded object, with the entries of a former daemon.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let v4: LpmTrie<_, [u8; 4], ManagedPod> = take(ebpf, maps::MANAGED_V4)?.try_into()?;
        let v6: LpmTrie<_, [u8; 16], ManagedPod> = take(ebpf, maps::MANAGED_V6)?.try_into()?;
        let mut known = HashMap::new();
        for item in v4.iter() {
            let (key, entry) = item.context("the trie of managed entries")?;
            let net = Ipv4Net::new(key.data().into(), u8::try_from(key.prefix_len())?)?;
            known.insert(IpNet::V4(net), entry.0);
        }
        let count_v4 = known.len();
        for item in v6.iter() {
            let (key, entry) = item.context("the trie of managed entries")?;
            let net = Ipv6Net::new(key.data().into(), u8::try_from(key.prefix_len())?)?;
            known.insert(IpNet::V6(net), entry.0);
        }
        Ok(Self { v4, v6, known, count_v4 })
    }

    /// Whether there are entries of IPv4 and of IPv6.
    pub(super) fn families(&self) -> (bool, bool) {
        (self.count_v4 > 0, self.known.len() > self.count_v4)
    }

    /// Sets prefixes to their present entries, or removes them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; the prefixes before it are changed.
    pub(super) fn change(&mut self, changes: &[(IpNet, Option<Managed>)]) -> Result<()> {
        for (net, entry) in changes {
            if self.known.get(net) == entry.as_ref() {
                continue;
            }
            match entry {
                Some(entry) => {
                    self.set(*net, *entry)
                        .with_context(|| format!("{net}: the kernel refused it"))?;
                    let is_new = self.known.insert(*net, *entry).is_none();
                    self.count_v4 += usize::from(is_new && matches!(net, IpNet::V4(_)));
                }
                None => {
                    self.clear(*net).with_context(|| format!("{net}: the kernel keeps it"))?;
                    self.known.remove(net);
                    self.count_v4 -= usize::from(matches!(net, IpNet::V4(_)));
                }
            }
        }
        Ok(())
    }

    /// The prefixes in the tries that are not among these.
    pub(super) fn besides(&self, wanted: &HashMap<IpNet, Managed>) -> Vec<IpNet> {
        self.known.keys().filter(|net| !wanted.contains_key(*net)).copied().collect()
    }

    fn set(&mut self, net: IpNet, entry: Managed) -> Result<(), MapError> {
        match net {
            IpNet::V4(net) => self.v4.insert(&key_v4(net), ManagedPod(entry), 0),
            IpNet::V6(net) => self.v6.insert(&key_v6(net), ManagedPod(entry), 0),
        }
    }

    fn clear(&mut self, net: IpNet) -> Result<(), MapError> {
        let cleared = match net {
            IpNet::V4(net) => self.v4.remove(&key_v4(net)),
            IpNet::V6(net) => self.v6.remove(&key_v6(net)),
        };
        match cleared {
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            cleared => cleared,
        }
    }
}

fn key_v4(net: Ipv4Net) -> Key<[u8; 4]> {
    Key::new(net.prefix_len().into(), net.network().octets())
}

fn key_v6(net: Ipv6Net) -> Key<[u8; 16]> {
    Key::new(net.prefix_len().into(), net.network().octets())
}
