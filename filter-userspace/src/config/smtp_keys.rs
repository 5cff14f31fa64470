//! The keys of the SMTP side: for each its type, its range and its default.

use std::path::Path;

use super::named;
use super::relay_keys;
use super::reputation_keys;
use super::section::{At, Section, Unit, clean, code};
use super::smtp::{
    Backend, BackendTls, Certificate, ClientAddress, Directory, DomainEntry, DomainName, Listen,
    PeerTls, Rate, Senders, Smtp, SmtpLimits, Spf, TlsPeer, TlsSettings,
};
use super::values::{
    domain_names, networks, not_a_domain, path, paths, required, seconds, sockets,
};
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
    let (reputation, zone_keys) = reputation_keys::reputation(root.section("reputation"), folder);
    let spf = reputation_keys::spf(root.section("spf"));
    let tls = tls(root.section("tls"), folder);
    let backends: Vec<_> =
        root.sections("backend").into_iter().map(|one| backend(one, folder)).collect();
    let directories: Vec<_> =
        root.sections("ldap").into_iter().map(|one| ldap(one, folder)).collect();
    let client_ca = tls.client_ca.as_deref();
    let named = named::of_sections(&root.section("tls"), client_ca, &backends, &directories);
    let is_whole = |key, read| !root.has(key) || root.count(key) == Some(read);
    let names = Names {
        backends: unique(backends.iter().map(|(backend, section)| (&*backend.name, section)))
            .filter(|names| is_whole("backend", names.len())),
        directories: unique(directories.iter().map(|(one, section)| (one.name.as_str(), section)))
            .filter(|names| is_whole("ldap", names.len())),
    };
    let domains = root.sections("domain").into_iter();
    let domains: Vec<_> = domains.map(|one| domain(one, folder, spf.as_ref(), &names)).collect();
    named_once(&domains);
    let has_tls = has_tls(root, &tls);
    let relay = relay_keys::relay(root, has_tls, &names);
    let listen = read_listen(listen, relay.is_some() || root.has("relay"), has_tls);
    let smtp = Smtp {
        reputation,
        zone_keys,
        escalation: reputation_keys::escalation(root.section("escalation")),
        listen,
        limits: limits(root.section("smtp")),
        domains: finished(domains),
        spf,
        backends: finished(backends),
        tls,
        relay,
        senders: senders(root.section("senders"), folder),
        rate: rate(root.section("rate")),
        directories: finished(directories),
        named,
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
                root.missing(key, "is for the SMTP side, which needs a section [listen]");
            }
        }
        return None;
    }
    let tls = std::iter::once(&smtp.tls.default).chain(smtp.tls.peers.iter().map(|peer| &peer.tls));
    if !has_tls && tls.into_iter().any(|tls| tls.mode == PeerMode::Mandatory) {
        root.wrong(
            "tls",
            "TLS is mandatory for a peer: a certificate is needed, see tls.certificates",
        );
    }
    if !root.has("domain") && !root.has("relay") {
        let message = "is missing: name the domains that mail is accepted for in [[domain]]";
        root.missing("domain", message);
    }
    if !root.has("backend") {
        root.missing("backend", "is missing: name the mail system behind in [[backend]]");
    }
    Some(smtp)
}

/// What sections mention of others: the names that there are. None where one could not
/// be read: then a name that seems unknown may be that one's.
pub(super) struct Names {
    backends: Option<Vec<String>>,
    directories: Option<Vec<String>>,
}

impl Names {
    /// Whether a `[[backend]]` has the name that stands at `key`; else an error there.
    pub(super) fn backend(&self, section: &Section<'_>, key: &'static str, name: &str) {
        Self::must_have(self.backends.as_deref(), section, key, name, "[[backend]]");
    }

    fn directory(&self, section: &Section<'_>, key: &'static str, name: &str) {
        Self::must_have(self.directories.as_deref(), section, key, name, "[[ldap]]");
    }

    fn must_have(
        known: Option<&[String]>,
        section: &Section<'_>,
        key: &'static str,
        name: &str,
        kind: &str,
    ) {
        let Some(known) = known else { return };
        if name.is_empty() || known.iter().any(|known| known == name) {
            return;
        }
        let there = match known {
            [] => format!("there is no {kind}"),
            known => format!("there are {}", clean(&known.join(", "))),
        };
        section.missing(key, format!("no {kind} is named `{}`; {there}", clean(name)));
    }
}

/// The names of tables of one kind, each its own; none where one could not be read.
fn unique<'a, 'b: 'a>(
    tables: impl Iterator<Item = (&'a str, &'a Section<'b>)>,
) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut is_whole = true;
    for (name, section) in tables {
        is_whole &= !name.is_empty();
        if names.iter().any(|known| known == name) {
            section.wrong("name", format!("{} is named twice", clean(name)));
        }
        names.push(name.to_owned());
    }
    is_whole.then_some(names)
}

