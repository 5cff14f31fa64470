//! Finds the initial TCP SYN in an Ethernet frame.
//!
//! The parser reads through [`Frame`], so that the same code runs on kernel
//! packet pointers and on test slices. It believes no length that the frame
//! states: every read is bounded by the reader, and the IP length only ever
//! shortens what may be read.

use crate::limits::{EXTENSION_HEADERS, TCP_HEADER, VLAN_TAGS};
use crate::reason::Reason;

/// Bounded access to the bytes of a frame.
pub trait Frame {
    /// The `N` bytes at `offset` from the start of the Ethernet header, or
    /// `None` where the frame ends before them.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    #[inline]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(N)?;
        self.get(start..end)?.try_into().ok()
    }
}

/// The address family that a frame is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// Neither IPv4 nor IPv6.
    Other = 0,
    /// IPv4, and IPv4-mapped IPv6 addresses.
    V4 = 1,
    /// IPv6.
    V6 = 2,
}

impl Family {
    /// How many families are counted.
    pub const COUNT: usize = 3;

    /// Every family, in the order of the codes.
    pub const ALL: [Self; Self::COUNT] = [Self::Other, Self::V4, Self::V6];

    /// The name used in output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// An address as it stands in the frame, in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address that is not IPv4-mapped.
    V6([u8; 16]),
}

impl Address {
    /// The IPv6 address, or the IPv4 address that it maps: `::ffff:0:0/96` is
    /// judged by the IPv4 lists (RFC 4291, section 2.5.5.2).
    #[must_use]
    #[inline(always)]
    pub const fn from_v6(bytes: [u8; 16]) -> Self {
        let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = bytes else {
            return Self::V6(bytes);
        };
        Self::V4([a, b, c, d])
    }

    /// The family whose lists judge the address.
    #[must_use]
    #[inline(always)]
    pub const fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

/// An initial TCP SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Who sent it.
    pub source: Address,
    /// The host that it is for.
    pub destination: Address,
    /// The TCP port that it is for.
    pub port: u16,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The family of the outer IP header.
    pub family: Family,
    /// The SYN, or why the frame needs no verdict from the lists.
    pub syn: Result<Syn, Reason>,
}

/// Finds the initial SYN in a frame, or the reason why it holds none.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F) -> Parsed {
    let Some((ether_type, offset)) = network_header(frame) else {
        return Parsed {
            family: Family::Other,
            syn: Err(Reason::NotIp),
        };
    };
    match ether_type {
        ETHER_IPV4 => Parsed {
            family: Family::V4,
            syn: parse_v4(frame, offset),
        },
        ETHER_IPV6 => Parsed {
            family: Family::V6,
            syn: parse_v6(frame, offset),
        },
        _ => Parsed {
            family: Family::Other,
            syn: Err(Reason::NotIp),
        },
    }
}

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_8021Q: u16 = 0x8100;
const ETHER_8021AD: u16 = 0x88a8;

const PROTOCOL_TCP: u8 = 6;

const EXTENSION_HOP_BY_HOP: u8 = 0;
const EXTENSION_ROUTING: u8 = 43;
const EXTENSION_FRAGMENT: u8 = 44;
const EXTENSION_AUTHENTICATION: u8 = 51;
const EXTENSION_DESTINATION: u8 = 60;

const FLAG_SYN: u8 = 0x02;
const FLAG_RST: u8 = 0x04;
const FLAG_ACK: u8 = 0x10;

/// The EtherType below the VLAN tags and where its header starts.
#[inline(always)]
fn network_header<F: Frame + ?Sized>(frame: &F) -> Option<(u16, u32)> {
    let mut ether_type = u16::from_be_bytes(frame.read::<2>(12)?);
    let mut offset = 14;
    for _ in 0..VLAN_TAGS {
        if ether_type != ETHER_8021Q && ether_type != ETHER_8021AD {
            break;
        }
        ether_type = u16::from_be_bytes(frame.read::<2>(offset + 2)?);
        offset += 4;
    }
    Some((ether_type, offset))
}

