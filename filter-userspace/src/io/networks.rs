//! The networks that an address belongs to, for counting.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::record;

/// The network that counts as one when slots are scarce: an IPv4 address, or an IPv6 /48, which is
/// what one customer of a provider is given (RFC 6177 section 2).
#[must_use]
pub fn wide(address: IpAddr) -> IpAddr {
    record::site(address)
}

/// Whether one of the networks contains the address.
#[must_use]
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
