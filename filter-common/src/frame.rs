//! Finds the initial TCP SYN in an Ethernet frame.
//!
//! The parser reads through [`Frame`], so that the same code runs on kernel packet pointers and on
//! test slices. It trusts no length that the frame states: every read is bounded by the reader, and
//! the IP length can only shorten what may be read.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{EXTENSION_HEADERS, TCP_HEADER, VLAN_TAGS};
use crate::reason::Reason;

/// Bounded access to the bytes of a frame.
pub trait Frame {
    /// The `N` bytes at `offset` from the start of the Ethernet header, or `None` if the frame ends
    /// before them. `N` is 2 to 4: at most what fits a register, since a kernel program's stack is
    /// 512 bytes, and not 1, since the verifier does not follow the comparison that LLVM generates
    /// for it.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// The same for bytes that few frames have. The kernel program reads them by a call, so that
    /// the verifier does not follow a path for each of their possible positions.
    #[inline(always)]
    fn read_rare<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.read(offset)
    }

    /// The offset itself, in a form in which the verifier forgets its origin; otherwise it would
    /// follow each way to it to the end of the program.
    #[inline(always)]
    fn forget(&self, offset: u32) -> u32 {
        offset
    }
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
    /// The number of families that are counted.
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

/// An address as in the frame, in network order.
///
/// A plain struct and not an enum of arrays: the kernel program copies it without a branch and
/// without a second copy on its small stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct Address {
    /// An IPv4 address is in the first four bytes; the others are zero.
    bytes: [u8; 16],
    is_v6: u8,
}

impl Address {
    /// An IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn v4([a, b, c, d]: [u8; 4]) -> Self {
        Self { bytes: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], is_v6: 0 }
    }

    /// An IPv6 address, or the IPv4 address that it maps: `::ffff:0:0/96` is judged by the IPv4
    /// lists (RFC 4291 section 2.5.5.2).
    #[must_use]
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        match bytes {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Self::v4([a, b, c, d]),
            _ => Self { bytes, is_v6: 1 },
        }
    }

    /// The family whose lists judge the address.
    #[must_use]
    #[inline(always)]
    pub const fn family(&self) -> Family {
        if self.is_v6 == 0 { Family::V4 } else { Family::V6 }
    }

    /// The 16 bytes: of an IPv4 address the first four, then zeros.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.bytes
    }

    /// The first four bytes: all of an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn first_four(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.bytes;
        [a, b, c, d]
    }

    /// The 128 bits of an IPv6 address, the higher half first.
    #[must_use]
    #[inline(always)]
    pub const fn halves(&self) -> (u64, u64) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.bytes;
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
    }

    /// The address for people and for sockets.
    #[must_use]
    pub const fn to_ip(&self) -> IpAddr {
        match self.family() {
            Family::V6 => IpAddr::V6(Ipv6Addr::from_octets(self.bytes)),
            Family::V4 | Family::Other => IpAddr::V4(Ipv4Addr::from_octets(self.first_four())),
        }
    }

    /// The address of a socket; an IPv4-mapped one is the IPv4 address.
    #[must_use]
    pub const fn from_ip(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
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

impl Syn {
    /// An empty value for [`parse`] to write to.
    pub const EMPTY: Self =
        Self { source: Address::v4([0; 4]), destination: Address::v4([0; 4]), port: 0 };
}

/// Finds the initial SYN in a frame and writes it to `syn`, or returns why the frame has none. The
/// family is that of the outer IP header.
///
/// The SYN is written to the caller's variable and is not part of the result: LLVM would move it
/// through registers that are undefined on the other paths, which the verifier refuses.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, syn: &mut Syn) -> (Family, Result<(), Reason>) {
    let Some((ether_type, offset)) = network_header(frame) else {
        return (Family::Other, Err(Reason::NotIp));
    };
    match ether_type {
        ETHER_8021Q | ETHER_8021AD => (Family::Other, Err(Reason::VlanChain)),
        ETHER_IPV4 => (Family::V4, parse_v4(frame, offset, syn)),
        ETHER_IPV6 => (Family::V6, parse_v6(frame, offset, syn)),
        _ => (Family::Other, Err(Reason::NotIp)),
    }
}

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_8021Q: u16 = 0x8100;
const ETHER_8021AD: u16 = 0x88a8;
const ETHER_PPPOE_SESSION: u16 = 0x8864;

