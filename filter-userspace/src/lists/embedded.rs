//! IPv6 addresses that have an IPv4 address in them, by which they are located.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// 6to4 (RFC 3056): `2002:`, and the IPv4 address of the site.
const SIX_TO_FOUR: u128 = 0x2002 << 112;

/// NAT64 (RFC 6052): `64:ff9b::`, and the IPv4 address of the host.
const NAT64: u128 = 0x0064_ff9b << 96;

/// The IPv4 address that a 6to4 or NAT64 address has in it: whose it is, and where.
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low = |bits: u128| u32::try_from(bits & u128::from(u32::MAX)).ok().map(Ipv4Addr::from_bits);
    if bits >> 112 == SIX_TO_FOUR >> 112 {
        low(bits >> 80)
    } else if bits >> 32 == NAT64 >> 32 {
        low(bits)
    } else {
        None
    }
}

/// Whether every address of an IPv6 network has an IPv4 address in it.
pub(super) fn is_around(net: Ipv6Net) -> bool {
    let all = Ipv4Net::default();
    around(all).any(|outer| outer.contains(&net))
}

/// The 6to4 and NAT64 networks of an IPv4 network.
pub(super) fn around(net: Ipv4Net) -> impl Iterator<Item = Ipv6Net> {
    let (bits, length) = (u128::from(net.network().to_bits()), net.prefix_len());
    let nets = [(SIX_TO_FOUR | bits << 80, 16 + length), (NAT64 | bits, 96 + length)];
    nets.into_iter()
        .filter_map(|(bits, length)| Ipv6Net::new(Ipv6Addr::from_bits(bits), length).ok())
}
