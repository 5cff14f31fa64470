//! Addresses without which no mail flows: this host, balancers, backends, customers, and
//! whoever sits at the console. No automatic block covers one, and a block that an
//! operator asks for needs to be forced where it does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::client_network::ClientNetwork;
use super::prefix::normalise;

/// A block of a shorter IPv4 prefix than this must be forced.
const SHORTEST_V4: u8 = 8;

/// A block of a shorter IPv6 prefix than this must be forced.
const SHORTEST_V6: u8 = 16;

/// The reasons that one refusal names at most.
const NAMED: usize = 8;

/// Why an address is protected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// It is a loopback address.
    Loopback,
    /// It is an address of this host.
    ThisHost,
    /// Connections from it begin with a PROXY header: a load balancer.
    Proxy,
    /// It is a server of this backend.
    Backend(String),
    /// It is in a network of this customer.
    Customer(String),
    /// It is where the request comes from.
    Console,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::ThisHost => f.write_str("an address of this host"),
            Self::Proxy => f.write_str("listed in listen.proxy_networks"),
            Self::Backend(name) => write!(f, "a server of backend {name}"),
            Self::Customer(name) => write!(f, "a network of customer {name}"),
            Self::Console => f.write_str("the address of the console's client"),
        }
    }
}

/// The protected networks, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    rows: Vec<(IpNet, Holder)>,
}

impl Protected {
    /// Loopback, and nothing else yet.
    #[must_use]
    pub fn new() -> Self {
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        let v6 = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
        Self { rows: vec![(v4.into(), Holder::Loopback), (v6.into(), Holder::Loopback)] }
    }

    /// Adds a network.
    pub fn add(&mut self, network: IpNet, holder: Holder) {
        let row = (normalise(network), holder);
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
    }

    /// The networks, each with the reason.
    #[must_use]
    pub fn rows(&self) -> &[(IpNet, Holder)] {
        &self.rows
    }

    /// What a block of `prefix` would hit, in whole or in part.
    pub fn hit_by(&self, prefix: IpNet) -> impl Iterator<Item = &(IpNet, Holder)> {
        let prefix = normalise(prefix);
        self.rows.iter().filter(move |(network, _)| overlap(*network, prefix))
    }

    /// Why no automatic temporary block may be made of a client; none where one may.
    ///
    /// A temporary block covers the whole client network, so it is forbidden where that
    /// holds a balancer, a backend or a customer. An address of this host forbids a block
    /// of itself alone: the network that the host is in has strangers too, and what comes
    /// from the host itself is not held up by their block.
    #[must_use]
    pub fn forbids(&self, client: IpAddr) -> Option<&Holder> {
        let client = client.to_canonical();
        let block = ClientNetwork::of(client).prefix();
        let is_hit = |(network, holder): &&(IpNet, Holder)| match holder {
            Holder::ThisHost => network.contains(&client),
            _ => overlap(*network, block),
        };
        self.rows.iter().find(is_hit).map(|(_, holder)| holder)
    }

    /// Why a block of `prefix` must be forced, in a sentence each; nothing where it need
    /// not be.
    #[must_use]
    pub fn objections(&self, prefix: IpNet) -> Vec<String> {
        let prefix = normalise(prefix);
        let mut objections = Vec::new();
        if is_too_short(prefix) {
            let (family, shortest) = match prefix {
                IpNet::V4(_) => ("IPv4", SHORTEST_V4),
                IpNet::V6(_) => ("IPv6", SHORTEST_V6),
            };
            objections.push(format!("{prefix} is shorter than /{shortest} ({family})"));
        }
        let mut hit = self.hit_by(prefix);
        for (network, holder) in hit.by_ref().take(NAMED) {
            let network = if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            };
            objections.push(format!("{prefix} would hit {network}, {holder}"));
        }
        match hit.count() {
            0 => {}
            more => objections.push(format!("and {more} more protected networks")),
        }
        objections
    }
}

