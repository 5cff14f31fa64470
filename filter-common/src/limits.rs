//! The bounds on the work that a frame may cause.

/// The number of VLAN tags (802.1Q, 802.1ad) that are parsed: QinQ.
pub const VLAN_TAGS: usize = 2;

/// The number of IPv6 extension headers that are parsed. A longer chain could hide a SYN from a
/// bounded parser, so it is dropped and counted. Real chains have one or two; Linux itself accepts
/// at most eight headers' options by default (`net.ipv6.max_dst_opts_number`).
pub const EXTENSION_HEADERS: usize = 8;

/// The size of a TCP header without options, in bytes (RFC 9293 section 3.1).
pub const TCP_HEADER: u32 = 20;