/// PPP's numbers of IPv4 and IPv6 (RFC 1332 section 2; RFC 5072 section 2).
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_IPV6: u8 = 41;

const PROTOCOL_TCP: u8 = 6;

const EXTENSION_HOP_BY_HOP: u8 = 0;
const EXTENSION_ROUTING: u8 = 43;
const EXTENSION_FRAGMENT: u8 = 44;
const EXTENSION_AUTHENTICATION: u8 = 51;
const EXTENSION_DESTINATION: u8 = 60;

/// Routing headers behind which Linux unpacks a packet: RPL source routes (RFC 6554) and
/// segment routing (RFC 8754).
const ROUTING_RPL: u8 = 3;
const ROUTING_SEGMENTS: u8 = 4;

const FLAG_SYN: u8 = 0x02;
const FLAG_RST: u8 = 0x04;
const FLAG_ACK: u8 = 0x10;

/// The EtherType below the VLAN tags and a PPPoE session, and where its header starts.
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
    let (ether_type, offset) = match ether_type {
        ETHER_PPPOE_SESSION => in_pppoe(frame, offset)?,
        _ => (ether_type, offset),
    };
    Some((ether_type, frame.forget(offset)))
}

/// The payload of a PPPoE session (RFC 2516 section 4): six octets, then PPP's protocol number.
/// That may be one octet if it is odd (RFC 1661 section 6.5), which Linux accepts whether it was
/// negotiated or not.
#[inline(always)]
fn in_pppoe<F: Frame + ?Sized>(frame: &F, offset: u32) -> Option<(u16, u32)> {
    let [high, low] = frame.read_rare::<2>(offset + 6)?;
    let is_short = high & 1 == 1;
    let protocol = if is_short { high as u16 } else { u16::from_be_bytes([high, low]) };
    let ether_type = match protocol {
        PPP_IPV4 => ETHER_IPV4,
        PPP_IPV6 => ETHER_IPV6,
        _ => return None,
    };
    Some((ether_type, offset + if is_short { 7 } else { 8 }))
}

/// The IPv4 header (RFC 791 section 3.1).
#[inline(always)]
fn parse_v4<F: Frame + ?Sized>(frame: &F, start: u32, syn: &mut Syn) -> Result<(), Reason> {
    let [version, _, length @ ..] = frame.read::<4>(start).ok_or(Reason::Malformed)?;
    let [fragment @ .., _, protocol] = frame.read::<4>(start + 6).ok_or(Reason::Malformed)?;
    let source = frame.read::<4>(start + 12).ok_or(Reason::Malformed)?;
    let destination = frame.read::<4>(start + 16).ok_or(Reason::Malformed)?;
    let header_length = u32::from(version & 0x0f) * 4;
    let total_length = u32::from(u16::from_be_bytes(length));
    if version >> 4 != 4 || header_length < 20 || total_length < header_length {
        return Err(Reason::Malformed);
    }
    if protocol != PROTOCOL_TCP {
        return Err(Reason::NotTcp);
    }
    let fragment = u16::from_be_bytes(fragment);
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
    syn.port = transport.syn_port(frame)?;
    syn.source = Address::v4(source);
    syn.destination = Address::v4(destination);
    Ok(())
}

/// The IPv6 header (RFC 8200 sections 3 and 4).
#[inline(always)]
fn parse_v6<F: Frame + ?Sized>(frame: &F, start: u32, syn: &mut Syn) -> Result<(), Reason> {
    let [version, _] = frame.read::<2>(start).ok_or(Reason::Malformed)?;
    let [length @ .., next, _] = frame.read::<4>(start + 4).ok_or(Reason::Malformed)?;
    if version >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let start_of_payload = start + 40;
    let length = u32::from(u16::from_be_bytes(length));
    let mut transport = Transport {
        offset: start_of_payload,
        // Linux takes a length of zero before hop-by-hop options for a jumbogram's (RFC 2675) and
        // then relies on the frame's end, with or without the option.
        end: if length == 0 && next == EXTENSION_HOP_BY_HOP {
            u32::MAX
        } else {
            start_of_payload + length
        },
        more_fragments: false,
    };
    syn.port = if next == PROTOCOL_TCP {
        transport.syn_port(frame)?
    } else {
        transport.walk_extensions(frame, next)?;
        transport.syn_port(&Rare(frame))?
    };
    syn.source = read_v6_address(frame, start + 8)?;
    syn.destination = read_v6_address(frame, start + 24)?;
    Ok(())
}

