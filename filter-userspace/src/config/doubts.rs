//! What `mxdp check` says of a configuration whose keys are right: what would go round in
//! a loop on this host, what has no effect, and what does harm.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::conflicts::{LOOP, NO_SMTP};
use super::keys::backend::BackendTls;
use super::keys::syn_rate;
use super::smtp::Smtp;
use super::startup::Startup;
use super::whole::Config;
use crate::policy::reputation::Kind;

/// What a check knows of the host.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The interfaces of the configuration that do not exist.
    pub missing_interfaces: Vec<String>,
    /// The addresses of this host.
    pub addresses: Vec<IpAddr>,
    /// The name servers that would be asked.
    pub resolvers: Vec<IpAddr>,
    /// Files with secrets that others than their owner may read: the key that names one,
    /// the file and its mode.
    pub open_secrets: Vec<(String, PathBuf, u32)>,
}

/// Name servers that answer everybody: DNS lists of which each asker has a share refuse them.
const PUBLIC_RESOLVERS: [&str; 22] = [
    "1.1.1.1",
    "1.0.0.1",
    "1.1.1.2",
    "1.1.1.3",
    "8.8.8.8",
    "8.8.4.4",
    "9.9.9.9",
    "9.9.9.10",
    "9.9.9.11",
    "149.112.112.112",
    "208.67.222.222",
    "208.67.220.220",
    "4.2.2.1",
    "4.2.2.2",
    "64.6.64.6",
    "94.140.14.14",
    "2606:4700:4700::1111",
    "2606:4700:4700::1001",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
    "2620:fe::fe",
    "2620:119:35::35",
];

/// Operators of DNS lists that answer no public name server, but for zones with the
/// customer's key in the name.
const REFUSE_PUBLIC: [&str; 4] = ["spamhaus.org", "uribl.com", "surbl.org", "dnswl.org"];

/// The recipients of a message that must be taken (RFC 5321 section 4.5.3.1.8).
const RECIPIENTS: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// What cannot work on this host, a line each.
    pub errors: Vec<String>,
    /// What has no effect, or does harm, a line each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Looks at the configuration as a whole, on the host that it is for.
    #[must_use]
    pub fn doubts(&self, around: &Surroundings) -> Doubts {
        let mut found = Found { file: self.path.display().to_string(), doubts: Doubts::default() };
        for interface in &around.missing_interfaces {
            found.warn(
                "filter.interfaces",
                format!("there is no interface `{interface}` on this host (see `ip link`)"),
            );
        }
        for (key, path, mode) in &around.open_secrets {
            let path = path.display();
            found.warn(
                key,
                format!(
                    "{path} has mode {:04o}, so others than its owner can use it: `chmod 600 {path}`",
                    mode & 0o7777
                ),
            );
        }
        self.doubt_lists(&mut found);
        if let Some(smtp) = &self.smtp {
            self.doubt_listeners(smtp, &mut found);
            doubt_backends(smtp, &self.startup, around, &mut found);
            doubt_directories(smtp, &mut found);
            doubt_networks(smtp, &mut found);
            doubt_zones(smtp, around, &mut found);
        }
        found.doubts
    }

    fn doubt_lists(&self, found: &mut Found) {
        for entry in &self.inline {
            if entry.class.approves() && entry.net.prefix_len() == 0 {
                found.warn_at(
                    entry.line,
                    "approved.addresses",
                    format!("{} approves every address, so nothing is filtered", entry.net),
                );
            }
        }
        let (rates, capacity) = (&self.syn_rate, self.startup.syn_rate.capacity);
        let is_off = |rate: &filter_common::abi::SynRate| rate.interval_ns == 0;
        if is_off(&rates.ipv4) && is_off(&rates.ipv6) && capacity != syn_rate::DEFAULT_CAPACITY {
            found.warn("syn_rate.capacity", "has no effect without syn_rate.ipv4 or syn_rate.ipv6");
        }
    }

    fn doubt_listeners(&self, smtp: &Smtp, found: &mut Found) {
        let mut listeners: Vec<_> = self.startup.mail_listeners().collect();
        listeners.sort_unstable_by_key(|(key, address)| (*key, address.port()));
        listeners.dedup_by_key(|(key, address)| (*key, address.port()));
        for (key, address) in &listeners {
            let port = address.port();
            if !self.filter.ports.contains(&port) {
                found.warn(
                    key,
                    format!(
                        "port {port} is not in filter.ports, so the packet filter does not protect \
                         it: add {port} there"
                    ),
                );
            }
        }
        for key in ["listen.smtp", "relay.listen"] {
            if !smtp.tls.has_certificate() && listeners.iter().any(|(named, _)| *named == key) {
                found.warn(
                    key,
                    "there is no certificate, so STARTTLS is not offered and mail arrives in plain \
                     text: set tls.certificates",
                );
            }
        }
        let limits = &smtp.limits;
        if limits.recipients < RECIPIENTS {
            found.warn(
                "smtp.recipients",
                format!(
                    "{} is less than the {RECIPIENTS} recipients of a message that senders may \
                     rely on (RFC 5321 section 4.5.3.1.8): mail to more is delayed",
                    limits.recipients
                ),
            );
        }
        let connections = self.startup.mail.as_ref().map(|mail| mail.smtp.connections);
        if let Some(most) = connections.filter(|most| limits.connections_per_address > *most) {
            found.warn(
                "smtp.connections_per_address",
                format!("has no effect above smtp.connections ({most})"),
            );
        }
    }
}

