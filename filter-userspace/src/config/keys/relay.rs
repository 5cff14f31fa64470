//! `[relay]` and `[[customer]]`: the outgoing relay.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::config::names::{Names, finished};
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, clean};
use crate::config::values::{
    read_domain_names, read_networks, read_required, read_seconds, read_sockets,
};
use crate::policy::relay::{Customer, OwnDomain, Relay, RelayLimits};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "The outgoing relay",
    sections: &["relay", "customer"],
    before: "With `[relay]` mxdp accepts mail from customers' hosts on listeners of its own and passes\n\
             it on to a backend. No list and no reputation is asked about them; the SYN filter is, if\n\
             `filter.ports` has the port.",
    after: "",
};

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("relay");

/// The tables of customers.
pub(in crate::config) const CUSTOMER: Key = Key::table("customer");

keys! {
    /// Addresses where customers' mail is accepted, with STARTTLS if there is a certificate
    restart LISTEN = "listen";
    /// Addresses where customers' mail is accepted by SMTP that begins with TLS
    restart LISTEN_TLS = "listen_tls";
    /// The `[[backend]]` that gets customers' mail
    live BACKEND = "backend";
    /// What happens to incoming mail of a stranger whose sender is in a customer's domain:
    /// `accept` does nothing; `tag` adds the header field X-MXDP-Forged-Sender; `reject` is 550
    /// 5.7.1
    live INBOUND_OWN_DOMAIN = "inbound_own_domain";
    /// Length of the window in which a host's recipients are counted
    live WINDOW = "window";
    /// The most recipients of a host in the window; more suspend it. 0 means no limit
    live RECIPIENTS = "recipients";
    /// The greatest share of invalid recipients; a greater one suspends the host. 0 means no
    /// limit
    live INVALID_PERCENT = "invalid_percent";
    /// The number of recipients from which on that share is judged
    live INVALID_MINIMUM = "invalid_minimum";
    /// The most sender domains of a host in the window; more suspend it. 0 means no limit
    live SENDER_DOMAINS = "sender_domains";
    /// Length of a suspension. `mxdp relay resume` ends it
    live SUSPENSION = "suspension";
}

/// The keys of `[[customer]]`.
mod customer {
    use crate::config::section::key::keys;

    keys! {
        /// The name of the customer
        live NAME = "name";
        /// The customer's hosts; the longest prefix counts
        live NETWORKS = "networks";
        /// The certificates of the customer's hosts, issued by `tls.client_ca`, as `openssl x509
        /// -fingerprint -sha256` prints them; they count before networks
        live CERTIFICATES = "certificates";
        /// The domains that the customer sends for
        live DOMAINS = "domains";
    }
}

/// The outgoing relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// Who may send out.
    pub policy: Relay,
    /// What a host may do before it is suspended.
    pub limits: RelayLimits,
}

/// Where customers are listened to, which is fixed at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RelayStartup {
    /// The addresses of SMTP with STARTTLS.
    pub listen: Vec<SocketAddr>,
    /// The addresses of SMTP that begins with TLS.
    pub listen_tls: Vec<SocketAddr>,
}

/// Reads `[relay]` and `[[customer]]`; none without the section.
pub(in crate::config) fn read(
    root: &Section<'_>,
    has_tls: bool,
    has_ca: bool,
    names: &Names,
) -> Option<(RelayStartup, RelaySettings)> {
    let section = root.section(SECTION);
    let is_there = section.is_there();
    let customers: Vec<_> = root.sections(CUSTOMER).into_iter().map(read_customer).collect();
    check_customers(&customers, has_ca);
    let customers = finished(customers);
    let startup = RelayStartup {
        listen: read_sockets(&section, LISTEN),
        listen_tls: read_sockets(&section, LISTEN_TLS),
    };
    section.describe(BACKEND, "name", "required");
    let own_domain = section.choice(
        INBOUND_OWN_DOMAIN,
        &[("accept", OwnDomain::Accept), ("tag", OwnDomain::Tag), ("reject", OwnDomain::Reject)],
        OwnDomain::Tag,
    );
    let line = section.line();
    let limits = read_relay_limits(&section);
    let backend: Arc<str> =
        if is_there { read_required(&section, BACKEND).into() } else { Arc::default() };
    if !is_there {
        if root.has(CUSTOMER) {
            root.missing(CUSTOMER, "needs a section [relay]");
        }
        section.finish();
        return None;
    }
    names.backend(&section, BACKEND, &backend);
    if !root.has(CUSTOMER) {
        root.missing(CUSTOMER, "is missing: name those who may send out in [[customer]]");
    }
    if !section.has(LISTEN_TLS) {
        section.needs_some(LISTEN, "name an address, such as \"0.0.0.0:587\"");
    }
    if !startup.listen_tls.is_empty() && !has_tls {
        section.missing(LISTEN_TLS, "needs a certificate: see tls.certificates");
    }
    section.finish();
    let policy = Relay { backend: Some(backend), customers, own_domain, line };
    Some((startup, RelaySettings { policy, limits }))
}

