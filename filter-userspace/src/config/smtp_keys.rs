//! The keys of the SMTP side: for each its type, its range and its default.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::relay_keys;
use super::reputation_keys;
use super::section::{At, Section, clean, code};
use super::smtp::{
    Backend, BackendTls, Certificate, ClientAddress, Directory, DomainEntry, DomainName, Listen,
    PeerTls, Rate, Senders, Smtp, SmtpLimits, Spf, TlsPeer, TlsSettings,
};
use crate::lists::normalise;
use crate::policy::tls::Mode as PeerMode;
use crate::smtp::address::Domain;

/// What is searched for in a directory unless the configuration says otherwise.
const FILTER: &str = "(mail=*)";

/// Where the addresses are in what was found.
const ATTRIBUTE: &str = "mail";

/// Reads every section of the SMTP side; none without `[listen]`.
pub(super) fn smtp(root: &Section<'_>, folder: &Path) -> Option<Smtp> {
    let listen = root.section("listen");
    let wanted = listen.is_there();
    let span = listen.span();
    let (reputation, zone_keys) = reputation_keys::reputation(root.section("reputation"), folder);
    let spf = reputation_keys::spf(root.section("spf"));
    let domains = root.sections("domain").into_iter();
    let tls = tls(root.section("tls"), folder);
    let relay = relay_keys::relay(root, &tls);
    let smtp = Smtp {
        reputation,
        zone_keys,
        escalation: reputation_keys::escalation(root.section("escalation")),
        listen: read_listen(listen),
        limits: limits(root.section("smtp")),
        domains: domains.map(|one| domain(one, folder, spf.as_ref())).collect(),
        spf,
        backends: root.sections("backend").into_iter().map(|one| backend(one, folder)).collect(),
        tls,
        relay,
        senders: senders(root.section("senders"), folder),
        rate: rate(root.section("rate")),
        directories: root.sections("ldap").into_iter().map(|one| ldap(one, folder)).collect(),
    };
    if !wanted {
        for key in [
            "smtp",
            "domain",
            "backend",
            "tls",
            "senders",
            "rate",
            "ldap",
            "reputation",
            "spf",
            "escalation",
            "relay",
            "customer",
        ] {
            if root.has(key) {
                root.error(&(0..0), key, "is for the SMTP side, which needs a section [listen]");
            }
        }
        return None;
    }
    let has_relay = smtp.relay.is_some();
    if smtp.listen.smtp.is_empty() && smtp.listen.smtps.is_empty() && !has_relay {
        root.error(&span, "listen.smtp", "name an address, such as \"0.0.0.0:25\"");
    }
    let has_tls = !smtp.tls.certificates.is_empty() || smtp.tls.self_signed;
    if !has_tls && !smtp.listen.smtps.is_empty() {
        root.error(&span, "listen.smtps", "needs a certificate: see tls.certificates");
    }
    let tls = std::iter::once(&smtp.tls.default).chain(smtp.tls.peers.iter().map(|peer| &peer.tls));
    if !has_tls && tls.into_iter().any(|tls| tls.mode == PeerMode::Mandatory) {
        root.error(
            &span,
            "tls.certificates",
            "TLS is mandatory for a peer: a certificate is needed",
        );
    }
    references(root, &smtp, &span);
    Some(smtp)
}

/// What one section names of another must be there.
fn references(root: &Section<'_>, smtp: &Smtp, span: &std::ops::Range<usize>) {
    if smtp.domains.is_empty() && smtp.relay.is_none() {
        root.error(span, "domain", "is missing: name the domains that mail is taken for");
    }
    if smtp.backends.is_empty() {
        root.error(span, "backend", "is missing: name the mail system behind");
    }
    if let Some(relay) = &smtp.relay
        && let Some(backend) = relay.policy.backend.as_deref().filter(|name| !name.is_empty())
        && smtp.backend(backend).is_none()
    {
        let message = format!("no backend is named `{}`", clean(backend));
        root.error_at_line(relay.policy.line, "relay.backend", message);
    }
    let mut seen: Vec<&DomainName> = Vec::new();
    for entry in &smtp.domains {
        if smtp.backend(&entry.backend).is_none() && !entry.backend.is_empty() {
            let message = format!("no backend is named `{}`", clean(&entry.backend));
            root.error_at_line(entry.line, "domain.backend", message);
        }
        if let Some(name) = &entry.directory
            && !smtp.directories.iter().any(|directory| directory.name == *name)
        {
            let message = format!("no [[ldap]] is named `{}`", clean(name));
            root.error_at_line(entry.line, "domain.ldap", message);
        }
        for name in &entry.names {
            if seen.contains(&name) {
                let message = format!("{} is named twice", name.domain);
                root.error_at_line(entry.line, "domain.names", message);
            }
            seen.push(name);
        }
    }
    for (index, backend) in smtp.backends.iter().enumerate() {
        if smtp.backends[..index].iter().any(|earlier| earlier.name == backend.name) {
            let message = format!("{} is named twice", clean(&backend.name));
            root.error(span, "backend.name", message);
        }
    }
}

