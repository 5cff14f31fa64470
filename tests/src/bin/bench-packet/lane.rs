//! A way into a contender: a veth pair from the generator to a host of its own.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers;

/// A host with one device, and the generator's end of it.
pub(crate) struct Lane {
    /// The contender's host.
    pub(crate) host: Namespace,
    /// The index of the generator's end.
    pub(crate) index: u32,
}

impl Lane {
    /// The host's device.
    pub(crate) const DEVICE: &'static str = "e0";

    /// A new host beside the generator's.
    pub(crate) fn new(home: &Namespace) -> Result<Self> {
        let host = Namespace::new("mxb");
        // Nothing but the load comes in: the generator's end speaks no IPv6, and
        // the host's has no address that it would announce.
        home.run(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))?;
        let near = host.name();
        home.ip(&format!(
            "link add {near} numtxqueues 1 numrxqueues 1 type veth \
             peer name {far} numtxqueues 1 numrxqueues 1 netns {near}",
            far = Self::DEVICE
        ));
        let far = Self::DEVICE;
        host.ip(&format!("link set {far} address 02:00:00:00:00:01 addrgenmode none"));
        host.ip(&format!("link set {far} arp off up"));
        home.ip(&format!("link set {near} arp off up"));
        let index = home.run(|| nix::net::if_::if_nametoindex(near)).context("the device")?;
        Ok(Self { host, index })
    }

    /// The same for a host without an XDP program: its device takes frames in by
    /// NAPI all the same, else none could be sent into it.
    pub(crate) fn with_napi(home: &Namespace) -> Result<Self> {
        let lane = Self::new(home)?;
        let mut command = lane.host.command(peers::find("ethtool"));
        command.args(["-K", Self::DEVICE, "gro", "on"]).envs(peers::environment());
        let output = command.output().context("ethtool")?;
        ensure!(output.status.success(), "ethtool: {}", String::from_utf8_lossy(&output.stderr));
        Ok(lane)
    }

    /// The frames that the host's device took in.
    pub(crate) fn received(&self) -> Result<u64> {
        let text = self.host.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix(Self::DEVICE));
        let packets = line.and_then(|line| line.split_whitespace().nth(2));
        Ok(packets.context("no line of the device")?.parse()?)
    }
}
