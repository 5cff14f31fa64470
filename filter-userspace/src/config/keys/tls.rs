//! `[tls]`: certificates, and TLS towards clients.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::values::{
    DomainName, read_domain_names, read_networks, read_path, read_required,
};
use crate::policy::tls::Mode as PeerMode;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "TLS towards clients", sections: &["tls"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("tls");

/// The tables of certificates.
pub(in crate::config) const CERTIFICATES: Key = Key::table("certificates");

/// The tables of peers.
pub(in crate::config) const PEERS: Key = Key::table("peers");

keys! {
    /// Makes a certificate at start, for a trial
    live SELF_SIGNED = "self_signed";
    /// The oldest TLS version
    live MINIMUM = "minimum";
    /// The CA certificates that issue valid client certificates, in PEM. Without it no client
    /// certificate is requested. An invalid client certificate, or one of X.509 version 1, is
    /// treated as absent
    live CLIENT_CA = "client_ca";
    /// TLS policy for peers that no `[[tls.peers]]` table matches: never offered, offered, or
    /// required (530 without TLS)
    live DEFAULT = "default";
    /// Whether `tls.default` needs a valid client certificate (550 5.7.8 without)
    live CLIENT_CERTIFICATE = "client_certificate";
}

/// The keys of `[[tls.certificates]]`.
mod certificate {
    use crate::config::section::key::keys;

    keys! {
        /// A certificate with its chain, in PEM. The first table is for clients that name no host,
        /// or a host that no certificate is for; of several for a name, such as ECDSA and RSA, the
        /// first whose key the client can use. A certificate that ends within 14 days is an alarm.
        /// Changed files are loaded; sessions go on
        live CHAIN = "chain";
        /// The private key of the certificate, in PEM
        live KEY = "key";
    }
}

/// The keys of `[[tls.peers]]`.
mod peer {
    use crate::config::section::key::keys;

    keys! {
        /// Peers by the sender's domain. Where a table of the client's network matches too, both
        /// must be met
        live DOMAINS = "domains";
        /// Peers by the client's address; the longest prefix counts
        live NETWORKS = "networks";
        /// TLS policy for these peers
        live MODE = "mode";
        /// The oldest TLS version, where TLS is mandatory (550 5.7.10 below it)
        live MINIMUM = "minimum";
        /// Whether these peers need a valid client certificate
        live CLIENT_CERTIFICATE = "client_certificate";
    }
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

impl TlsSettings {
    /// Whether there is a certificate.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        !self.certificates.is_empty() || self.self_signed
    }
}

/// Reads `[tls]`.
pub(in crate::config) fn read(section: Section<'_>, folder: &Path) -> TlsSettings {
    let certificates = section.sections(CERTIFICATES).into_iter();
    let certificates = certificates.map(|one| read_certificate(one, folder)).collect();
    let client_ca = read_path(&section, CLIENT_CA, folder);
    let minimum = read_version(&section, MINIMUM, 12);
    let has_ca = section.has(CLIENT_CA);
    let default = read_policy(&section, [DEFAULT, CLIENT_CERTIFICATE], minimum, has_ca);
    let peers = section.sections(PEERS).into_iter();
    let peers = peers.map(|one| read_peer(one, minimum, has_ca)).collect();
    let self_signed = section.boolean(SELF_SIGNED, false);
    section.finish();
    TlsSettings { certificates, self_signed, minimum, client_ca, default, peers }
}

fn read_certificate(section: Section<'_>, folder: &Path) -> Certificate {
    for key in [certificate::CHAIN, certificate::KEY] {
        section.describe(key, "path", "required in a table");
    }
    let certificate = Certificate {
        chain: folder.join(read_required(&section, certificate::CHAIN)),
        key: folder.join(read_required(&section, certificate::KEY)),
        line: section.line(),
    };
    section.finish();
    certificate
}

fn read_peer(section: Section<'_>, minimum: u8, has_ca: bool) -> TlsPeer {
    section.describe(peer::MINIMUM, "", "`tls.minimum`");
    let minimum = read_version(&section, peer::MINIMUM, minimum);
    let peer = TlsPeer {
        domains: read_domain_names(&section, peer::DOMAINS),
        networks: read_networks(&section, peer::NETWORKS),
        tls: read_policy(&section, [peer::MODE, peer::CLIENT_CERTIFICATE], minimum, has_ca),
        line: section.line(),
    };
    if !section.has(peer::NETWORKS) {
        section.needs_some(peer::DOMAINS, "name domains of senders or networks of clients");
    }
    section.finish();
    peer
}

fn read_version(section: &Section<'_>, key: Key, default: u8) -> u8 {
    section.choice(key, &[("1.2", 12), ("1.3", 13)], default)
}

/// The policy of peers, by the keys of its mode and of client certificates.
fn read_policy(
    section: &Section<'_>,
    [mode, client_certificate]: [Key; 2],
    minimum: u8,
    has_ca: bool,
) -> PeerTls {
    let mode = section.choice(
        mode,
        &[
            ("none", PeerMode::None),
            ("opportunistic", PeerMode::Opportunistic),
            ("mandatory", PeerMode::Mandatory),
        ],
        PeerMode::Opportunistic,
    );
    let certificate = section.boolean(client_certificate, false);
    if certificate && !has_ca {
        section.missing(client_certificate, "needs tls.client_ca");
    }
    if certificate && mode != PeerMode::Mandatory {
        section.wrong(client_certificate, "needs TLS to be mandatory");
    }
    PeerTls { mode, minimum, certificate }
}