/// A frame all of whose reads are rare.
struct Rare<'a, F: ?Sized>(&'a F);

impl<F: Frame + ?Sized> Frame for Rare<'_, F> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.0.read_rare(offset)
    }
}

#[inline(always)]
fn read_v6_address<F: Frame + ?Sized>(frame: &F, offset: u32) -> Result<Address, Reason> {
    let [a, b, c, d] = frame.read::<4>(offset).ok_or(Reason::Malformed)?;
    let [e, f, g, h] = frame.read::<4>(offset + 4).ok_or(Reason::Malformed)?;
    let [i, j, k, l] = frame.read::<4>(offset + 8).ok_or(Reason::Malformed)?;
    let [m, n, o, p] = frame.read::<4>(offset + 12).ok_or(Reason::Malformed)?;
    Ok(Address::v6([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
}

/// The position of the TCP header.
struct Transport {
    offset: u32,
    /// The end of the IP packet: what follows is padding.
    end: u32,
    more_fragments: bool,
}

impl Transport {
    /// Follows the IPv6 extension headers, of which `next` is the first, to a
    /// TCP header.
    ///
    /// A first fragment must contain the whole chain (RFC 7112 section 5); one that does not could
    /// hide a SYN and is dropped.
    #[inline(always)]
    fn walk_extensions<F: Frame + ?Sized>(
        &mut self,
        frame: &F,
        mut next: u8,
    ) -> Result<(), Reason> {
        let mut unpacks = false;
        for _ in 0..EXTENSION_HEADERS {
            if !is_extension(next) {
                break;
            }
            let Some([following, length, offset @ ..]) = frame.read_rare::<4>(self.offset) else {
                return Err(self.truncated());
            };
            if self.offset + 8 > self.end {
                return Err(self.truncated());
            }
            let [routing, _] = offset;
            unpacks =
                next == EXTENSION_ROUTING && matches!(routing, ROUTING_RPL | ROUTING_SEGMENTS);
            self.offset += match next {
                EXTENSION_FRAGMENT => {
                    let fragment = u16::from_be_bytes(offset);
                    if fragment & 0xfff8 != 0 {
                        return Err(Reason::LaterFragment);
                    }
                    self.more_fragments |= fragment & 1 != 0;
                    8
                }
                // RFC 4302 section 2.2: in 4-octet units, minus 2.
                EXTENSION_AUTHENTICATION => (u32::from(length) + 2) * 4,
                _ => (u32::from(length) + 1) * 8,
            };
            self.offset = frame.forget(self.offset);
            next = following;
        }
        match next {
            PROTOCOL_TCP => Ok(()),
            // The sender chooses the inner source, and no list was checked for it.
            PROTOCOL_IPV4 | PROTOCOL_IPV6 if unpacks => Err(Reason::SegmentRouting),
            _ if is_extension(next) => Err(Reason::ExtensionChain),
            _ => Err(Reason::NotTcp),
        }
    }

    /// The destination port, if the segment is an initial SYN: SYN set, ACK and RST clear (RFC 9293
    /// section 3.5).
    #[inline(always)]
    fn syn_port<F: Frame + ?Sized>(&self, frame: &F) -> Result<u16, Reason> {
        // The last word first: it proves that the whole header is present.
        let last = frame.read::<4>(self.offset + TCP_HEADER - 4);
        if last.is_none() || self.offset + TCP_HEADER > self.end {
            return Err(self.truncated());
        }
        let [_, _, port @ ..] = frame.read::<4>(self.offset).ok_or(Reason::Malformed)?;
        let [_, flags] = frame.read::<2>(self.offset + 12).ok_or(Reason::Malformed)?;
        if flags & (FLAG_SYN | FLAG_ACK | FLAG_RST) != FLAG_SYN {
            return Err(Reason::NotSyn);
        }
        Ok(u16::from_be_bytes(port))
    }

    /// The reason for a packet that ends inside its headers.
    #[inline(always)]
    const fn truncated(&self) -> Reason {
        if self.more_fragments { Reason::FragmentTooShort } else { Reason::Malformed }
    }
}

#[inline(always)]
const fn is_extension(header: u8) -> bool {
    matches!(
        header,
        EXTENSION_HOP_BY_HOP
            | EXTENSION_ROUTING
            | EXTENSION_FRAGMENT
            | EXTENSION_AUTHENTICATION
            | EXTENSION_DESTINATION
    )
}
