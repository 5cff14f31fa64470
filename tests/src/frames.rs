//! Builds Ethernet frames, header by header.

use std::net::{Ipv4Addr, Ipv6Addr};

/// EtherTypes.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const DOT1Q: u16 = 0x8100;
/// EtherType of an 802.1ad tag.
pub const DOT1AD: u16 = 0x88a8;
/// EtherType of a PPPoE session.
pub const PPPOE: u16 = 0x8864;

/// IP protocol numbers and IPv6 extension headers.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// Hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Routing header.
pub const ROUTING: u8 = 43;
/// Fragment header.
pub const FRAGMENT: u8 = 44;
/// Authentication header.
pub const AH: u8 = 51;
/// Destination options.
pub const DESTINATION: u8 = 60;

/// TCP flags.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;
/// ECE.
pub const ECE: u8 = 0x40;
/// CWR.
pub const CWR: u8 = 0x80;

/// An Ethernet header before `payload`.
#[must_use]
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A VLAN tag's last four bytes before `payload`: goes behind an EtherType of
/// [`DOT1Q`] or [`DOT1AD`].
#[must_use]
pub fn vlan(id: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &ether_type.to_be_bytes(), payload].concat()
}

/// A PPPoE session's six octets and PPP's protocol number before `payload`: goes behind an
/// EtherType of [`PPPOE`].
#[must_use]
pub fn pppoe(protocol: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(protocol.len() + payload.len()).expect("a session's length");
    [&[0x11, 0, 0, 1], &length.to_be_bytes()[..], protocol, payload].concat()
}

/// A routing header of a kind and segments left, of 8 times (1 + `units`) bytes.
#[must_use]
pub fn routing(next: u8, kind: u8, left: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = extension(next, units, payload);
    header[2..4].copy_from_slice(&[kind, left]);
    header
}

/// An IPv4 packet's fields that tests vary.
#[derive(Clone, Copy, Debug)]
pub struct V4 {
    /// Source.
    pub source: Ipv4Addr,
    /// Protocol.
    pub protocol: u8,
    /// Words of options, 0 to 10.
    pub options: u8,
    /// Fragment offset in units of 8 bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

impl V4 {
    /// A whole packet with TCP from `source`.
    #[must_use]
    pub fn from(source: &str) -> Self {
        let source = source.parse().expect("an IPv4 address");
        Self { source, protocol: TCP, options: 0, offset: 0, more: false }
    }

    /// The packet around `payload`.
    #[must_use]
    pub fn packet(self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + usize::from(self.options) * 4;
        let total = u16::try_from(header + payload.len()).expect("a packet's length");
        let fragment = self.offset | if self.more { 0x2000 } else { 0 };
        let mut packet = vec![0x45 + self.options, 0];
        packet.extend(total.to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend([203, 0, 113, 25]);
        packet.resize(header, 1);
        packet.extend(payload);
        packet
    }

    /// The Ethernet frame around `payload`.
    #[must_use]
    pub fn frame(self, payload: &[u8]) -> Vec<u8> {
        ethernet(IPV4, &self.packet(payload))
    }
}

/// An IPv6 packet from `source` whose first header is `next`.
#[must_use]
pub fn v6(source: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().expect("an IPv6 address");
    let length = u16::try_from(payload.len()).expect("a payload's length");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(source.octets());
    packet.extend("2001:db8:ffff::25".parse::<Ipv6Addr>().expect("an address").octets());
    packet.extend(payload);
    packet
}

/// The Ethernet frame of [`v6`].
#[must_use]
pub fn v6_frame(source: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV6, &v6(source, next, payload))
}

/// An options or routing header of 8 times (1 + `units`) bytes.
#[must_use]
pub fn extension(next: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![next, units];
    header.resize(8 * (1 + usize::from(units)), 0);
    header.extend(payload);
    header
}

/// An authentication header of 4 times (2 + `units`) bytes.
#[must_use]
pub fn authentication(next: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![next, units];
    header.resize(4 * (2 + usize::from(units)), 0);
    header.extend(payload);
    header
}

/// A fragment header; `offset` in units of 8 bytes.
#[must_use]
pub fn fragment(next: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![next, 0];
    header.extend((offset << 3 | u16::from(more)).to_be_bytes());
    header.extend([0, 0, 0, 1]);
    header.extend(payload);
    header
}

/// A TCP header without options.
#[must_use]
pub fn tcp(port: u16, flags: u8) -> Vec<u8> {
    let mut header = vec![0xc0, 0];
    header.extend(port.to_be_bytes());
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

/// A UDP header.
#[must_use]
pub fn udp(port: u16) -> Vec<u8> {
    let mut header = vec![0xc0, 0];
    header.extend(port.to_be_bytes());
    header.extend([0, 8, 0, 0]);
    header
}