fn read_listen(section: Section<'_>) -> Listen {
    section.describe("hostname", "domain", "the host's name");
    let listen = Listen {
        smtp: sockets(&section, "smtp"),
        smtps: sockets(&section, "smtps"),
        proxy_networks: networks(&section, "proxy_networks"),
        hostname: section.string("hostname").and_then(|text| {
            let name = Domain::parse(text.value);
            if name.is_none() {
                section.error(&text.span, "hostname", not_a_domain(text.value));
            }
            name
        }),
    };
    section.finish();
    listen
}

fn limits(section: Section<'_>) -> SmtpLimits {
    let limits = SmtpLimits {
        greeting_pause: Duration::from_millis(section.integer("greeting_pause_ms", 0..=60_000, 0)),
        message_size: section.integer("message_size", 1024..=4_294_967_296, 52_428_800),
        recipients: section.integer("recipients", 1..=100_000, 1000),
        errors: section.integer("errors", 0..=1000, 20),
        invalid_recipients: section.integer("invalid_recipients", 0..=100_000, 20),
        hops: section.integer("hops", 1..=1000, 100),
        connections: section.integer("connections", 1..=1_000_000, 10_000),
        connections_per_address: section.integer("connections_per_address", 1..=1_000_000, 100),
        command_timeout: seconds(&section, "command_timeout", 300),
        data_timeout: seconds(&section, "data_timeout", 180),
        data_rate: section.integer("data_rate", 0..=1_000_000, 64),
        normalise_networks: networks(&section, "normalise_networks"),
        normalise_chunks: section.boolean("normalise_chunks", true),
    };
    section.finish();
    limits
}

fn domain(section: Section<'_>, folder: &Path, spf: Option<&Spf>) -> DomainEntry {
    section.describe("names", "", "required");
    section.describe("subaddress", "`+`, `-`, `=`, `_`", "");
    section.describe("backend", "name", "");
    section.describe("ldap", "name", "");
    section.describe("spf", "", "as `[spf]`");
    let names = domain_names(&section, "names");
    if names.is_empty() {
        section.error(&section.span(), "names", "name at least one, such as [\"example.org\"]");
    }
    let subaddress = section.string("subaddress").and_then(|text| {
        let mut letters = text.value.chars();
        let letter = letters.next().filter(|letter| "+-=_".contains(*letter));
        if letter.is_none() || letters.next().is_some() {
            section.error(&text.span, "subaddress", "is one of \"+\", \"-\", \"=\", \"_\"");
        }
        letter
    });
    let entry = DomainEntry {
        names,
        backend: required(&section, "backend").into(),
        recipients: paths(&section, "recipients", folder),
        directory: section.string("ldap").map(|text| text.value.to_owned()),
        subaddress,
        spf: reputation_keys::domain_spf(section.section("spf"), spf),
        line: section.line(),
    };
    section.finish();
    entry
}

