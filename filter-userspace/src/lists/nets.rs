//! The addresses that a line names, and how addresses, prefixes and netmasks are read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::bad_lines::Why;
use super::invisible::invisible;
use super::prefix::normalise;
use super::protected::is_too_short;

/// The addresses of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nets {
    /// One prefix, normalised.
    One(IpNet),
    /// All addresses from the first to the last, of one family.
    Range(IpAddr, IpAddr),
}

impl Nets {
    /// The fewest prefixes that hold these addresses and no others: at most 62 of IPv4,
    /// 254 of IPv6.
    pub(super) fn prefixes(self) -> IpSubnets {
        match self {
            Self::One(IpNet::V4(net)) => {
                IpSubnets::V4(Ipv4Subnets::new(net.network(), net.broadcast(), net.prefix_len()))
            }
            Self::One(IpNet::V6(net)) => {
                IpSubnets::V6(Ipv6Subnets::new(net.network(), net.broadcast(), net.prefix_len()))
            }
            Self::Range(IpAddr::V4(first), IpAddr::V4(last)) => {
                IpSubnets::V4(Ipv4Subnets::new(first, last, 0))
            }
            Self::Range(first, last) => {
                IpSubnets::V6(Ipv6Subnets::new(to_v6(first), to_v6(last), 0))
            }
        }
    }

    /// Whether it is larger than the shortest prefix that may be blocked without force:
    /// an IPv4 /8, an IPv6 /16.
    pub(super) fn is_wide(self) -> bool {
        match self {
            Self::One(net) => is_too_short(net),
            Self::Range(IpAddr::V4(first), IpAddr::V4(last)) => {
                last.to_bits().saturating_sub(first.to_bits()) >= 1 << 24
            }
            Self::Range(first, last) => {
                to_v6(last).to_bits().saturating_sub(to_v6(first).to_bits()) >= 1 << 112
            }
        }
    }
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

const WRONG_LENGTH: Why = "the prefix length is too large for the address";

/// A prefix of an address, normalised.
pub(super) fn net_of(address: IpAddr, length: u8) -> Result<IpNet, Why> {
    IpNet::new(address, length).map(normalise).map_err(|_| WRONG_LENGTH)
}

/// An address or a prefix; host bits are masked, IPv4-mapped ones become IPv4.
pub(super) fn parse_net(field: &[u8]) -> Result<IpNet, Why> {
    read_net(field).map_err(|why| str::from_utf8(field).ok().and_then(invisible).unwrap_or(why))
}

fn read_net(field: &[u8]) -> Result<IpNet, Why> {
    let Some(slash) = field.iter().position(|byte| *byte == b'/') else {
        let address = parse_address(field)?;
        return net_of(address, if address.is_ipv4() { 32 } else { 128 });
    };
    let (address, length) = (&field[..slash], &field[slash + 1..]);
    let length = match parse_mask(length) {
        Some(length) => length,
        None => parse_length(length)?,
    };
    let address = parse_address(address)?;
    net_of(address, length)
}

/// An address.
pub(super) fn parse_address(text: &[u8]) -> Result<IpAddr, Why> {
    if text.contains(&b':') {
        let parsed = str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        return parsed.map(IpAddr::V6).ok_or("is not an IPv6 address");
    }
    parse_v4(text).map(IpAddr::V4).ok_or("is not an IPv4 or IPv6 address or CIDR")
}

/// Dotted decimal of four numbers without leading zeros (RFC 6943 section 3.1.1:
/// other readings of them differ between programs).
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut fields = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        *octet = parse_number(fields.next()?)?;
    }
    fields.next().is_none().then(|| octets.into())
}

/// The length of a netmask: ones, then zeros.
pub(super) fn parse_mask(text: &[u8]) -> Option<u8> {
    ipnet::ip_mask_to_prefix(IpAddr::V4(parse_v4(text)?)).ok()
}

/// The length of a prefix.
pub(super) fn parse_length(text: &[u8]) -> Result<u8, Why> {
    parse_number(text).ok_or("the prefix length is not a number")
}

/// A decimal number up to 255, without sign or leading zero.
pub(super) fn parse_number(digits: &[u8]) -> Option<u8> {
    if !(1..=3).contains(&digits.len()) || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    digits.iter().try_fold(0_u8, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
