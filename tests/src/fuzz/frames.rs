//! Frames, and a second reading of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::frame::parse;
use filter_common::limits::{EXTENSION_HEADERS, VLAN_TAGS};
use filter_common::{Family, Reason, Syn};

/// The longest frame that is cut at every length.
const CUT: usize = 300;

/// An initial SYN: source, destination and port; or the reason why there is none.
type Found = Result<(IpAddr, IpAddr, u16), Reason>;

/// Any frame, and each beginning of it, is read as [`plainly`] reads it.
///
/// # Panics
///
/// When it is not, or when a frame that was cut short holds another SYN.
pub fn frames(data: &[u8]) {
    let whole = read(data);
    for length in (0..data.len().min(CUT)).chain([data.len()]) {
        let frame = &data[..length];
        let (family, found) = read(frame);
        assert_eq!((family, found), plainly(frame), "{frame:02x?}");
        if found.is_ok() {
            assert_eq!((family, found), whole, "cut at {length}: {data:02x?}");
        }
    }
}

fn read(frame: &[u8]) -> (Family, Found) {
    let mut syn = Syn::EMPTY;
    let (family, found) = parse(frame, &mut syn);
    let addresses = |()| (syn.source.to_ip(), syn.destination.to_ip(), syn.port);
    (family, found.map(addresses))
}

/// The same, header by header over slices, without a thought for the verifier.
fn plainly(frame: &[u8]) -> (Family, Found) {
    let none = (Family::Other, Err(Reason::NotIp));
    let Some(mut rest) = frame.get(12..) else { return none };
    let mut tags = 0;
    loop {
        let Some((ether_type, behind)) = rest.split_first_chunk::<2>() else { return none };
        match u16::from_be_bytes(*ether_type) {
            0x8100 | 0x88a8 if tags == VLAN_TAGS => {
                return (Family::Other, Err(Reason::VlanChain));
            }
            0x8100 | 0x88a8 => {
                tags += 1;
                let Some(next) = behind.get(2..) else { return none };
                rest = next;
            }
            0x8864 => return in_pppoe(behind),
            0x0800 => return (Family::V4, v4(behind)),
            0x86dd => return (Family::V6, v6(behind)),
            _ => return none,
        }
    }
}

/// RFC 2516 section 4, and RFC 1661 section 6.5.
fn in_pppoe(session: &[u8]) -> (Family, Found) {
    let none = (Family::Other, Err(Reason::NotIp));
    match session.get(6..) {
        Some([0x00, 0x21, packet @ ..]) => (Family::V4, v4(packet)),
        Some([0x00, 0x57, packet @ ..]) => (Family::V6, v6(packet)),
        Some([0x21, packet @ ..]) if !packet.is_empty() => (Family::V4, v4(packet)),
        Some([0x57, packet @ ..]) if !packet.is_empty() => (Family::V6, v6(packet)),
        _ => none,
    }
}

/// RFC 791 section 3.1.
fn v4(packet: &[u8]) -> Found {
    let Some(header) = packet.first_chunk::<20>() else { return Err(Reason::Malformed) };
    let words = usize::from(header[0] & 15);
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || words < 5 || total < words * 4 {
        return Err(Reason::Malformed);
    }
    if header[9] != 6 {
        return Err(Reason::NotTcp);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    match fragment & 0x1fff {
        0 => {}
        1 => return Err(Reason::FragmentOffsetOne),
        _ => return Err(Reason::LaterFragment),
    }
    let packet = &packet[..total.min(packet.len())];
    let port = port(packet.get(words * 4..), fragment & 0x2000 != 0)?;
    let address = |at: usize| {
        IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]))
    };
    Ok((address(12), address(16), port))
}

/// RFC 8200 sections 3 and 4.
fn v6(packet: &[u8]) -> Found {
    let Some(header) = packet.first_chunk::<8>() else { return Err(Reason::Malformed) };
    if header[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let mut next = header[6];
    // A packet that is cut before its addresses has nothing after them either.
    let behind = packet.get(40..).unwrap_or_default();
    let stated = match u16::from_be_bytes([header[4], header[5]]) {
        0 if next == 0 => usize::MAX,
        length => usize::from(length),
    };
    let mut at = 0;
    let mut more = false;
    let mut unpacks = false;
    for _ in 0..EXTENSION_HEADERS {
        if !is_extension(next) {
            break;
        }
        // Four bytes are enough; the length shows that the other four exist.
        let header = behind.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let Some(header) = header.filter(|_| at + 8 <= stated) else {
            return Err(too_short(more));
        };
        let length = match next {
            44 => {
                let fragment = u16::from_be_bytes([header[2], header[3]]);
                if fragment >> 3 != 0 {
                    return Err(Reason::LaterFragment);
                }
                more |= fragment & 1 == 1;
                8
            }
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        at += length;
        unpacks = next == 43 && [3, 4].contains(&header[2]);
        next = header[0];
    }
    match next {
        6 => {}
        4 | 41 if unpacks => return Err(Reason::SegmentRouting),
        _ if is_extension(next) => return Err(Reason::ExtensionChain),
        _ => return Err(Reason::NotTcp),
    }
    let port = port(behind.get(at..stated.min(behind.len())), more)?;
    let address = |at: usize| {
        let octets: [u8; 16] = packet[at..at + 16].try_into().expect("16 bytes");
        Ipv6Addr::from(octets).to_canonical()
    };
    Ok((address(8), address(24), port))
}

const fn is_extension(header: u8) -> bool {
    matches!(header, 0 | 43 | 44 | 51 | 60)
}

/// The port of an initial SYN (RFC 9293 section 3.5).
fn port(segment: Option<&[u8]>, more: bool) -> Result<u16, Reason> {
    let header = segment.and_then(|segment| segment.first_chunk::<20>());
    let Some(header) = header else { return Err(too_short(more)) };
    // SYN, without RST and ACK.
    if header[13] & 0x16 != 0x02 {
        return Err(Reason::NotSyn);
    }
    Ok(u16::from_be_bytes([header[2], header[3]]))
}

const fn too_short(more: bool) -> Reason {
    if more { Reason::FragmentTooShort } else { Reason::Malformed }
}
