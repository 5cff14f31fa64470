//! `[listen]`: where SMTP is served.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::values::{not_a_domain, read_networks, read_sockets};
use crate::smtp::address::Domain;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "SMTP listeners",
    sections: &["listen"],
    before: "Without `[listen]` mxdp is a packet filter only. With it, it stands in front of the mail\n\
             system: `[[domain]]` says for which domains, `[[backend]]` where their mail goes.",
    after: "",
};

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("listen");

keys! {
    /// Addresses where SMTP is served, with STARTTLS if there is a certificate
    restart SMTP = "smtp";
    /// Addresses where SMTP is served that begins with TLS
    restart SMTPS = "smtps";
    /// The name in the greeting, in EHLO and in Received
    live HOSTNAME = "hostname";
    /// Clients that must send a PROXY header (version 1 or 2) at the start of a connection. A
    /// header of any other client is an error
    live PROXY_NETWORKS = "proxy_networks";
}

/// What is known of clients, and told to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Networks whose connections begin with a PROXY header.
    pub proxy_networks: Vec<IpNet>,
    /// The name of this host; the system's where there is none.
    pub hostname: Option<Domain>,
}

/// Where clients are listened to, which is fixed at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenStartup {
    /// The addresses of SMTP with STARTTLS.
    pub smtp: Vec<SocketAddr>,
    /// The addresses of SMTP that begins with TLS.
    pub smtps: Vec<SocketAddr>,
}

/// Reads `[listen]`.
pub(in crate::config) fn read(
    section: Section<'_>,
    has_relay: bool,
    has_tls: bool,
) -> (ListenStartup, Listen) {
    let startup =
        ListenStartup { smtp: read_sockets(&section, SMTP), smtps: read_sockets(&section, SMTPS) };
    section.describe(HOSTNAME, "domain", "the host's name");
    let hostname = section.string(HOSTNAME).and_then(|text| {
        let name = Domain::parse(text.value).ok();
        if name.is_none() {
            section.error(&text.span, HOSTNAME, not_a_domain(text.value));
        }
        name
    });
    let listen = Listen { proxy_networks: read_networks(&section, PROXY_NETWORKS), hostname };
    if !section.has(SMTPS) && !has_relay && section.is_there() {
        section.needs_some(SMTP, "name an address, such as \"0.0.0.0:25\"");
    }
    if !has_tls && !startup.smtps.is_empty() {
        section.missing(SMTPS, "needs a certificate: see tls.certificates");
    }
    section.finish();
    (startup, listen)
}
