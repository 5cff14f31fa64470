//! PROXY headers towards backends. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ppp::v2;

/// Version 1: plain text, which every implementation reads.
pub(in super::super) fn version_1(source: SocketAddr, target: SocketAddr) -> Vec<u8> {
    let (source, target) = one_family(source, target);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.port(), target.port());
    format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), target.ip()).into_bytes()
}

/// Version 2; without addresses, for a connection of our own.
pub(in super::super) fn version_2(addresses: Option<(SocketAddr, SocketAddr)>) -> Option<Vec<u8>> {
    let Some((source, target)) = addresses else {
        let command = v2::Version::Two | v2::Command::Local;
        let none = v2::Addresses::Unspecified;
        return v2::Builder::with_addresses(command, v2::Protocol::Unspecified, none).build().ok();
    };
    let addresses = one_family(source, target);
    let command = v2::Version::Two | v2::Command::Proxy;
    v2::Builder::with_addresses(command, v2::Protocol::Stream, addresses).build().ok()
}

/// Both addresses as IPv4 if both are, otherwise as IPv6.
fn one_family(source: SocketAddr, target: SocketAddr) -> (SocketAddr, SocketAddr) {
    let ips = match (source.ip().to_canonical(), target.ip().to_canonical()) {
        ips @ (IpAddr::V4(_), IpAddr::V4(_)) => ips,
        (source, target) => (IpAddr::V6(mapped(source)), IpAddr::V6(mapped(target))),
    };
    (SocketAddr::new(ips.0, source.port()), SocketAddr::new(ips.1, target.port()))
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Begins, parse};
    use super::*;

    /// A written header is parsed back to the same addresses.
    #[test]
    fn both_versions_say_the_same() {
        for (source, target, read) in [
            ("192.0.2.1:40000", "192.0.2.25:25", "192.0.2.1:40000"),
            ("[2001:db8::1]:40000", "[2001:db8::25]:25", "[2001:db8::1]:40000"),
            ("[::ffff:192.0.2.1]:40000", "192.0.2.25:25", "192.0.2.1:40000"),
            ("192.0.2.1:40000", "[2001:db8::25]:25", "[::ffff:192.0.2.1]:40000"),
        ] {
            let (source, target) = (source.parse().unwrap(), target.parse().unwrap());
            let read = Some(read.parse().unwrap());
            let [one, two] =
                [version_1(source, target), version_2(Some((source, target))).unwrap()];
            for header in [one, two] {
                let length = header.len();
                assert_eq!(parse(&header).unwrap(), Begins::Header { length, source: read });
            }
        }
        let local = version_2(None).unwrap();
        let length = local.len();
        assert_eq!(parse(&local).unwrap(), Begins::Header { length, source: None });
        let header = version_1("192.0.2.1:1".parse().unwrap(), "192.0.2.2:25".parse().unwrap());
        assert_eq!(header, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n");
    }
}