/// RFC 791, section 3.1.
#[inline(always)]
fn parse_v4<F: Frame + ?Sized>(frame: &F, start: u32) -> Result<Syn, Reason> {
    let header = frame.read::<20>(start).ok_or(Reason::Malformed)?;
    let header_length = u32::from(header[0] & 0x0f) * 4;
    let total_length = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_length < 20 || total_length < header_length {
        return Err(Reason::Malformed);
    }
    if header[9] != PROTOCOL_TCP {
        return Err(Reason::NotTcp);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    match fragment & 0x1fff {
        0 => {}
        1 => return Err(Reason::FragmentOffsetOne),
        _ => return Err(Reason::LaterFragment),
    }
    let transport = Transport {
        offset: start + header_length,
        end: start + total_length,
        more_fragments: fragment & 0x2000 != 0,
    };
    let port = transport.syn_port(frame)?;
    Ok(Syn {
        source: Address::V4([header[12], header[13], header[14], header[15]]),
        destination: Address::V4([header[16], header[17], header[18], header[19]]),
        port,
    })
}

/// RFC 8200, sections 3 and 4.
#[inline(always)]
fn parse_v6<F: Frame + ?Sized>(frame: &F, start: u32) -> Result<Syn, Reason> {
    let fixed = frame.read::<8>(start).ok_or(Reason::Malformed)?;
    if fixed[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let payload_length = u32::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let transport = walk_extensions(frame, fixed[6], start + 40, payload_length)?;
    let port = transport.syn_port(frame)?;
    let source = frame.read::<16>(start + 8).ok_or(Reason::Malformed)?;
    let destination = frame.read::<16>(start + 24).ok_or(Reason::Malformed)?;
    Ok(Syn {
        source: Address::from_v6(source),
        destination: Address::from_v6(destination),
        port,
    })
}

/// Follows the extension headers to a TCP header.
///
/// A first fragment must hold the whole chain (RFC 7112, section 5); one that
/// does not could hide a SYN and is dropped.
#[inline(always)]
fn walk_extensions<F: Frame + ?Sized>(
    frame: &F,
    first: u8,
    start: u32,
    payload_length: u32,
) -> Result<Transport, Reason> {
    // A payload length of zero is a jumbogram's (RFC 2675): the frame's end bounds it.
    let end = if payload_length == 0 {
        u32::MAX
    } else {
        start + payload_length
    };
    let mut next = first;
    let mut offset = start;
    let mut more_fragments = false;
    for _ in 0..EXTENSION_HEADERS {
        let is_extension = matches!(
            next,
            EXTENSION_HOP_BY_HOP
                | EXTENSION_ROUTING
                | EXTENSION_DESTINATION
                | EXTENSION_AUTHENTICATION
                | EXTENSION_FRAGMENT
        );
        if !is_extension {
            break;
        }
        let header = match frame.read::<4>(offset) {
            Some(header) if offset + 8 <= end => header,
            _ => return Err(truncated(more_fragments)),
        };
        let length = match next {
            EXTENSION_FRAGMENT => {
                let fragment = u16::from_be_bytes([header[2], header[3]]);
                if fragment & 0xfff8 != 0 {
                    return Err(Reason::LaterFragment);
                }
                more_fragments |= fragment & 1 != 0;
                8
            }
            // RFC 4302, section 2.2: in 4-octet units, minus 2.
            EXTENSION_AUTHENTICATION => (u32::from(header[1]) + 2) * 4,
            _ => (u32::from(header[1]) + 1) * 8,
        };
        next = header[0];
        offset += length;
    }
    match next {
        PROTOCOL_TCP => Ok(Transport {
            offset,
            end,
            more_fragments,
        }),
        EXTENSION_HOP_BY_HOP
        | EXTENSION_ROUTING
        | EXTENSION_DESTINATION
        | EXTENSION_AUTHENTICATION
        | EXTENSION_FRAGMENT => Err(Reason::ExtensionChain),
        _ => Err(Reason::NotTcp),
    }
}

/// Where the TCP header stands.
struct Transport {
    offset: u32,
    /// The end of the IP packet: what lies behind is padding.
    end: u32,
    more_fragments: bool,
}

impl Transport {
    /// The destination port, if the segment is an initial SYN: SYN set, ACK and
    /// RST clear (RFC 9293, section 3.5).
    #[inline(always)]
    fn syn_port<F: Frame + ?Sized>(&self, frame: &F) -> Result<u16, Reason> {
        let header = match frame.read::<20>(self.offset) {
            Some(header) if self.offset + TCP_HEADER <= self.end => header,
            _ => return Err(truncated(self.more_fragments)),
        };
        if header[13] & (FLAG_SYN | FLAG_ACK | FLAG_RST) != FLAG_SYN {
            return Err(Reason::NotSyn);
        }
        Ok(u16::from_be_bytes([header[2], header[3]]))
    }
}

/// The reason for a packet that ends inside its headers.
#[inline(always)]
const fn truncated(more_fragments: bool) -> Reason {
    if more_fragments {
        Reason::FragmentTooShort
    } else {
        Reason::Malformed
    }
}
