//! Values of arguments.

use std::net::IpAddr;

use ipnet::IpNet;

/// An argument of `lookup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Address {
    /// An address on the command line.
    Ip(IpAddr),
    /// `-`: the addresses on standard input.
    Stdin,
}

pub(super) fn parse_address(text: &str) -> Result<Address, String> {
    match text {
        "-" => Ok(Address::Stdin),
        _ => text
            .parse()
            .map(Address::Ip)
            .map_err(|_| "expected an IPv4 or IPv6 address, or `-` for standard input".to_owned()),
    }
}

pub(super) fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| {
        "expected an address, or a network in CIDR notation such as 192.0.2.0/24".to_owned()
    })
}