fn backend(section: Section<'_>, folder: &Path) -> Backend {
    section.describe("servers", "list of host:port", "required");
    section.describe("ca", "", "the system's");
    let servers = section.strings("servers");
    for server in &servers {
        let port = server.value.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
            let message = format!("`{}` is not host:port, as 192.0.2.1:25", clean(server.value));
            section.error(&server.span, "servers", message);
        }
    }
    if servers.is_empty() {
        section.error(&section.span(), "servers", "name at least one, such as [\"192.0.2.1:25\"]");
    }
    let backend = Backend {
        name: required(&section, "name").into(),
        servers: servers.iter().map(|server| server.value.to_owned()).collect(),
        tls: section.choice(
            "tls",
            &[
                ("none", BackendTls::None),
                ("opportunistic", BackendTls::Opportunistic),
                ("verified", BackendTls::Verified),
            ],
            BackendTls::None,
        ),
        ca: path(&section, "ca", folder),
        client_address: section.choice(
            "client_address",
            &[
                ("none", ClientAddress::None),
                ("xclient", ClientAddress::Xclient),
                ("proxy", ClientAddress::Proxy),
                ("proxy_v1", ClientAddress::ProxyV1),
            ],
            ClientAddress::None,
        ),
        connect_timeout: seconds(&section, "connect_timeout", 5),
        reply_timeout: seconds(&section, "reply_timeout", 60),
        data_timeout: seconds(&section, "data_timeout", 180),
        final_timeout: seconds(&section, "final_timeout", 600),
    };
    section.finish();
    backend
}

fn tls(section: Section<'_>, folder: &Path) -> TlsSettings {
    let certificates = section.sections("certificates").into_iter().map(|one| {
        for key in ["chain", "key"] {
            one.describe(key, "path", "required in a table");
        }
        let certificate = Certificate {
            chain: folder.join(required(&one, "chain")),
            key: folder.join(required(&one, "key")),
            line: one.line(),
        };
        one.finish();
        certificate
    });
    let certificates = certificates.collect();
    let client_ca = path(&section, "client_ca", folder);
    let minimum = version(&section, 12);
    let default = peer_tls(&section, "default", minimum, client_ca.is_some());
    let peers = section.sections("peers").into_iter().map(|one| {
        one.describe("minimum", "", "`tls.minimum`");
        let peer_minimum = version(&one, minimum);
        let peer = TlsPeer {
            domains: domain_names(&one, "domains"),
            networks: networks(&one, "networks"),
            tls: peer_tls(&one, "mode", peer_minimum, client_ca.is_some()),
            line: one.line(),
        };
        if peer.domains.is_empty() && peer.networks.is_empty() {
            one.error(&one.span(), "domains", "name domains of senders or networks of clients");
        }
        one.finish();
        peer
    });
    let peers = peers.collect();
    let self_signed = section.boolean("self_signed", false);
    section.finish();
    TlsSettings { certificates, self_signed, minimum, client_ca, default, peers }
}

fn version(section: &Section<'_>, default: u8) -> u8 {
    section.choice("minimum", &[("1.2", 12), ("1.3", 13)], default)
}

fn peer_tls(section: &Section<'_>, key: &'static str, minimum: u8, has_ca: bool) -> PeerTls {
    let mode = section.choice(
        key,
        &[
            ("none", PeerMode::None),
            ("opportunistic", PeerMode::Opportunistic),
            ("mandatory", PeerMode::Mandatory),
        ],
        PeerMode::Opportunistic,
    );
    let certificate = section.boolean("client_certificate", false);
    if certificate && !has_ca {
        section.error(&section.span(), "client_certificate", "needs tls.client_ca");
    }
    if certificate && mode != PeerMode::Mandatory {
        section.error(&section.span(), "client_certificate", "needs TLS to be mandatory");
    }
    PeerTls { mode, minimum, certificate }
}

fn senders(section: Section<'_>, folder: &Path) -> Senders {
    let patterns = |key| {
        section.describe(key, "list of patterns", "");
        let found = section.strings(key).into_iter();
        found.map(|text: At<&str>| (text.value.to_owned(), text.line)).collect()
    };
    let senders = Senders {
        approved: patterns("approved"),
        blocked: patterns("blocked"),
        approved_files: paths(&section, "approved_files", folder),
        blocked_files: paths(&section, "blocked_files", folder),
        approve_requires_spf_pass: section.boolean("approve_requires_spf_pass", false),
    };
    section.finish();
    senders
}

fn rate(section: Section<'_>) -> Rate {
    let rate = Rate {
        per_address: section.integer("per_address", 0..=1_000_000, 0),
        per_recipient: section.integer("per_recipient", 0..=1_000_000, 0),
    };
    section.finish();
    rate
}

