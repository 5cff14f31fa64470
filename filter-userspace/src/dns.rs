//! The words of DNS: what is asked, and what is answered.
//!
//! Pure: the edge `io::dns` asks; `reputation`, `spf` and `policy` say what is to
//! be asked and read the answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What a question is about (RFC 1035 section 3.2.2, RFC 3596).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchanges.
    Mx,
    /// Names of an address.
    Ptr,
    /// Texts.
    Txt,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
        })
    }
}

/// A question: an absolute name and a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    /// The name, in lower case, without the final dot; labels in ASCII
    /// (RFC 5890 A-labels). Whether it can be asked at all is for the edge to say:
    /// a name with an empty or over-long label does not exist.
    pub name: String,
    /// The type.
    pub kind: RecordType,
}

impl Query {
    /// A question.
    #[must_use]
    pub fn new(name: &str, kind: RecordType) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name);
        Self { name: name.to_ascii_lowercase(), kind }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// A record of an answer, of the type that was asked for; aliases are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchange: its preference and name; an empty name is the null MX
    /// (RFC 7505).
    Mx(u16, String),
    /// A name of an address.
    Ptr(String),
    /// A text: its strings, joined (RFC 7208 section 3.3).
    Txt(Vec<u8>),
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records; none where the name has none of the type, or is not.
    pub records: Vec<Record>,
    /// Whether the name exists (false: NXDOMAIN).
    pub exists: bool,
    /// For how long this holds.
    pub ttl: Duration,
}

impl Answer {
    /// The IPv4 addresses.
    pub fn v4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.records.iter().filter_map(|record| match record {
            Record::A(address) => Some(*address),
            _ => None,
        })
    }

    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records.iter().filter_map(|record| match record {
            Record::A(address) => Some(IpAddr::V4(*address)),
            Record::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        })
    }

    /// The texts.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().filter_map(|record| match record {
            Record::Txt(text) => Some(text.as_slice()),
            _ => None,
        })
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// None came in time.
    TimedOut,
    /// The server could not say, or nonsense came; what exactly.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// What became of a question.
pub type Lookup = Result<Answer, Failure>;

/// The labels of an address in reverse, as DNS lists and `in-addr.arpa` and
/// `ip6.arpa` have them (RFC 5782 sections 2.1 and 2.4): four numbers or 32
/// nibbles, without a zone. An IPv4-mapped address is IPv4.
#[must_use]
pub fn reversed(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let nibbles: Vec<_> =
                (0..32).map(|i| format!("{:x}", (bits >> (4 * i)) & 15)).collect();
            nibbles.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_reversed_as_rfc_5782_shows() {
        assert_eq!(reversed("192.0.2.99".parse().unwrap()), "99.2.0.192");
        assert_eq!(reversed("::ffff:192.0.2.99".parse().unwrap()), "99.2.0.192");
        assert_eq!(
            reversed("2001:db8:1:2:3:4:567:89ab".parse().unwrap()),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2"
        );
    }

    #[test]
    fn a_query_has_one_form() {
        let query = Query::new("Example.ORG.", RecordType::Mx);
        assert_eq!(query.to_string(), "example.org MX");
    }
}