/// Whether a block of this prefix covers so much that it must be forced.
#[must_use]
pub fn is_too_short(prefix: IpNet) -> bool {
    match normalise(prefix) {
        IpNet::V4(prefix) => prefix.prefix_len() < SHORTEST_V4,
        IpNet::V6(prefix) => prefix.prefix_len() < SHORTEST_V6,
    }
}

/// How much a wide prefix blocks, for people.
#[must_use]
pub fn breadth(net: IpNet) -> &'static str {
    match net.prefix_len() {
        0 => "every address",
        _ => "a very large part of the Internet (more than an IPv4 /8 or an IPv6 /16)",
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn protected() -> Protected {
        let mut protected = Protected::new();
        protected.add(net("192.0.2.25/32"), Holder::ThisHost);
        protected.add(net("2001:db8:1::25/128"), Holder::ThisHost);
        protected.add(net("10.9.0.0/24"), Holder::Proxy);
        protected.add(net("2001:db8:2::7/128"), Holder::Proxy);
        protected.add(net("::ffff:198.51.100.5/128"), Holder::Backend("main".to_owned()));
        protected.add(net("203.0.113.64/26"), Holder::Customer("acme".to_owned()));
        protected
    }

    #[test]
    fn no_protected_address_is_ever_blocked_automatically() {
        let protected = protected();
        let why = |client: &str| protected.forbids(client.parse().unwrap()).cloned();
        for client in ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(why(client), Some(Holder::Loopback), "{client}");
        }
        for client in ["192.0.2.25", "2001:db8:1::25", "::ffff:192.0.2.25"] {
            assert_eq!(why(client), Some(Holder::ThisHost), "{client}");
        }
        // The whole /64 would be blocked.
        for client in ["10.9.0.255", "2001:db8:2::7", "2001:db8:2::8"] {
            assert_eq!(why(client), Some(Holder::Proxy), "{client}");
        }
        assert_eq!(why("198.51.100.5"), Some(Holder::Backend("main".to_owned())));
        assert_eq!(why("203.0.113.127"), Some(Holder::Customer("acme".to_owned())));
        for client in
            ["192.0.2.26", "10.9.1.0", "203.0.113.128", "2001:db8:2:1::7", "2001:db8:1::26"]
        {
            assert_eq!(why(client), None, "{client}");
        }
    }

    #[test]
    fn a_block_says_what_it_would_hit() {
        let protected = protected();
        let objections = |prefix: &str| protected.objections(net(prefix));
        assert_eq!(objections("198.51.100.0/30"), [] as [String; 0]);
        assert_eq!(
            objections("198.51.100.0/24"),
            ["198.51.100.0/24 would hit 198.51.100.5, a server of backend main"]
        );
        assert_eq!(
            objections("203.0.113.65/32"),
            ["203.0.113.65/32 would hit 203.0.113.64/26, a network of customer acme"]
        );
        assert_eq!(objections("64.0.0.0/7"), ["64.0.0.0/7 is shorter than /8 (IPv4)"]);
        assert_eq!(objections("3000::/15"), ["3000::/15 is shorter than /16 (IPv6)"]);
        assert_eq!(objections("::ffff:64.0.0.0/103"), ["64.0.0.0/7 is shorter than /8 (IPv4)"]);
        assert_eq!(objections("64.0.0.0/8"), [] as [String; 0]);
        assert_eq!(objections("2001:db8:1::/64").len(), 1);
        assert_eq!(objections("0.0.0.0/0").len(), 1 + 5);
        let mut many = Protected::new();
        (0..20).for_each(|n| many.add(net(&format!("192.0.2.{n}/32")), Holder::ThisHost));
        let said = many.objections(net("192.0.2.0/24"));
        assert_eq!(said.len(), NAMED + 1);
        assert_eq!(said[NAMED], "and 12 more protected networks");
    }
}
