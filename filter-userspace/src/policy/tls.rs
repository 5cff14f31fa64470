//! What TLS a peer must use: by the sender's domain, else by the client's
//! network, else the default.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::domains;
use crate::smtp::address::Domain;
use crate::smtp::refusal::{Reason, Refusal, Rule};
use crate::smtp::session::Tls;

/// Whether TLS is offered to a peer, and needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not offered.
    None,
    /// Offered.
    #[default]
    Opportunistic,
    /// Needed.
    Mandatory,
}

/// What a peer must do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Whether TLS is offered, and needed.
    pub mode: Mode,
    /// The oldest version, 12 or 13, where it is needed.
    pub minimum: u8,
    /// Whether a valid client certificate is needed.
    pub certificate: bool,
    /// What says so.
    pub rule: Option<Rule>,
}

/// What all peers must do.
#[derive(Clone, Debug, Default)]
pub struct TlsPolicy {
    default: Requirement,
    exact: HashMap<Box<str>, Requirement>,
    below: HashMap<Box<str>, Requirement>,
    networks: Vec<(IpNet, Requirement)>,
}

impl TlsPolicy {
    /// A policy of the default alone.
    #[must_use]
    pub fn new(default: Requirement) -> Self {
        Self { default, ..Self::default() }
    }

    /// What senders of a domain must do.
    pub fn add_domain(&mut self, domain: &Domain, below: bool, requirement: Requirement) {
        let map = if below { &mut self.below } else { &mut self.exact };
        map.insert(domain.as_str().into(), requirement);
    }

    /// What clients of a network must do; the longest prefix counts.
    pub fn add_network(&mut self, network: IpNet, requirement: Requirement) {
        self.networks.push((network, requirement));
        self.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
    }

    /// What a client must do of whom no sender is known yet.
    #[must_use]
    pub fn of_client(&self, client: IpAddr) -> &Requirement {
        let found = self.networks.iter().find(|(network, _)| network.contains(&client));
        found.map_or(&self.default, |(_, requirement)| requirement)
    }

    /// What a client must do for a sender of `domain`: of its network's row and the
    /// domain's, the stricter counts. Whose domain a sender has is the client's to say, so
    /// it must not help to say another.
    #[must_use]
    pub fn of(&self, client: IpAddr, domain: Option<&Domain>) -> &Requirement {
        let found = domain.and_then(|domain| domains::nearest(&self.exact, &self.below, domain));
        let network = self.networks.iter().find(|(network, _)| network.contains(&client));
        match (found, network) {
            (Some(domain), Some((_, network))) if network.strictness() > domain.strictness() => {
                network
            }
            (Some(domain), _) => domain,
            (None, Some((_, network))) => network,
            (None, None) => &self.default,
        }
    }

    /// What nobody can meet: TLS that is mandatory by the sender's domain, for clients
    /// that are offered none. A sentence each.
    #[must_use]
    pub fn unmeetable(&self) -> Vec<String> {
        let place = |requirement: &Requirement| {
            requirement.rule.as_ref().map_or_else(|| "tls.default".to_owned(), ToString::to_string)
        };
        let needed = self.exact.values().chain(self.below.values());
        let mut needed: Vec<_> =
            needed.filter(|requirement| requirement.mode == Mode::Mandatory).map(place).collect();
        needed.sort();
        let Some(first) = needed.first() else { return Vec::new() };
        let offered_none = self.networks.iter().map(|(_, requirement)| requirement);
        let offered_none = offered_none.chain([&self.default]);
        let offered_none = offered_none.filter(|requirement| requirement.mode == Mode::None);
        let sentence = |requirement: &Requirement| {
            format!(
                "{}: TLS is not offered to these clients, and {first} makes it mandatory for a \
                 sender's domain: its mail is refused from there (530), since STARTTLS is (502)",
                place(requirement)
            )
        };
        offered_none.map(sentence).collect()
    }
}

impl Requirement {
    /// How much is needed: TLS before a version before a certificate.
    const fn strictness(&self) -> (bool, bool, u8) {
        let is_needed = matches!(self.mode, Mode::Mandatory);
        (is_needed, is_needed && self.certificate, if is_needed { self.minimum } else { 0 })
    }

    /// Whether what is in use is enough.
    ///
    /// # Errors
    ///
    /// When it is not, and why.
    pub fn check(&self, tls: Option<&Tls>) -> Result<(), Refusal> {
        let refuse = |reason| Err(Refusal::by(reason, "", self.rule.clone()));
        match (self.mode, tls) {
            (Mode::None | Mode::Opportunistic, _) => Ok(()),
            (Mode::Mandatory, None) => refuse(Reason::TlsRequired),
            (Mode::Mandatory, Some(tls)) if tls.version < self.minimum => refuse(Reason::TlsTooOld),
            (Mode::Mandatory, Some(tls)) if self.certificate && tls.certificate.is_none() => {
                refuse(Reason::NoCertificate)
            }
            (Mode::Mandatory, Some(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_senders_domain_comes_before_the_network() {
        let mode = |mode| Requirement { mode, ..Requirement::default() };
        let mut policy = TlsPolicy::new(mode(Mode::Opportunistic));
        policy.add_domain(&Domain::parse("bank.example").unwrap(), false, mode(Mode::Mandatory));
        policy.add_network("192.0.2.0/24".parse().unwrap(), mode(Mode::None));
        policy.add_network("192.0.2.1/32".parse().unwrap(), mode(Mode::Mandatory));
        let of = |client: &str, domain: &str| {
            policy.of(client.parse().unwrap(), Domain::parse(domain).as_ref()).mode
        };
        assert_eq!(of("192.0.2.9", "bank.example"), Mode::Mandatory);
        assert_eq!(of("192.0.2.9", "x.bank.example"), Mode::None);
        assert_eq!(of("192.0.2.1", ""), Mode::Mandatory);
        // Whoever forges a sender does not pick the weaker row.
        policy.add_domain(&Domain::parse("plain.example").unwrap(), false, mode(Mode::None));
        let of = |client: &str, domain: &str| {
            policy.of(client.parse().unwrap(), Domain::parse(domain).as_ref()).mode
        };
        assert_eq!(of("192.0.2.1", "plain.example"), Mode::Mandatory);
        assert_eq!(of("192.0.2.9", "plain.example"), Mode::None);
        let warned = policy.unmeetable();
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert_eq!(of("198.51.100.1", "other.example"), Mode::Opportunistic);
    }

    #[test]
    fn what_is_in_use_must_be_enough() {
        let need = |certificate| Requirement {
            mode: Mode::Mandatory,
            minimum: 13,
            certificate,
            rule: None,
        };
        let tls = |version, certificate: Option<&str>| Tls {
            version,
            text: String::new(),
            certificate: certificate.map(str::to_owned),
        };
        let reason = |requirement: Requirement, tls: Option<Tls>| {
            requirement.check(tls.as_ref()).map_err(|refusal| refusal.reason)
        };
        assert_eq!(reason(need(false), None), Err(Reason::TlsRequired));
        assert_eq!(reason(need(false), Some(tls(12, None))), Err(Reason::TlsTooOld));
        assert_eq!(reason(need(true), Some(tls(13, None))), Err(Reason::NoCertificate));
        assert_eq!(reason(need(true), Some(tls(13, Some("CN=a")))), Ok(()));
        assert_eq!(reason(Requirement::default(), None), Ok(()));
    }
}
