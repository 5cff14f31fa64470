//! What counts as one client.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A client network: an IPv4 address, or the /64 of an IPv6 address, the smallest network that
/// one party is given (RFC 6177). Counts, shares and temporary blocks are by client
/// network, since whoever has one address of a /64 has all of them.
///
/// An IPv4-mapped IPv6 address is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The length of a client network's prefix in IPv6.
    pub const LENGTH_V6: u8 = 64;

    /// The client network of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => first(address, Self::LENGTH_V6).into(),
        })
    }

    /// Its first address: what files and entries of the mail log name it by.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        self.0
    }

    /// Its prefix: an IPv4 /32 or an IPv6 /64.
    #[must_use]
    pub fn prefix(self) -> IpNet {
        match self.0 {
            IpAddr::V4(address) => Ipv4Net::from(address).into(),
            IpAddr::V6(address) => Ipv6Net::new_assert(address, Self::LENGTH_V6).into(),
        }
    }

    /// The /48 that an IPv6 client network is in, which is what one customer of a provider is
    /// given (RFC 6177 section 2), by its first address. IPv4 has none.
    #[must_use]
    pub fn site(self) -> Option<Ipv6Addr> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(first(address, 48)),
        }
    }
}

/// The first address of a prefix.
const fn first(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - length as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_64() {
        let of = |text: &str| ClientNetwork::of(text.parse().expect("an address"));
        for (address, first, prefix, site) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7/32", None),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7/32", None),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1:2::/64", Some("2001:db8:1::")),
            ("::1", "::", "::/64", Some("::")),
        ] {
            let network = of(address);
            assert_eq!(network.first().to_string(), first);
            assert_eq!(network.prefix().to_string(), prefix);
            assert_eq!(network.site().map(|site| site.to_string()).as_deref(), site);
        }
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
