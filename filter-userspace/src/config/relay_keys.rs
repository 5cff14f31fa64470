//! The keys of the outgoing relay.

use std::sync::Arc;

use super::section::{Section, clean};
use super::smtp::{RelaySettings, TlsSettings};
use super::smtp_keys::{domain_names, networks, required, seconds, sockets};
use crate::policy::relay::{Customer, OwnDomain, Relay, RelayLimits};

/// The relay; none without the section.
pub(super) fn relay(root: &Section<'_>, tls: &TlsSettings) -> Option<RelaySettings> {
    let section = root.section("relay");
    let (is_there, span) = (section.is_there(), section.span());
    let customers: Vec<_> = root.sections("customer").into_iter().map(customer).collect();
    let own_domain = section.choice(
        "inbound_own_domain",
        &[("accept", OwnDomain::Accept), ("tag", OwnDomain::Tag), ("reject", OwnDomain::Reject)],
        OwnDomain::Tag,
    );
    let listen = sockets(&section, "listen");
    let listen_tls = sockets(&section, "listen_tls");
    let line = section.line();
    let limits = RelayLimits {
        window: seconds(&section, "window", 600),
        recipients: section.integer("recipients", 0..=10_000_000, 1000),
        invalid_percent: section.integer("invalid_percent", 0..=100, 30),
        invalid_minimum: section.integer("invalid_minimum", 1..=1_000_000, 20),
        sender_domains: section.integer("sender_domains", 0..=100_000, 20),
        suspension: seconds(&section, "suspension", 3600),
    };
    section.describe("backend", "name", "required");
    let backend: Arc<str> =
        if is_there { required(&section, "backend").into() } else { Arc::default() };
    section.finish();
    if !is_there {
        if let Some(customer) = customers.first() {
            root.error_at_line(customer.line, "customer", "needs a section [relay]");
        }
        return None;
    }
    if customers.is_empty() {
        root.error(&span, "customer", "is missing: name those who may send out");
    }
    if listen.is_empty() && listen_tls.is_empty() {
        root.error(&span, "relay.listen", "name an address, such as \"0.0.0.0:587\"");
    }
    if !listen_tls.is_empty() && tls.certificates.is_empty() && !tls.self_signed {
        root.error(&span, "relay.listen_tls", "needs a certificate: see tls.certificates");
    }
    check(root, &customers, tls);
    let policy = Relay { backend: Some(backend), customers, own_domain, line };
    Some(RelaySettings { listen, listen_tls, policy, limits })
}

/// What belongs to one customer belongs to no other.
fn check(root: &Section<'_>, customers: &[Customer], tls: &TlsSettings) {
    for (index, customer) in customers.iter().enumerate() {
        let error = |key: &str, message: String| root.error_at_line(customer.line, key, message);
        if !customer.certificates.is_empty() && tls.client_ca.is_none() {
            error(
                "customer.certificates",
                "needs tls.client_ca, which says who issues them".into(),
            );
        }
        if customer.networks.is_empty() && customer.certificates.is_empty() {
            error("customer.networks", "names no host, and there are no certificates".into());
        }
        for other in &customers[..index] {
            if other.name == customer.name {
                error("customer.name", format!("{} is named twice", clean(&customer.name)));
            }
            for (domain, below) in &customer.domains {
                if other.domains.contains(&(domain.clone(), *below)) {
                    let message = format!("{domain} is {}'s as well", clean(&other.name));
                    error("customer.domains", message);
                }
            }
            for network in &customer.networks {
                if other.networks.contains(network) {
                    let message = format!("{network} is {}'s as well", clean(&other.name));
                    error("customer.networks", message);
                }
            }
            for certificate in &customer.certificates {
                if other.certificates.contains(certificate) {
                    let message = format!("`{}` is named twice", clean(certificate));
                    error("customer.certificates", message);
                }
            }
        }
    }
}

fn customer(section: Section<'_>) -> Customer {
    section.describe("certificates", "list of SHA-256 fingerprints", "");
    section.describe("domains", "", "required");
    let mut certificates = Vec::new();
    for text in section.strings("certificates") {
        // As `openssl x509 -fingerprint -sha256` prints it, with colons or without.
        let digits = text.value.trim_start_matches("sha256:");
        let plain: String = digits.chars().filter(|letter| *letter != ':').collect();
        if plain.len() != 64 || !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!("`{}` is no SHA-256 fingerprint", clean(text.value));
            section.error(&text.span, "certificates", message);
        }
        certificates.push(format!("sha256:{}", plain.to_ascii_lowercase()));
    }
    let domains = domain_names(&section, "domains");
    if domains.is_empty() {
        section.error(&section.span(), "domains", "name at least one, such as [\"example.org\"]");
    }
    let customer = Customer {
        name: required(&section, "name").into(),
        networks: networks(&section, "networks"),
        certificates,
        domains: domains.into_iter().map(|name| (name.domain, name.below)).collect(),
        line: section.line(),
    };
    section.finish();
    customer
}
