//! What IPv4 and IPv6 prefixes have in common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A prefix of one family. The order is by address, then by length, so that a
/// prefix comes right before those inside it.
pub(super) trait Prefix: Copy + Ord {
    /// The addresses of the family.
    type Address: Copy;

    /// The bits of an address.
    const BITS: u8;

    /// The prefix of `length` bits around `address`, its host bits masked.
    fn around(address: Self::Address, length: u8) -> Option<Self>;

    /// Its first address.
    fn first(self) -> Self::Address;

    /// The length in bits.
    fn length(self) -> u8;

    /// Whether `other` is the same or lies inside.
    fn holds(self, other: Self) -> bool;

    /// The prefix of either family.
    fn any(self) -> IpNet;
}

macro_rules! prefix {
    ($net:ty, $address:ty, $bits:literal) => {
        impl Prefix for $net {
            type Address = $address;
            const BITS: u8 = $bits;

            fn around(address: $address, length: u8) -> Option<Self> {
                Self::new(address, length).ok().map(|net| net.trunc())
            }

            fn first(self) -> $address {
                self.network()
            }

            fn length(self) -> u8 {
                self.prefix_len()
            }

            fn holds(self, other: Self) -> bool {
                self.contains(&other)
            }

            fn any(self) -> IpNet {
                self.into()
            }
        }
    };
}

prefix!(Ipv4Net, Ipv4Addr, 32);
prefix!(Ipv6Net, Ipv6Addr, 128);

/// A prefix with its host bits masked; one inside `::ffff:0:0/96` is the IPv4
/// prefix that it maps (RFC 4291 section 2.5.5.2).
#[must_use]
pub fn normalise(net: IpNet) -> IpNet {
    let net = net.trunc();
    let IpNet::V6(v6) = net else {
        return net;
    };
    let mapped = v6.prefix_len().checked_sub(96).zip(v6.network().to_ipv4_mapped());
    mapped.and_then(|(length, address)| Ipv4Net::new(address, length).ok()).map_or(net, IpNet::V4)
}

/// The address, or the IPv4 address that it maps.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Finds the most specific of sorted prefixes around an address.
///
/// Only the lengths that occur are tried: a binary search for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths(Vec<u8>);

impl Lengths {
    /// The lengths of some prefixes.
    pub(super) fn of<P: Prefix>(prefixes: impl Iterator<Item = P>) -> Self {
        let mut seen = [false; 129];
        for prefix in prefixes {
            seen[usize::from(prefix.length())] = true;
        }
        Self((0..=P::BITS).rev().filter(|length| seen[usize::from(*length)]).collect())
    }

    /// The prefixes of these lengths that hold all of a prefix, the longest first.
    pub(super) fn around<P: Prefix>(&self, net: P) -> impl Iterator<Item = P> {
        let lengths = self.0.iter().filter(move |length| **length <= net.length());
        lengths.filter_map(move |length| P::around(net.first(), *length))
    }

    /// The index of the first of the most specific entries around `address`, in
    /// `entries` that are sorted by `key`.
    pub(super) fn find<P: Prefix, E>(
        &self,
        entries: &[E],
        key: impl Fn(&E) -> P,
        address: P::Address,
    ) -> Option<usize> {
        self.0.iter().find_map(|length| {
            let wanted = P::around(address, *length)?;
            let index = entries.partition_point(|entry| key(entry) < wanted);
            entries.get(index).is_some_and(|entry| key(entry) == wanted).then_some(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_prefixes_are_folded_and_host_bits_masked() {
        for (text, expected) in [
            ("123.123.123.123/24", "123.123.123.0/24"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("::ffff:c000:207/128", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("2001:db8::1/32", "2001:db8::/32"),
        ] {
            let net: IpNet = text.parse().expect("a prefix");
            assert_eq!(normalise(net).to_string(), expected, "{text}");
        }
    }
}
