//! The SMTP side of the configuration, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::named::NamedFile;
use crate::policy::escalation::Escalation;
use crate::policy::relay::{Relay, RelayLimits};
use crate::policy::reputation::{Kind, Reputation};
use crate::policy::spf::Actions;
use crate::policy::tls::Mode as PeerMode;
use crate::smtp::address::Domain;

/// The SMTP side; a configuration without `[listen]` has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// Where clients are listened to.
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
    /// When addresses are blocked for a time.
    pub escalation: Escalation,
    /// The outgoing relay; none where there is none.
    pub relay: Option<RelaySettings>,
}

/// The outgoing relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// The addresses of SMTP with STARTTLS.
    pub listen: Vec<SocketAddr>,
    /// The addresses of SMTP that begins with TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Who may send out.
    pub policy: Relay,
    /// What a host may do before it is suspended.
    pub limits: RelayLimits,
}

/// SPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spf {
    /// What each result does, where the domain says nothing else.
    pub actions: Actions,
    /// Clients that it is not checked of.
    pub exempt: Vec<IpNet>,
    /// Whether every message gets a Received-SPF field.
    pub header: bool,
    /// Whether replies have what the sender's domain says of a fail.
    pub explanation: bool,
    /// The time for all answers of DNS about a message.
    pub budget: Duration,
}

/// The file of a zone's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneKey {
    /// The service.
    pub kind: Kind,
    /// Which of its zones, from 0.
    pub zone: usize,
    /// The file.
    pub file: PathBuf,
    /// The line of the configuration.
    pub line: u32,
}

/// Where clients are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The addresses of SMTP with STARTTLS.
    pub smtp: Vec<SocketAddr>,
    /// The addresses of SMTP that begins with TLS.
    pub smtps: Vec<SocketAddr>,
    /// Networks whose connections begin with a PROXY header.
    pub proxy_networks: Vec<IpNet>,
    /// The name of this host; the system's where there is none.
    pub hostname: Option<Domain>,
}

/// The bounds of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpLimits {
    /// How long the greeting waits for early talkers.
    pub greeting_pause: Duration,
    /// The largest message, in octets.
    pub message_size: u64,
    /// The most recipients of a message.
    pub recipients: usize,
    /// The most errors of a session.
    pub errors: u32,
    /// The most invalid recipients of a session.
    pub invalid_recipients: u32,
    /// The most Received lines of a message.
    pub hops: u32,
    /// The most connections at once.
    pub connections: usize,
    /// The most connections of one address (IPv6: /64) at once.
    pub connections_per_address: usize,
    /// The time for a command.
    pub command_timeout: Duration,
    /// The time for the next bytes of a message.
    pub data_timeout: Duration,
    /// The octets a second that a message must come with.
    pub data_rate: u64,
    /// Networks whose bare line ends in messages are mended instead of refused.
    pub normalise_networks: Vec<IpNet>,
    /// Whether those in chunks (BDAT) are mended whoever sends them.
    pub normalise_chunks: bool,
}

/// Domains, and what becomes of mail for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEntry {
    /// The names; `*.` before one stands for all below it.
    pub names: Vec<DomainName>,
    /// The backend's name.
    pub backend: Arc<str>,
    /// Files of valid recipients; later ones replace whole domains of earlier.
    pub recipients: Vec<PathBuf>,
    /// The directory that valid recipients come from.
    pub directory: Option<String>,
    /// What separates a user from a detail: `+` in `user+detail`.
    pub subaddress: Option<char>,
    /// What results of SPF do; none where it is not checked.
    pub spf: Option<Actions>,
    /// The line of the configuration.
    pub line: u32,
}

/// A domain, or all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainName {
    /// The domain.
    pub domain: Domain,
    /// Whether the domains below it are meant, and not itself.
    pub below: bool,
}

/// A mail system behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers, `host:port`, in the order in which they are tried.
    pub servers: Vec<String>,
    /// TLS towards it.
    pub tls: BackendTls,
    /// Certificates that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// How it learns the client's address.
    pub client_address: ClientAddress,
    /// The time to connect to a server.
    pub connect_timeout: Duration,
    /// The time for a reply, and for TLS.
    pub reply_timeout: Duration,
    /// The time in which it must take bytes of a message.
    pub data_timeout: Duration,
    /// The time for the reply to a message.
    pub final_timeout: Duration,
}

/// TLS towards a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendTls {
    /// None.
    #[default]
    None,
    /// Where it is offered; whoever shows a certificate is believed.
    Opportunistic,
    /// Always, with a certificate that is valid for the server's name.
    Verified,
}

/// How a backend learns the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// It does not.
    #[default]
    None,
    /// XCLIENT, of Postfix.
    Xclient,
    /// A PROXY header, version 2.
    Proxy,
    /// A PROXY header, version 1.
    ProxyV1,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates with their keys; the first is for clients that name no host
    /// that another is for.
    pub certificates: Vec<Certificate>,
    /// Whether one is made at start, for a trial.
    pub self_signed: bool,
    /// The oldest version: 12 or 13.
    pub minimum: u8,
    /// Whose client certificates are valid; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// What peers must do that no entry names.
    pub default: PeerTls,
    /// What other peers must do.
    pub peers: Vec<TlsPeer>,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the host's own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The line of the configuration.
    pub line: u32,
}

/// What TLS a peer must use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// Whether it is offered and needed.
    pub mode: PeerMode,
    /// The oldest version, where it is needed.
    pub minimum: u8,
    /// Whether a valid client certificate is needed.
    pub certificate: bool,
}

/// What TLS some peers must use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPeer {
    /// Domains of senders.
    pub domains: Vec<DomainName>,
    /// Networks of clients.
    pub networks: Vec<IpNet>,
    /// What they must do.
    pub tls: PeerTls,
    /// The line of the configuration.
    pub line: u32,
}

/// Approved and blocked senders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// Patterns in the configuration, each with its line.
    pub approved: Vec<(String, u32)>,
    /// Patterns in the configuration, each with its line.
    pub blocked: Vec<(String, u32)>,
    /// Files of approved patterns.
    pub approved_files: Vec<PathBuf>,
    /// Files of blocked patterns.
    pub blocked_files: Vec<PathBuf>,
    /// Whether an approved sender is one only where SPF lets it pass.
    pub approve_requires_spf_pass: bool,
}

/// Messages times recipients a minute; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Of one address (IPv6: /64).
    pub per_address: u32,
    /// For one recipient.
    pub per_recipient: u32,
}

/// An LDAP directory that recipients come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its name, for domains.
    pub name: String,
    /// `ldap://` or `ldaps://`.
    pub url: String,
    /// Whether STARTTLS is used.
    pub starttls: bool,
    /// Certificates that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whom to bind as; anonymous where there is none.
    pub bind_dn: Option<String>,
    /// The file of the password.
    pub password_file: Option<PathBuf>,
    /// Where to search.
    pub base: String,
    /// For what.
    pub filter: String,
    /// The attributes with addresses.
    pub attributes: Vec<String>,
    /// How often.
    pub refresh: Duration,
}

impl Smtp {
    /// The ports of its listeners: protected unless the configuration names others. What
    /// another program listens on, 465 and 587 say, is that one's business.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let relay = self.relay.iter();
        let relay = relay.flat_map(|relay| relay.listen.iter().chain(&relay.listen_tls));
        let listening = self.listen.smtp.iter().chain(&self.listen.smtps).chain(relay);
        listening.map(SocketAddr::port)
    }

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
