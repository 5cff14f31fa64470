//! The TLS that a peer must use: by the sender's domain, or else by the client's network, or else
//! by the default.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::domains;
use crate::smtp::address::Domain;
use crate::smtp::refusal::{Reason, Refusal, Rule};
use crate::smtp::session::Tls;

/// Whether TLS is offered to a peer, and required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not offered.
    None,
    /// Offered.
    #[default]
    Opportunistic,
    /// Required.
    Mandatory,
}

/// The requirement for a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Whether TLS is offered, and required.
    pub mode: Mode,
    /// The oldest version, 12 or 13, if TLS is required.
    pub minimum: u8,
    /// Whether a valid client certificate is required.
    pub certificate: bool,
    /// The rule.
    pub rule: Option<Rule>,
}

/// The requirements for all peers.
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

    /// Adds the requirement for senders of a domain.
    pub fn add_domain(&mut self, domain: &Domain, below: bool, requirement: Requirement) {
        let map = if below { &mut self.below } else { &mut self.exact };
        map.insert(domain.as_str().into(), requirement);
    }

    /// Adds the requirement for clients of a network; the longest prefix counts.
    pub fn add_network(&mut self, network: IpNet, requirement: Requirement) {
        self.networks.push((network, requirement));
        self.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
    }

    /// The requirement for a client before its sender is known.
    #[must_use]
    pub fn of_client(&self, client: IpAddr) -> &Requirement {
        let found = self.networks.iter().find(|(network, _)| network.contains(&client));
        found.map_or(&self.default, |(_, requirement)| requirement)
    }

    /// Whether a client's TLS is enough for a sender of `domain`. The rows of its network and of
    /// the domain must both be met, so the stricter one counts for each property. The client
    /// chooses the sender, so naming another one must not help.
    ///
    /// # Errors
    ///
    /// When it is not, with the row.
    pub fn check(
        &self,
        client: IpAddr,
        domain: Option<&Domain>,
        tls: Option<&Tls>,
    ) -> Result<(), Refusal> {
        let found = domain.and_then(|domain| domains::nearest(&self.exact, &self.below, domain));
        let network = self.networks.iter().find(|(network, _)| network.contains(&client));
        let network = network.map(|(_, requirement)| requirement);
        let default = (found.is_none() && network.is_none()).then_some(&self.default);
        let rows = [found, network, default];
        rows.into_iter().flatten().try_for_each(|row| row.check(tls))
    }

    /// Requirements that nobody can meet: TLS that is mandatory by the sender's domain, for clients
    /// that are not offered any. A sentence each.
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
    /// Whether the TLS in use is enough.
    ///
    /// # Errors
    ///
    /// When it is not, with the reason.
    fn check(&self, tls: Option<&Tls>) -> Result<(), Refusal> {
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
        let needed = |policy: &TlsPolicy, client: &str, domain: &str| {
            let domain = Domain::parse(domain).ok();
            policy.check(client.parse().unwrap(), domain.as_ref(), None).is_err()
        };
        assert!(needed(&policy, "192.0.2.9", "bank.example"));
        assert!(!needed(&policy, "192.0.2.9", "x.bank.example"));
        assert!(needed(&policy, "192.0.2.1", ""));
        // A client that forges a sender cannot choose the weaker row.
        policy.add_domain(&Domain::parse("plain.example").unwrap(), false, mode(Mode::None));
        assert!(needed(&policy, "192.0.2.1", "plain.example"));
        assert!(!needed(&policy, "192.0.2.9", "plain.example"));
        let warned = policy.unmeetable();
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(!needed(&policy, "198.51.100.1", "other.example"));
    }

    /// Of a network's row and a domain's, the stricter one counts for each property.
    #[test]
    fn both_rows_must_be_met() {
        let row =
            |mode, minimum, certificate| Requirement { mode, minimum, certificate, rule: None };
        let tls = |version, certificate: bool| Tls {
            version,
            text: String::new(),
            certificate: certificate.then(|| "CN=a".to_owned()),
        };
        let domain = Domain::parse("bank.example").unwrap();
        let need = Mode::Mandatory;
        let rows = [
            (row(need, 13, false), row(need, 12, true)),
            (row(need, 12, true), row(need, 13, false)),
            (row(need, 13, true), row(need, 12, false)),
            (row(need, 13, true), row(Mode::None, 12, false)),
        ];
        for (of_network, of_domain) in rows {
            let mut policy = TlsPolicy::new(Requirement::default());
            policy.add_network("192.0.2.0/24".parse().unwrap(), of_network);
            policy.add_domain(&domain, false, of_domain);
            let reason = |tls: Option<Tls>| {
                let checked =
                    policy.check("192.0.2.1".parse().unwrap(), Some(&domain), tls.as_ref());
                checked.map_err(|refusal| refusal.reason)
            };
            assert_eq!(reason(None), Err(Reason::TlsRequired));
            assert_eq!(reason(Some(tls(12, true))), Err(Reason::TlsTooOld));
            assert_eq!(reason(Some(tls(13, false))), Err(Reason::NoCertificate));
            assert_eq!(reason(Some(tls(13, true))), Ok(()));
        }
        // The properties of a row that does not require TLS do not count.
        let mut policy = TlsPolicy::new(Requirement::default());
        policy.add_network("192.0.2.0/24".parse().unwrap(), row(Mode::Opportunistic, 13, true));
        policy.add_domain(&domain, false, row(need, 12, false));
        let checked =
            policy.check("192.0.2.1".parse().unwrap(), Some(&domain), Some(&tls(12, false)));
        assert!(checked.is_ok());
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
