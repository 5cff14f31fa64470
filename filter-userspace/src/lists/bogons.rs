//! Addresses that no mail from the Internet comes from, by the IANA registries of
//! special-purpose addresses (RFC 6890), and multicast.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// "This network", private use, shared, loopback, link-local, protocol assignments,
/// documentation, benchmarking, and all from multicast on.
const V4: [([u8; 4], u8); 13] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

/// Unspecified, loopback and what is reserved beside them; discard-only, documentation,
/// unique local, link-local, site-local (as it once was), multicast.
const V6: [([u16; 8], u8); 8] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 96),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// The IPv4 networks.
pub(super) fn v4() -> impl Iterator<Item = Ipv4Net> {
    V4.iter().filter_map(|(address, length)| Ipv4Net::new(Ipv4Addr::from(*address), *length).ok())
}

/// The IPv6 networks.
pub(super) fn v6() -> impl Iterator<Item = Ipv6Net> {
    V6.iter().filter_map(|(address, length)| Ipv6Net::new(Ipv6Addr::from(*address), *length).ok())
}

/// Whether no address of the network can send mail over the Internet.
pub(super) fn is_bogon(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => v4().any(|bogon| bogon.contains(&net)),
        IpNet::V6(net) => v6().any(|bogon| bogon.contains(&net)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_are_wholly_bogons_are_known() {
        let is = |text: &str| is_bogon(text.parse().expect("a prefix"));
        for bogon in [
            "0.0.0.0/8",
            "10.1.0.0/16",
            "127.0.0.1/32",
            "192.168.0.0/16",
            "198.19.0.0/16",
            "224.0.0.0/3",
            "240.0.0.0/4",
            "::1/128",
            "2001:db8::/48",
            "fc00::/7",
            "fe80::/64",
        ] {
            assert!(is(bogon), "{bogon}");
        }
        for routed in
            ["0.0.0.0/7", "11.0.0.0/8", "172.0.0.0/8", "192.0.0.0/16", "2001::/16", "2a00::/12"]
        {
            assert!(!is(routed), "{routed}");
        }
    }
}
