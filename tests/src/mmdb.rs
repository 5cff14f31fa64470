//! Writes MaxMind databases.

use std::net::Ipv4Addr;

/// A record of the search tree.
#[derive(Clone, Copy, Debug)]
pub enum Record {
    /// No network.
    Nothing,
    /// Another node.
    Node(u32),
    /// A position in the data section.
    Data(u32),
}

/// A MaxMind database, written as the format's specification says, with records
/// of 24 bits.
#[derive(Clone, Debug)]
pub struct Mmdb {
    /// 4 or 6.
    pub ip_version: u8,
    /// The search tree: what each node has for a bit of 0 and of 1.
    pub nodes: Vec<[Record; 2]>,
    /// The data section.
    pub data: Vec<u8>,
}

impl Mmdb {
    /// An empty database.
    #[must_use]
    pub fn new(ip_version: u8) -> Self {
        Self { ip_version, nodes: vec![[Record::Nothing; 2]], data: Vec::new() }
    }

    /// A few networks of IPv4.
    #[must_use]
    pub fn sample() -> Self {
        let mut mmdb = Self::new(4);
        for (address, length, code) in [
            ([192, 0, 2, 0], 24, "AT"),
            ([198, 51, 100, 0], 25, "DE"),
            ([198, 51, 100, 128], 25, "FR"),
            ([203, 0, 113, 7], 32, "NZ"),
            ([10, 0, 0, 0], 8, "CH"),
        ] {
            mmdb.add(address.into(), length, code);
        }
        mmdb
    }

    /// Adds a network.
    ///
    /// # Panics
    ///
    /// When the database grows large.
    pub fn add(&mut self, address: Ipv4Addr, length: u32, code: &str) {
        let data = Record::Data(u32::try_from(self.data.len()).expect("small"));
        self.data.extend(map(&[("country", map(&[("iso_code", text(code))]))]));
        let mut node = 0;
        for depth in 0..length {
            let bit = (address.to_bits() >> (31 - depth) & 1) as usize;
            if depth + 1 == length {
                self.nodes[node][bit] = data;
                return;
            }
            node = match self.nodes[node][bit] {
                Record::Node(next) => next as usize,
                _ => {
                    let next = self.nodes.len();
                    self.nodes.push([Record::Nothing; 2]);
                    self.nodes[node][bit] = Record::Node(u32::try_from(next).expect("small"));
                    next
                }
            };
        }
    }

    /// The file.
    ///
    /// # Panics
    ///
    /// When the database is large.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let count = u32::try_from(self.nodes.len()).expect("small");
        let mut bytes = Vec::new();
        for record in self.nodes.iter().flatten() {
            let value = match record {
                Record::Nothing => count,
                Record::Node(node) => *node,
                Record::Data(offset) => count + 16 + offset,
            };
            bytes.extend(&value.to_be_bytes()[1..]);
        }
        bytes.extend([0; 16]);
        bytes.extend(&self.data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend(map(&[
            ("node_count", unsigned(6, &count.to_be_bytes())),
            ("record_size", unsigned(5, &[0, 24])),
            ("ip_version", unsigned(5, &[0, self.ip_version])),
            ("database_type", text("Test-Country")),
            ("languages", vec![1, 4, b'B', b'e', b'n']),
            ("binary_format_major_version", unsigned(5, &[0, 2])),
            ("binary_format_minor_version", unsigned(5, &[0, 0])),
            ("build_epoch", [&[8, 2][..], &1_700_000_000_u64.to_be_bytes()].concat()),
            ("description", map(&[("en", text("a test"))])),
        ]));
        bytes
    }
}

/// The byte before a value: its type and its size.
fn control(kind: u8, size: usize) -> u8 {
    assert!(size < 29, "sizes of one byte only");
    kind << 5 | u8::try_from(size).expect("small")
}

/// A string of the data section.
#[must_use]
pub fn text(value: &str) -> Vec<u8> {
    [&[control(2, value.len())], value.as_bytes()].concat()
}

/// A map of the data section, whose values are written already.
#[must_use]
pub fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![control(7, entries.len())];
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes
}

fn unsigned(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[control(kind, bytes.len())], bytes].concat()
}

/// A pointer to a position in the data section, with 32 bits.
///
/// # Panics
///
/// When the position does not fit.
#[must_use]
pub fn pointer(place: usize) -> Vec<u8> {
    [&[1 << 5 | 3 << 3], &u32::try_from(place).expect("small").to_be_bytes()[..]].concat()
}
