//! What is listed: tables of a given size or a file's, and addresses in and
//! beside them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::{Class, Family};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mxdp::lists::{
    CountryPolicy, ListSet, LoadedFile, OnBadLine, ParseOptions, ParsedList, Purpose, Table,
    UnknownCountry, compile, parse,
};
use mxdp_tests::random::SplitMix;

/// A list of one family, and what the contenders are filled with.
pub(crate) struct Lists {
    pub(crate) family: Family,
    /// mxdp's table. An address that is not listed is blocked as well, as one
    /// without a country, so that each SYN is dropped after a whole look-up.
    pub(crate) table: Table,
    /// The listed prefixes, sorted; none is in another.
    pub(crate) listed: Vec<IpNet>,
}

/// Above this a table grows by single hosts, as block lists do: there are not many
/// more networks on the internet.
const NETWORKS: usize = 1_000_000;

impl Lists {
    /// About `size` prefixes with the lengths of a routing table and of a block
    /// list. What falls into another prefix is left out.
    pub(crate) fn synthetic(family: Family, size: usize) -> Self {
        let mut random = SplitMix::new(0x6d78_6470);
        let prefixes: Vec<IpNet> = if family == Family::V6 {
            let networks = v6_networks(&mut random, size);
            (0..size).map(|index| v6(&mut random, &networks, index).into()).collect()
        } else {
            (0..size).map(|index| v4(&mut random, index).into()).collect()
        };
        let entries = (1..).zip(&prefixes).map(|(line, net)| (*net, line, ""));
        Self::of(family, ParsedList::from_entries(entries))
    }

    /// The prefixes of a file, a line each, which may be compressed by gzip.
    pub(crate) fn read(family: Family, path: &Path) -> Result<Self> {
        let text = if path.extension().is_some_and(|end| end == "gz") {
            let output = Command::new("gzip").arg("-dc").arg(path).output().context("gzip")?;
            ensure!(output.status.success(), "{}: gzip failed", path.display());
            output.stdout
        } else {
            fs::read(path).with_context(|| path.display().to_string())?
        };
        let options = ParseOptions {
            on_bad_line: OnBadLine::Skip,
            purpose: Purpose::Block { force: false },
            leave_out_bogons: false,
            max_entries: usize::MAX,
        };
        let list = parse(&text, &options)
            .map_err(|error| anyhow::anyhow!(error.display(&path.display().to_string())))?;
        Ok(Self::of(family, list))
    }

    fn of(family: Family, list: ParsedList) -> Self {
        let file = LoadedFile { name: "list".to_owned(), class: Class::BlockedIp, list };
        let policy = CountryPolicy { unknown: UnknownCountry::Block, ..CountryPolicy::default() };
        let mut table = compile(&ListSet::new(vec![file], None, policy)).table;
        // Private and reserved addresses never have a country, so they are of no unknown one;
        // here they are to be dropped as all others are.
        let v4 = table.v4.iter_mut().map(|(_, classes)| classes);
        for classes in v4.chain(table.v6.iter_mut().map(|(_, classes)| classes)) {
            *classes = classes.with(Class::BlockedCountry);
        }
        let listed = if family == Family::V6 {
            table.v4.clear();
            let listed = table.v6.iter().filter(|(_, classes)| classes.contains(Class::BlockedIp));
            listed.map(|(net, _)| IpNet::V6(*net)).collect()
        } else {
            table.v6.clear();
            let listed = table.v4.iter().filter(|(_, classes)| classes.contains(Class::BlockedIp));
            listed.map(|(net, _)| IpNet::V4(*net)).collect()
        };
        Self { family, table, listed }
    }

    /// `count` addresses in listed prefixes, each of which is as likely.
    pub(crate) fn inside(&self, random: &mut SplitMix, count: usize) -> Vec<IpAddr> {
        let one = |_| {
            let net = self.pick(random);
            within(random, net)
        };
        (0..count).map(one).collect()
    }

    /// `count` addresses beside listed prefixes: in their /16, or /32 of IPv6, and
    /// not listed.
    pub(crate) fn beside(&self, random: &mut SplitMix, count: usize) -> Result<Vec<IpAddr>> {
        let around = if self.family == Family::V6 { 32 } else { 16 };
        let mut found = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(1000) {
            if found.len() == count {
                return Ok(found);
            }
            let near = self.pick(random);
            let around = IpNet::new(near.network(), around.min(near.prefix_len()))?.trunc();
            let address = within(random, around);
            if !self.is_listed(address) {
                found.push(address);
            }
        }
        bail!("hardly an address beside the lists is not listed")
    }

    fn pick(&self, random: &mut SplitMix) -> IpNet {
        self.listed[index(random, self.listed.len())]
    }

    fn is_listed(&self, address: IpAddr) -> bool {
        let after = self.listed.partition_point(|net| net.network() <= address);
        after > 0 && self.listed[after - 1].contains(&address)
    }
}

fn within(random: &mut SplitMix, net: IpNet) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let host = !u32::from(net.netmask());
            IpAddr::V4((u32::from(net.network()) | low_32(random) & host).into())
        }
        IpNet::V6(net) => {
            let host = !u128::from(net.netmask());
            IpAddr::V6((u128::from(net.network()) | random.wide() & host).into())
        }
    }
}

fn index(random: &mut SplitMix, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).unwrap_or_default()
}

fn low_32(random: &mut SplitMix) -> u32 {
    u32::try_from(random.next() >> 32).unwrap_or_default()
}

fn v4(random: &mut SplitMix, index: usize) -> Ipv4Net {
    let length = match random.below(100) {
        _ if index >= NETWORKS => 32,
        0..55 => 24,
        55..90 => 32,
        90..98 => 22 + u8::from(random.below(2) == 1),
        _ => 20 + u8::from(random.below(2) == 1),
    };
    let [a, b, c, d] = low_32(random).to_be_bytes();
    Ipv4Net::new_assert(Ipv4Addr::new(a % 223 + 1, b, c, d), length).trunc()
}

/// The allocations that the prefixes are in: as on the internet, few of the
/// addresses that there are.
fn v6_networks(random: &mut SplitMix, size: usize) -> Vec<Ipv6Net> {
    const BLOCKS: [(u16, u8); 5] =
        [(0x2001, 16), (0x2400, 12), (0x2600, 12), (0x2a00, 12), (0x2804, 16)];
    let count = (size / 30).clamp(300, 40_000);
    let network = |_| {
        let (high, bits) = BLOCKS[index(random, BLOCKS.len())];
        let within = random.wide() & (u128::MAX >> bits);
        let length = if random.below(4) == 0 { 29 } else { 32 };
        let address = u128::from(high) << 112 | within;
        Ipv6Net::new_assert(address.into(), length).trunc()
    };
    (0..count).map(network).collect()
}

fn v6(random: &mut SplitMix, networks: &[Ipv6Net], index_of_prefix: usize) -> Ipv6Net {
    // Some allocations are listed whole; the others have longer prefixes in them.
    let whole = networks.len() / 20;
    let length = match random.below(100) {
        0 => return networks[index(random, whole)],
        _ if index_of_prefix >= NETWORKS => 64 + u8::from(random.below(2) == 1) * 64,
        1..3 => 36,
        3..11 => 40,
        11..21 => 44,
        21..80 => 48,
        80..88 => 56,
        88..95 => 64,
        _ => 128,
    };
    let network = networks[whole + index(random, networks.len() - whole)];
    let IpAddr::V6(address) = within(random, network.into()) else {
        return network;
    };
    Ipv6Net::new_assert(Ipv6Addr::from(u128::from(address)), length).trunc()
}