fn ldap(section: Section<'_>, folder: &Path) -> Directory {
    section.describe("url", "ldap:// or ldaps://", "");
    section.describe("ca", "", "the system's");
    section.describe("bind_dn", "DN", "anonymous");
    section.describe("base", "DN", "");
    section.describe("filter", "filter", &code(FILTER));
    section.describe("attributes", "list of names", &code(format_args!("[\"{ATTRIBUTE}\"]")));
    let url = required(&section, "url");
    if !["ldap://", "ldaps://"].iter().any(|scheme| url.starts_with(scheme)) && !url.is_empty() {
        section.error(&section.span(), "url", "begins with ldap:// or ldaps://");
    }
    if url.contains('@') {
        let message = "is shown in errors, and must have no password: see bind_dn, password_file";
        section.error(&section.span(), "url", message);
    }
    let attributes: Vec<_> =
        section.strings("attributes").iter().map(|text| text.value.to_owned()).collect();
    let directory = Directory {
        name: required(&section, "name"),
        url,
        starttls: section.boolean("starttls", false),
        ca: path(&section, "ca", folder),
        bind_dn: section.string("bind_dn").map(|text| text.value.to_owned()),
        password_file: path(&section, "password_file", folder),
        base: required(&section, "base"),
        filter: section.string("filter").map_or(FILTER.to_owned(), |text| text.value.to_owned()),
        attributes: if attributes.is_empty() { vec![ATTRIBUTE.to_owned()] } else { attributes },
        refresh: seconds(&section, "refresh", 900),
    };
    if directory.bind_dn.is_some() != directory.password_file.is_some() {
        section.error(&section.span(), "bind_dn", "bind_dn and password_file go together");
    }
    section.finish();
    directory
}

pub(super) fn seconds(section: &Section<'_>, key: &'static str, default: u64) -> Duration {
    Duration::from_secs(section.integer(key, 1..=86_400, default))
}

pub(super) fn required(section: &Section<'_>, key: &'static str) -> String {
    section.describe(key, "", "required");
    let Some(text) = section.string(key).filter(|text| !text.value.is_empty()) else {
        if !section.has(key) {
            section.error(&section.span(), key, "is missing");
        }
        return String::new();
    };
    text.value.to_owned()
}

pub(super) fn path(section: &Section<'_>, key: &'static str, folder: &Path) -> Option<PathBuf> {
    section.describe(key, "path", "");
    section.string(key).map(|text| folder.join(text.value))
}

fn paths(section: &Section<'_>, key: &'static str, folder: &Path) -> Vec<PathBuf> {
    section.describe(key, "list of paths", "");
    section.strings(key).iter().map(|text| folder.join(text.value)).collect()
}

pub(super) fn sockets(section: &Section<'_>, key: &'static str) -> Vec<SocketAddr> {
    section.describe(key, "list of address:port", "");
    let parse = |text: &At<&str>| {
        let socket = text.value.parse().ok().filter(|socket: &SocketAddr| socket.port() != 0);
        if socket.is_none() {
            let message = format!("`{}` is not address:port, as 0.0.0.0:25", clean(text.value));
            section.error(&text.span, key, message);
        }
        socket
    };
    section.strings(key).iter().filter_map(parse).collect()
}

pub(super) fn networks(section: &Section<'_>, key: &'static str) -> Vec<IpNet> {
    section.describe(key, "list of addresses and CIDRs", "");
    let parse = |text: &At<&str>| {
        let address = || text.value.parse::<IpAddr>().map(IpNet::from).ok();
        let network = text.value.parse::<IpNet>().ok().or_else(address);
        if network.is_none() {
            let message = format!("`{}` is no address and no network", clean(text.value));
            section.error(&text.span, key, message);
        }
        network.map(normalise)
    };
    section.strings(key).iter().filter_map(parse).collect()
}

pub(super) fn domain_names(section: &Section<'_>, key: &'static str) -> Vec<DomainName> {
    section.describe(key, "list of domains", "");
    let parse = |text: &At<&str>| {
        let below = text.value.strip_prefix("*.");
        let domain = Domain::parse(below.unwrap_or(text.value));
        if domain.is_none() {
            section.error(&text.span, key, not_a_domain(text.value));
        }
        domain.map(|domain| DomainName { domain, below: below.is_some() })
    };
    section.strings(key).iter().filter_map(parse).collect()
}

fn not_a_domain(text: &str) -> String {
    format!("`{}` is no domain, as example.org or *.example.org", clean(text))
}
