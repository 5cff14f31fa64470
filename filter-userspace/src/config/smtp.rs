//! The SMTP side of the configuration: its sections together.

use std::path::Path;

use serde::Serialize;

use super::keys::{
    backend, domain, escalation, ldap, listen, rate, relay, reputation, senders, smtp, spf, tls,
};
use super::named::{NamedFile, of_sections};
use super::names::{Names, finished, unique};
use super::section::Section;
use super::section::key::Key;
use crate::policy::escalation::Escalation;
use crate::policy::reputation::Reputation;
use crate::policy::tls::Mode as PeerMode;

pub use super::keys::backend::{Backend, BackendTls, ClientAddress};
pub use super::keys::domain::DomainEntry;
pub use super::keys::ldap::Directory;
pub use super::keys::listen::{Listen, ListenStartup};
pub use super::keys::rate::Rate;
pub use super::keys::relay::{RelaySettings, RelayStartup};
pub use super::keys::reputation::ZoneKey;
pub use super::keys::senders::Senders;
pub use super::keys::smtp::{SmtpLimits, SmtpStartup};
pub use super::keys::spf::Spf;
pub use super::keys::tls::{Certificate, PeerTls, TlsPeer, TlsSettings};
pub use super::values::DomainName;

/// The SMTP side; a configuration without `[listen]` has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// What is known of clients, and told to them.
    pub listen: Listen,
    /// The bounds of sessions.
    pub limits: SmtpLimits,
    /// Domains that mail is taken for; at least one, but for a relay alone.
    pub domains: Vec<DomainEntry>,
    /// The mail systems behind, at least one.
    pub backends: Vec<Backend>,
    /// TLS towards clients.
    pub tls: TlsSettings,
    /// Approved and blocked senders.
    pub senders: Senders,
    /// Messages and recipients a minute.
    pub rate: Rate,
    /// Directories that recipients come from.
    pub directories: Vec<Directory>,
    /// The files of certificates that are trusted, and of passwords.
    pub named: Vec<NamedFile>,
    /// The DNS lists that are asked about clients.
    pub reputation: Reputation,
    /// The files of the keys of some of them.
    pub zone_keys: Vec<ZoneKey>,
    /// SPF; none where it is not checked.
    pub spf: Option<Spf>,
    /// When addresses are blocked temporarily.
    pub escalation: Escalation,
    /// The outgoing relay; none where there is none.
    pub relay: Option<RelaySettings>,
}

/// What of the SMTP side is fixed at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MailStartup {
    /// Where clients are listened to.
    pub listen: ListenStartup,
    /// How many connections there may be.
    pub smtp: SmtpStartup,
    /// Where customers are listened to; none without a relay.
    pub relay: Option<RelayStartup>,
}

impl Smtp {
    /// Whether name servers are asked about mail.
    #[must_use]
    pub fn asks_dns(&self) -> bool {
        let names = self.backends.iter().any(|one| one.client_address == ClientAddress::Xclient);
        self.reputation.is_on() || self.spf.is_some() || self.relay.is_some() || names
    }

    /// The backend of a name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| &*backend.name == name)
    }
}

/// Reads every section of the SMTP side; none without `[listen]`.
pub(super) fn read(root: &Section<'_>, folder: &Path) -> Option<(MailStartup, Smtp)> {
    let listen = root.section(listen::SECTION);
    let is_there = listen.is_there();
    let (reputation, zone_keys) = reputation::read(root.section(reputation::SECTION), folder);
    let spf = spf::read(root.section(spf::SECTION));
    let has_ca = root.section(tls::SECTION).has(tls::CLIENT_CA);
    let tls = tls::read(root.section(tls::SECTION), folder);
    let backends = root.sections(backend::SECTION).into_iter();
    let backends: Vec<_> = backends.map(|one| backend::read(one, folder)).collect();
    let directories = root.sections(ldap::SECTION).into_iter();
    let directories: Vec<_> = directories.map(|one| ldap::read(one, folder)).collect();
    let client_ca = tls.client_ca.as_deref();
    let named = of_sections(&root.section(tls::SECTION), client_ca, &backends, &directories);
    let names = read_names(root, &backends, &directories);
    let domains = root.sections(domain::SECTION).into_iter();
    let domains: Vec<_> =
        domains.map(|one| domain::read(one, folder, spf.as_ref(), &names)).collect();
    domain::check_names(&domains);
    // One that could not be read counts.
    let has_tls = tls.has_certificate() || root.section(tls::SECTION).has(tls::CERTIFICATES);
    let relay = relay::read(root, has_tls, has_ca, &names);
    let has_relay = relay.is_some() || root.has(relay::SECTION);
    let (listen_startup, listen) = listen::read(listen, has_relay, has_tls);
    let (smtp_startup, limits) = smtp::read(root.section(smtp::SECTION));
    let (relay_startup, relay) = relay.unzip();
    let startup = MailStartup { listen: listen_startup, smtp: smtp_startup, relay: relay_startup };
    let smtp = Smtp {
        reputation,
        zone_keys,
        escalation: escalation::read(root.section(escalation::SECTION)),
        listen,
        limits,
        domains: finished(domains),
        spf,
        backends: finished(backends),
        tls,
        relay,
        senders: senders::read(root.section(senders::SECTION), folder),
        rate: rate::read(root.section(rate::SECTION)),
        directories: finished(directories),
        named,
    };
    if !is_there {
        refuse_without_listen(root);
        return None;
    }
    check_whole(root, &smtp, has_tls);
    Some((startup, smtp))
}

fn read_names(
    root: &Section<'_>,
    backends: &[(Backend, Section<'_>)],
    directories: &[(Directory, Section<'_>)],
) -> Names {
    let is_whole = |key: Key, read| !root.has(key) || root.count(key) == Some(read);
    let named = backends.iter().map(|(backend, section)| (&*backend.name, section));
    let backends =
        unique(named, backend::NAME).filter(|names| is_whole(backend::SECTION, names.len()));
    let named = directories.iter().map(|(one, section)| (one.name.as_str(), section));
    let directories =
        unique(named, ldap::NAME).filter(|names| is_whole(ldap::SECTION, names.len()));
    Names { backends, directories }
}

/// Notes the sections that mean nothing without `[listen]`.
fn refuse_without_listen(root: &Section<'_>) {
    for key in [
        smtp::SECTION,
        domain::SECTION,
        backend::SECTION,
        tls::SECTION,
        senders::SECTION,
        rate::SECTION,
        ldap::SECTION,
        reputation::SECTION,
        spf::SECTION,
        escalation::SECTION,
        relay::SECTION,
        relay::CUSTOMER,
    ] {
        if root.has(key) {
            root.missing(key, "is for the SMTP side, which needs a section [listen]");
        }
    }
}

/// Notes what sections need of each other.
fn check_whole(root: &Section<'_>, smtp: &Smtp, has_tls: bool) {
    let tls = std::iter::once(&smtp.tls.default).chain(smtp.tls.peers.iter().map(|peer| &peer.tls));
    if !has_tls && tls.into_iter().any(|tls| tls.mode == PeerMode::Mandatory) {
        root.wrong(
            tls::SECTION,
            "TLS is mandatory for a peer: a certificate is needed, see tls.certificates",
        );
    }
    if !root.has(domain::SECTION) && !root.has(relay::SECTION) {
        let message = "is missing: name the domains that mail is accepted for in [[domain]]";
        root.missing(domain::SECTION, message);
    }
    if !root.has(backend::SECTION) {
        let message = "is missing: name the mail system behind in [[backend]]";
        root.missing(backend::SECTION, message);
    }
}