/// What is found, in lines.
struct Found {
    file: String,
    doubts: Doubts,
}

impl Found {
    fn warn(&mut self, key: &str, text: impl Display) {
        self.doubts.warnings.push(format!("{}: {key}: {text}", self.file));
    }

    fn warn_at(&mut self, line: u32, key: &str, text: impl Display) {
        self.doubts.warnings.push(format!("{}:{line}: {key}: {text}", self.file));
    }

    fn error(&mut self, key: &str, text: impl Display) {
        self.doubts.errors.push(format!("{}: {key}: {text}", self.file));
    }
}

fn doubt_backends(smtp: &Smtp, startup: &Startup, around: &Surroundings, found: &mut Found) {
    let relay = smtp.relay.as_ref();
    let listeners: Vec<_> = startup.listeners().collect();
    for backend in &smtp.backends {
        let name = &backend.name;
        let is_used = smtp.domains.iter().any(|domain| domain.backend == *name)
            || relay.is_some_and(|relay| relay.policy.backend.as_ref() == Some(name));
        if !is_used {
            found.warn("backend.name", format!("no domain and no relay uses the backend `{name}`"));
        }
        if backend.ca.is_some() && backend.tls != BackendTls::Verified {
            let text = format!("of `{name}` has no effect without `tls = \"verified\"`");
            found.warn("backend.ca", text);
        }
        for (index, server) in backend.servers.iter().enumerate() {
            if backend.servers[..index].contains(server) {
                found.warn("backend.servers", format!("`{server}` of `{name}` is named twice"));
            }
            let Ok(address) = server.parse::<SocketAddr>() else { continue };
            // Loopback and the listeners' own addresses are errors of the file itself.
            let own = listeners.iter().find(|(_, own)| {
                own.port() == address.port()
                    && own.ip().is_unspecified()
                    && own.is_ipv4() == address.is_ipv4()
                    && around.addresses.contains(&address.ip())
                    && !address.ip().is_loopback()
            });
            if let Some((key, own)) = own {
                let what = if *key == "web.listen" { NO_SMTP } else { LOOP };
                found.error(
                    "backend.servers",
                    format!(
                        "`{server}` is mxdp itself ({own} is on every address of this host): \
                         {what}; name the address that the mail system listens on"
                    ),
                );
            }
        }
    }
}

fn doubt_directories(smtp: &Smtp, found: &mut Found) {
    for directory in &smtp.directories {
        let name = &directory.name;
        if !smtp.domains.iter().any(|domain| domain.directory.as_ref() == Some(name)) {
            found.warn("ldap.name", format!("no domain uses the directory `{name}`"));
        }
        let has_tls = directory.starttls || directory.url.starts_with("ldaps://");
        if directory.ca.is_some() && !has_tls {
            let text = format!("of `{name}` has no effect without TLS: set starttls, or ldaps://");
            found.warn("ldap.ca", text);
        }
        let host = directory.url.trim_start_matches("ldap://");
        let is_here = ["127.", "localhost", "[::1]"].iter().any(|here| host.starts_with(here));
        if directory.bind_dn.is_some() && !has_tls && !is_here {
            let text = format!(
                "{} sends the password in plain text: set starttls, or write ldaps://",
                directory.url
            );
            found.warn("ldap.url", text);
        }
    }
}

