//! The vocabulary of DNS: queries and answers.
//!
//! Pure: the edge `io::dns` sends queries; `reputation`, `spf` and `policy` decide what to query
//! and interpret the answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The type of a query (RFC 1035 section 3.2.2, RFC 3596).
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

/// A query: an absolute name and a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    /// The name, in lower case, without the final dot; labels in ASCII (RFC 5890 A-labels). Whether
    /// it can be queried at all is decided by the edge: a name with an empty or over-long label
    /// does not exist.
    pub name: String,
    /// The type.
    pub kind: RecordType,
}

impl Query {
    /// A query.
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

/// A record of an answer, of the queried type; aliases are followed.
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

/// The answer of a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records; none if the name does not exist or has none of the type.
    pub records: Vec<Record>,
    /// Whether the name exists (false: NXDOMAIN).
    pub exists: bool,
    /// How long the answer is valid.
    pub ttl: Duration,
}

impl Answer {
    /// The octets that it takes, here and about as many in a message: they bound which answers are
    /// kept and evaluated.
    #[must_use]
    pub fn octets(&self) -> usize {
        let of = |record: &Record| match record {
            Record::A(_) | Record::Aaaa(_) => 0,
            Record::Mx(_, name) | Record::Ptr(name) => name.len(),
            Record::Txt(text) => text.len(),
        };
        self.records.iter().map(|record| size_of::<Record>() + of(record)).sum()
    }

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
    /// No answer arrived in time.
    TimedOut,
    /// The server reported a failure, or its answer was malformed; which, exactly.
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

/// The result of a query.
pub type Lookup = Result<Answer, Failure>;

/// The name of a host, as far as name servers know one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostName {
    /// This one.
    Known(String),
    /// There is none.
    #[default]
    None,
    /// Name servers gave no answer, or not in time.
    Unknown,
}

/// The names of a client by reverse DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// A name of its address that resolves to its address (forward-confirmed).
    pub confirmed: HostName,
    /// The first name of its address, which is not verified.
    pub reverse: HostName,
}

impl HostNames {
    /// Nothing is known for now.
    pub const UNKNOWN: Self = Self { confirmed: HostName::Unknown, reverse: HostName::Unknown };

    /// The confirmed name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.confirmed {
            HostName::Known(name) => Some(name),
            HostName::None | HostName::Unknown => None,
        }
    }
}

/// The name for the reverse lookup of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    let zone = if address.to_canonical().is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{}.{zone}", reversed(address))
}

/// The labels of an address in reverse, as DNS lists, `in-addr.arpa` and `ip6.arpa` use them
/// (RFC 5782 sections 2.1 and 2.4): four numbers or 32 nibbles, without a zone. An IPv4-mapped
/// address is IPv4.
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

/// Why name servers are not queried about a client with this address; none if they are. Answers
/// about addresses that everybody uses concern somebody else; private networks (RFC 1918, RFC 3927,
/// RFC 4193, RFC 4291 and RFC 6598) are queried if `private` is set.
#[must_use]
pub fn unasked(address: IpAddr, private: bool) -> Option<&'static str> {
    let address = address.to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        return Some("the client is this host");
    }
    let is_private = match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            address.is_private() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    (is_private && !private).then_some("the client has a private address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_about_this_host_or_private_networks() {
        let is_asked = |text: &str, private| unasked(text.parse().unwrap(), private).is_none();
        for here in ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.9", "0.0.0.0", "::"] {
            assert!(!is_asked(here, true), "{here}");
        }
        for private in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_asked(private, false) && is_asked(private, true), "{private}");
        }
        for public in [
            "192.0.2.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "2001:db8::1",
            "fec0::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(is_asked(public, false), "{public}");
        }
    }

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
