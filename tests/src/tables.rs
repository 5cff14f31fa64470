//! Lists as a person writes them down, an evaluator that knows no trick, and every
//! way to look an address up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::{Class, ClassSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mxdp::config::Engine;
use mxdp::lists::{CountryPolicy, ListSet, LoadedFile, ParsedList, Table, compile};

/// Listed prefixes, each with the class of its list.
#[derive(Clone, Debug, Default)]
pub struct Lists(pub Vec<(Class, IpNet)>);

impl Lists {
    /// Lists made from any bytes, ten for a prefix. Their addresses are drawn from few
    /// digits, so that they nest, meet and coincide at all lengths.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.as_chunks().0.iter().map(prefix).collect())
    }

    /// The classes of an address, list by list and entry by entry.
    #[must_use]
    pub fn classes(&self, address: IpAddr) -> ClassSet {
        let named = self.0.iter().filter(|(_, net)| net.contains(&address));
        named.fold(ClassSet::EMPTY, |classes, (class, _)| classes.with(*class))
    }

    /// The table that is compiled from them.
    #[must_use]
    pub fn table(&self) -> Table {
        compile(&self.set()).table
    }

    /// A list file for each class.
    #[must_use]
    pub fn set(&self) -> ListSet {
        let classes = [Class::ApprovedIp, Class::BlockedIp, Class::KnownSpamSource];
        let files = classes.into_iter().map(|class| {
            let nets = self.0.iter().filter(|(of, _)| *of == class);
            let list = ParsedList::from_entries(nets.map(|(_, net)| (*net, 1, "")));
            LoadedFile { name: class.name().to_owned(), class, list }
        });
        ListSet::new(files.collect(), None, CountryPolicy::default())
    }

    /// The first and the last address of every prefix, and those beside them.
    pub fn boundaries(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().flat_map(|(_, net)| boundaries(*net))
    }
}

/// The first and the last address of a prefix, and those beside them.
#[must_use]
pub fn boundaries(net: IpNet) -> [IpAddr; 4] {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|address| IpAddr::V4(address.into()))
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            // The mapped addresses are IPv4's, and in no IPv6 list.
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|address| IpAddr::V6(address.into()).to_canonical())
        }
    }
}

/// A prefix of ten bytes.
fn prefix(bytes: &[u8; 10]) -> (Class, IpNet) {
    let [class, length, rest @ ..] = *bytes;
    let is_v4 = class & 0x80 == 0;
    let class = match class % 3 {
        0 => Class::ApprovedIp,
        1 => Class::BlockedIp,
        _ => Class::KnownSpamSource,
    };
    let net = if is_v4 {
        let [a, b, c, d, ..] = rest;
        // Most are in a handful of /18, where slots meet.
        let octets = [a % 2, [0, 1, 255, b][usize::from(b % 4)], c, d];
        let length = if length < 8 { length } else { 12 + length % 21 };
        Ipv4Net::new(Ipv4Addr::from(octets), length).map(IpNet::from)
    } else {
        let digits = rest.map(|byte| match byte % 8 {
            0 | 1 => 0,
            2 | 3 => 1,
            4 => 0x8000,
            5 => 0xffff,
            _ => u16::from(byte) << (byte / 8 % 9),
        });
        // ::ffff:0:0/96 would be IPv4.
        let address = Ipv6Addr::from([
            digits[0] | 0x2000,
            digits[1],
            digits[2],
            digits[3],
            digits[4],
            digits[5],
            digits[6],
            digits[7],
        ]);
        let length = if length < 8 { length } else { 8 + length % 121 };
        Ipv6Net::new(address, length).map(IpNet::from)
    };
    (class, net.map_or_else(|_| Ipv4Net::default().into(), |net| net.trunc()))
}

/// The engines that can be selected, by name.
pub const ENGINES: [(&str, Engine); 2] = [("trie", Engine::Trie), ("ranges", Engine::Ranges)];

/// The engine that the tests of the packet filter are to use: `MXDP_TEST_ENGINE`,
/// by which `cargo xtask test` forces either, or `auto`.
///
/// # Panics
///
/// When the variable names none.
#[must_use]
pub fn engine() -> (String, Engine) {
    let Ok(wanted) = std::env::var("MXDP_TEST_ENGINE") else {
        return ("auto".to_owned(), Engine::Auto);
    };
    let known = ENGINES.iter().find(|(name, _)| *name == wanted);
    (wanted.clone(), known.unwrap_or_else(|| panic!("MXDP_TEST_ENGINE={wanted}")).1)
}