/// Whether a network is everybody, or nearly so.
fn is_everybody(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { 8 } else { 16 }
}

fn doubt_networks(smtp: &Smtp, found: &mut Found) {
    let spf = smtp.spf.as_ref();
    let rows: [(&str, &[IpNet], &str); 3] = [
        (
            "listen.proxy_networks",
            &smtp.listen.proxy_networks,
            "may claim to be any client: name the balancers alone",
        ),
        (
            "smtp.normalise_networks",
            &smtp.limits.normalise_networks,
            "may send bare CR and LF, which hide messages in others",
        ),
        ("spf.exempt", spf.map_or(&[], |spf| &spf.exempt), "is not checked, so SPF has no effect"),
    ];
    for (key, networks, harm) in rows {
        for network in networks.iter().filter(|network| is_everybody(network)) {
            found.warn(key, format!("everybody in {network} {harm}"));
        }
    }
    for customer in smtp.relay.iter().flat_map(|relay| &relay.policy.customers) {
        for network in customer.networks.iter().filter(|network| is_everybody(network)) {
            let text =
                format!("everybody in {network} may send out as {}: an open relay", customer.name);
            found.warn_at(customer.line, "customer.networks", text);
        }
    }
}

fn doubt_zones(smtp: &Smtp, around: &Surroundings, found: &mut Found) {
    let is_public = |ip: &&IpAddr| PUBLIC_RESOLVERS.contains(&ip.to_string().as_str());
    let public = around.resolvers.iter().find(is_public);
    for (kind, service) in smtp.reputation.services() {
        let key = match kind {
            Kind::Standard => "reputation.standard",
            Kind::Dynamic => "reputation.dynamic",
        };
        if service.own.is_some() && service.zones.is_empty() {
            found.warn(key, "its code and text have no effect without zones");
        }
        let Some(public) = public else { continue };
        for (index, zone) in service.zones.iter().enumerate() {
            let has_key = smtp.zone_keys.iter().any(|key| (key.kind, key.zone) == (kind, index));
            let name = zone.name.to_ascii_lowercase();
            let below = |domain: &str| {
                name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
            };
            // A zone with the customer's key is answered wherever the question comes from.
            if !has_key && !below("dq.spamhaus.net") && REFUSE_PUBLIC.into_iter().any(below) {
                let text = format!(
                    "{} does not answer public name servers such as {public}: set dns.servers to \
                     a resolver of your own",
                    zone.name
                );
                found.warn_at(zone.line, &format!("{key}.zones"), text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BASE: &str = "[filter]\ninterfaces = [\"eth0\"]\nports = [25, 465]\n";

    fn doubts(text: &str, around: &Surroundings) -> Doubts {
        let text = format!("{BASE}{text}");
        let config = crate::config::parse(&text, Path::new("m.toml"));
        config.unwrap_or_else(|errors| panic!("{errors}")).doubts(around)
    }

    fn warnings(text: &str) -> Vec<String> {
        let found = doubts(text, &Surroundings::default());
        assert_eq!(found.errors, [""; 0]);
        found.warnings
    }

    const GOOD: &str = "[listen]\nsmtp = [\"0.0.0.0:25\"]\nsmtps = [\"[::]:465\"]\n\
        [tls]\ncertificates = [{ chain = \"c\", key = \"k\" }]\n\
        [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
        [[backend]]\nname = \"main\"\nservers = [\"192.0.2.1:25\"]\n";

    #[test]
    fn a_good_configuration_has_no_warnings() {
        assert_eq!(warnings(GOOD), [""; 0]);
        assert_eq!(warnings(""), [""; 0]);
    }

    #[test]
    fn what_has_no_effect_or_does_harm_is_warned_of() {
        let with = |more: &str| format!("{GOOD}{more}");
        for (text, expected) in [
            (GOOD.replace("0.0.0.0:25", "0.0.0.0:2525"), "listen.smtp: port 2525 is not in filter"),
            (GOOD.replace("]:465", "]:4465"), "listen.smtps: port 4465 is not in filter.ports"),
            (
                GOOD.replace("smtps = [\"[::]:465\"]\n", "")
                    .replace("[tls]\ncertificates = [{ chain = \"c\", key = \"k\" }]\n", ""),
                "listen.smtp: there is no certificate",
            ),
            (
                with("[[backend]]\nname = \"old\"\nservers = [\"192.0.2.2:25\"]\n"),
                "no domain and no relay uses the backend `old`",
            ),
            (with("ca = \"ca.pem\"\n"), "backend.ca: of `main` has no effect"),
            (
                GOOD.replace("[\"192.0.2.1:25\"]", "[\"192.0.2.1:25\", \"192.0.2.1:25\"]"),
                "is named twice",
            ),
            (
                with("[[ldap]]\nname = \"ad\"\nurl = \"ldaps://192.0.2.2\"\nbase = \"dc=x\"\n"),
                "ldap.name: no domain uses the directory `ad`",
            ),
            (
                format!(
                    "{}[[ldap]]\nname = \"ad\"\nurl = \"ldap://192.0.2.2\"\nbase = \"dc=x\"\n\
                     bind_dn = \"cn=x\"\npassword_file = \"p\"\n",
                    GOOD.replace("backend = \"main\"\n", "backend = \"main\"\nldap = \"ad\"\n")
                ),
                "sends the password in plain text",
            ),
            (
                GOOD.replace("[listen]\n", "[listen]\nproxy_networks = [\"0.0.0.0/0\"]\n"),
                "listen.proxy_networks: everybody in 0.0.0.0/0 may claim",
            ),
            (with("[spf]\nexempt = [\"::/0\"]\n"), "spf.exempt: everybody in ::/0"),
            (with("[smtp]\nnormalise_networks = [\"0.0.0.0/1\"]\n"), "smtp.normalise_networks"),
            (
                with(
                    "[relay]\nlisten = [\"192.0.2.9:25\"]\nbackend = \"main\"\n[[customer]]\n\
                     name = \"a\"\nnetworks = [\"0.0.0.0/0\"]\ndomains = [\"a.example\"]\n",
                )
                .replace("0.0.0.0:25", "192.0.2.8:25"),
                "an open relay",
            ),
            (with("[approved]\naddresses = [\"0.0.0.0/0\"]\n"), "approves every address"),
            (with("[syn_rate]\ncapacity = 2048\n"), "syn_rate.capacity: has no effect"),
            (with("[smtp]\nconnections = 5\n"), "smtp.connections_per_address: has no effect"),
            (with("[smtp]\nrecipients = 99\n"), "smtp.recipients: 99 is less than the 100"),
            (with("[reputation.standard]\ntext = \"go away\"\n"), "no effect without zones"),
        ] {
            let found = warnings(&text);
            assert_eq!(found.len(), 1, "{expected}: {found:#?}");
            assert!(found[0].contains(expected), "{expected}: {found:#?}");
        }
    }

    #[test]
    fn what_a_host_is_counts() {
        let zones = format!(
            "{GOOD}[[reputation.standard.zones]]\nname = \"zen.spamhaus.org\"\n\
             codes = [\"127.0.0.2\"]\n"
        );
        let around = Surroundings {
            missing_interfaces: vec!["eth0".into()],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            resolvers: vec!["127.0.0.1".parse().unwrap(), "8.8.8.8".parse().unwrap()],
            open_secrets: vec![("ldap.password_file".into(), "/p".into(), 0o100_666)],
        };
        let found = doubts(&zones, &around);
        assert_eq!(found.errors.len(), 1);
        assert!(found.errors[0].contains("`192.0.2.1:25` is mxdp itself"), "{found:?}");
        let console = format!(
            "{zones}[web]\nlisten = [\"0.0.0.0:8025\"]\nplain = true\n\
             [[web.tokens]]\nname = \"a\"\nsha256 = \"{}\"\n",
            "a".repeat(64)
        )
        .replace("192.0.2.1:25", "192.0.2.1:8025");
        let wrong = doubts(&console, &around).errors;
        assert!(wrong.len() == 1 && wrong[0].contains("the console takes no mail"), "{wrong:?}");
        for expected in [
            "there is no interface `eth0`",
            "/p has mode 0666",
            "zen.spamhaus.org does not answer public name servers such as 8.8.8.8",
        ] {
            assert!(found.warnings.iter().any(|line| line.contains(expected)), "{found:#?}");
        }
        assert_eq!(found.warnings.len(), 3, "{found:#?}");
    }
}