fn read_relay_limits(section: &Section<'_>) -> RelayLimits {
    RelayLimits {
        window: read_seconds(section, WINDOW, 600),
        recipients: section.integer(RECIPIENTS, 0..=10_000_000, 1000),
        invalid_percent: section.integer(INVALID_PERCENT, 0..=100, 30),
        invalid_minimum: section.integer(INVALID_MINIMUM, 1..=1_000_000, 20),
        sender_domains: section.integer(SENDER_DOMAINS, 0..=100_000, 20),
        suspension: read_seconds(section, SUSPENSION, 3600),
    }
}

/// What belongs to one customer belongs to no other.
fn check_customers(customers: &[(Customer, Section<'_>)], has_ca: bool) {
    for (index, (customer, section)) in customers.iter().enumerate() {
        let error = |key: Key, message: String| section.wrong(key, message);
        if section.has(customer::CERTIFICATES) && !has_ca {
            error(customer::CERTIFICATES, "needs tls.client_ca, which says who issues them".into());
        }
        if !section.has(customer::CERTIFICATES) {
            section.needs_some(customer::NETWORKS, "names no host, and there are no certificates");
        }
        for (other, _) in &customers[..index] {
            if other.name == customer.name && !customer.name.is_empty() {
                error(customer::NAME, format!("{} is named twice", clean(&customer.name)));
            }
            for (domain, below) in &customer.domains {
                if other.domains.contains(&(domain.clone(), *below)) {
                    let message = format!("{domain} is {}'s as well", clean(&other.name));
                    error(customer::DOMAINS, message);
                }
            }
            for network in &customer.networks {
                if other.networks.contains(network) {
                    let message = format!("{network} is {}'s as well", clean(&other.name));
                    error(customer::NETWORKS, message);
                }
            }
            for certificate in &customer.certificates {
                if other.certificates.contains(certificate) {
                    let message = format!("`{}` is named twice", clean(certificate));
                    error(customer::CERTIFICATES, message);
                }
            }
        }
    }
}

fn read_customer(section: Section<'_>) -> (Customer, Section<'_>) {
    section.describe(customer::CERTIFICATES, "array of SHA-256 fingerprints", "");
    section.describe(customer::DOMAINS, "", "required");
    let mut certificates = Vec::new();
    for text in section.strings(customer::CERTIFICATES) {
        // As `openssl x509 -fingerprint -sha256` prints it, with colons or without.
        let digits = text.value.trim_start_matches("sha256:");
        let plain: String = digits.chars().filter(|letter| *letter != ':').collect();
        if plain.len() != 64 || !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!(
                "`{}` is not a SHA-256 fingerprint of 64 hexadecimal digits",
                clean(text.value)
            );
            section.error(&text.span, customer::CERTIFICATES, message);
            continue;
        }
        certificates.push(format!("sha256:{}", plain.to_ascii_lowercase()));
    }
    let domains = read_domain_names(&section, customer::DOMAINS);
    section.needs_some(customer::DOMAINS, "name at least one, such as [\"example.org\"]");
    let customer = Customer {
        name: read_required(&section, customer::NAME).into(),
        networks: read_networks(&section, customer::NETWORKS),
        certificates,
        domains: domains.into_iter().map(|name| (name.domain, name.below)).collect(),
        line: section.line(),
    };
    (customer, section)
}
