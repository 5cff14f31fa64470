//! The keys of the outgoing relay.

use std::sync::Arc;

use super::section::{Section, clean};
use super::smtp::RelaySettings;
use super::smtp_keys::{Names, finished};
use super::values::{domain_names, networks, required, seconds, sockets};
use crate::policy::relay::{Customer, OwnDomain, Relay, RelayLimits};

/// The relay; none without the section.
pub(super) fn relay(root: &Section<'_>, has_tls: bool, names: &Names) -> Option<RelaySettings> {
    let section = root.section("relay");
    let is_there = section.is_there();
    let customers: Vec<_> = root.sections("customer").into_iter().map(customer).collect();
    check(&customers, root.section("tls").has("client_ca"));
    let customers = finished(customers);
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
    if !is_there {
        if root.has("customer") {
            root.missing("customer", "needs a section [relay]");
        }
        section.finish();
        return None;
    }
    names.backend(&section, "backend", &backend);
    if !root.has("customer") {
        root.missing("customer", "is missing: name those who may send out in [[customer]]");
    }
    if !section.has("listen_tls") {
        section.needs_some("listen", "name an address, such as \"0.0.0.0:587\"");
    }
    if !listen_tls.is_empty() && !has_tls {
        section.missing("listen_tls", "needs a certificate: see tls.certificates");
    }
    section.finish();
    let policy = Relay { backend: Some(backend), customers, own_domain, line };
    Some(RelaySettings { listen, listen_tls, policy, limits })
}

/// What belongs to one customer belongs to no other.
fn check(customers: &[(Customer, Section<'_>)], has_ca: bool) {
    for (index, (customer, section)) in customers.iter().enumerate() {
        let error = |key: &'static str, message: String| section.wrong(key, message);
        if section.has("certificates") && !has_ca {
            error("certificates", "needs tls.client_ca, which says who issues them".into());
        }
        if !section.has("certificates") {
            section.needs_some("networks", "names no host, and there are no certificates");
        }
        for (other, _) in &customers[..index] {
            if other.name == customer.name && !customer.name.is_empty() {
                error("name", format!("{} is named twice", clean(&customer.name)));
            }
            for (domain, below) in &customer.domains {
                if other.domains.contains(&(domain.clone(), *below)) {
                    let message = format!("{domain} is {}'s as well", clean(&other.name));
                    error("domains", message);
                }
            }
            for network in &customer.networks {
                if other.networks.contains(network) {
                    let message = format!("{network} is {}'s as well", clean(&other.name));
                    error("networks", message);
                }
            }
            for certificate in &customer.certificates {
                if other.certificates.contains(certificate) {
                    let message = format!("`{}` is named twice", clean(certificate));
                    error("certificates", message);
                }
            }
        }
    }
}

fn customer(section: Section<'_>) -> (Customer, Section<'_>) {
    section.describe("certificates", "list of SHA-256 fingerprints", "");
    section.describe("domains", "", "required");
    let mut certificates = Vec::new();
    for text in section.strings("certificates") {
        // As `openssl x509 -fingerprint -sha256` prints it, with colons or without.
        let digits = text.value.trim_start_matches("sha256:");
        let plain: String = digits.chars().filter(|letter| *letter != ':').collect();
        if plain.len() != 64 || !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!(
                "`{}` is not a SHA-256 fingerprint of 64 hexadecimal digits",
                clean(text.value)
            );
            section.error(&text.span, "certificates", message);
            continue;
        }
        certificates.push(format!("sha256:{}", plain.to_ascii_lowercase()));
    }
    let domains = domain_names(&section, "domains");
    section.needs_some("domains", "name at least one, such as [\"example.org\"]");
    let customer = Customer {
        name: required(&section, "name").into(),
        networks: networks(&section, "networks"),
        certificates,
        domains: domains.into_iter().map(|name| (name.domain, name.below)).collect(),
        line: section.line(),
    };
    (customer, section)
}