/// What was read of tables, whose unknown keys are reported now.
pub(super) fn finished<T>(tables: Vec<(T, Section<'_>)>) -> Vec<T> {
    let finish = |(read, section): (T, Section<'_>)| {
        section.finish();
        read
    };
    tables.into_iter().map(finish).collect()
}

/// A domain belongs to one table.
fn named_once(domains: &[(DomainEntry, Section<'_>)]) {
    let mut seen: Vec<&DomainName> = Vec::new();
    for (entry, section) in domains {
        for name in &entry.names {
            if seen.contains(&name) {
                let below = if name.below { "*." } else { "" };
                section.wrong("names", format!("{below}{} is named twice", name.domain));
            }
            seen.push(name);
        }
    }
}

/// Whether there is a certificate, or one that could not be read.
fn has_tls(root: &Section<'_>, tls: &TlsSettings) -> bool {
    !tls.certificates.is_empty() || tls.self_signed || root.section("tls").has("certificates")
}

fn read_listen(section: Section<'_>, has_relay: bool, has_tls: bool) -> Listen {
    section.describe("hostname", "domain", "the host's name");
    let listen = Listen {
        smtp: sockets(&section, "smtp"),
        smtps: sockets(&section, "smtps"),
        proxy_networks: networks(&section, "proxy_networks"),
        hostname: section.string("hostname").and_then(|text| {
            let name = Domain::parse(text.value).ok();
            if name.is_none() {
                section.error(&text.span, "hostname", not_a_domain(text.value));
            }
            name
        }),
    };
    if !section.has("smtps") && !has_relay && section.is_there() {
        section.needs_some("smtp", "name an address, such as \"0.0.0.0:25\"");
    }
    if !has_tls && !listen.smtps.is_empty() {
        section.missing("smtps", "needs a certificate: see tls.certificates");
    }
    section.finish();
    listen
}

fn limits(section: Section<'_>) -> SmtpLimits {
    let limits = SmtpLimits {
        greeting_pause: section.duration("greeting_pause_ms", Unit::Milliseconds, 0..=60_000, 0),
        message_size: section.size("message_size", 1024..=4_294_967_296, 52_428_800),
        recipients: section.integer("recipients", 1..=100_000, 1000),
        errors: section.integer("errors", 0..=1000, 20),
        invalid_recipients: section.integer("invalid_recipients", 0..=100_000, 20),
        hops: section.integer("hops", 1..=1000, 100),
        connections: section.integer("connections", 1..=1_000_000, 10_000),
        connections_per_address: section.integer("connections_per_address", 1..=1_000_000, 100),
        command_timeout: seconds(&section, "command_timeout", 300),
        data_timeout: seconds(&section, "data_timeout", 180),
        data_rate: section.size("data_rate", 0..=1_000_000, 64),
        normalise_networks: networks(&section, "normalise_networks"),
        normalise_chunks: section.boolean("normalise_chunks", true),
    };
    section.finish();
    limits
}

fn domain<'a>(
    section: Section<'a>,
    folder: &Path,
    spf: Option<&Spf>,
    known: &Names,
) -> (DomainEntry, Section<'a>) {
    section.describe("names", "", "required");
    section.describe("subaddress", "`+`, `-`, `=`, `_`", "");
    section.describe("backend", "name", "");
    section.describe("ldap", "name", "");
    section.describe("spf", "", "as `[spf]`");
    let names = domain_names(&section, "names");
    section.needs_some("names", "name at least one, such as [\"example.org\"]");
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
    known.backend(&section, "backend", &entry.backend);
    if let Some(name) = &entry.directory {
        known.directory(&section, "ldap", name);
    }
    (entry, section)
}

fn backend<'a>(section: Section<'a>, folder: &Path) -> (Backend, Section<'a>) {
    section.describe("servers", "list of host:port", "required");
    section.describe("ca", "", "the system's");
    let servers = section.strings("servers");
    for server in &servers {
        let port = server.value.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
            let message =
                format!("`{}` is not a host and port, such as 192.0.2.1:25", clean(server.value));
            section.error(&server.span, "servers", message);
        }
    }
    section.needs_some("servers", "name at least one, such as [\"192.0.2.1:25\"]");
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
    (backend, section)
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
    let has_ca = section.has("client_ca");
    let default = peer_tls(&section, "default", minimum, has_ca);
    let peers = section.sections("peers").into_iter().map(|one| {
        one.describe("minimum", "", "`tls.minimum`");
        let peer_minimum = version(&one, minimum);
        let peer = TlsPeer {
            domains: domain_names(&one, "domains"),
            networks: networks(&one, "networks"),
            tls: peer_tls(&one, "mode", peer_minimum, has_ca),
            line: one.line(),
        };
        if !one.has("networks") {
            one.needs_some("domains", "name domains of senders or networks of clients");
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
        section.missing("client_certificate", "needs tls.client_ca");
    }
    if certificate && mode != PeerMode::Mandatory {
        section.wrong("client_certificate", "needs TLS to be mandatory");
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

fn ldap<'a>(section: Section<'a>, folder: &Path) -> (Directory, Section<'a>) {
    section.describe("url", "ldap:// or ldaps://", "");
    section.describe("ca", "", "the system's");
    section.describe("bind_dn", "DN", "anonymous");
    section.describe("base", "DN", "");
    section.describe("filter", "filter", &code(FILTER));
    section.describe("attributes", "list of names", &code(format_args!("[\"{ATTRIBUTE}\"]")));
    let url = required(&section, "url");
    if !["ldap://", "ldaps://"].iter().any(|scheme| url.starts_with(scheme)) && !url.is_empty() {
        section.wrong("url", "begins with ldap:// or ldaps://");
    }
    if url.contains('@') {
        let message = "is shown in errors, and must have no password: see bind_dn, password_file";
        section.wrong("url", message);
    }
    if section.has("starttls") && url.starts_with("ldaps://") {
        section
            .wrong("starttls", "ldaps:// begins with TLS: leave `starttls` out, or write ldap://");
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
    if section.has("bind_dn") != section.has("password_file") {
        section.missing("bind_dn", "bind_dn and password_file go together");
    }
    (directory, section)
}
