//! Keys that are right by themselves and cannot work together: two listeners on one port, and
//! a backend that is mxdp itself.

use std::net::{IpAddr, SocketAddr};

use super::keys::{backend, listen, relay, web};
use super::section::key::Key;
use super::section::{Section, clean};

/// A listener of the configuration, and where it stands.
struct Listener<'a> {
    address: SocketAddr,
    section: Section<'a>,
    key: Key,
    span: std::ops::Range<usize>,
}

/// Notes what cannot start, or loops.
pub(super) fn note_conflicts(root: &Section<'_>) {
    let mut listeners: Vec<Listener<'_>> = Vec::new();
    for (section, key) in [
        (listen::SECTION, listen::SMTP),
        (listen::SECTION, listen::SMTPS),
        (relay::SECTION, relay::LISTEN),
        (relay::SECTION, relay::LISTEN_TLS),
        (web::SECTION, web::LISTEN),
    ] {
        let at = root.section(section);
        let mut addresses: Vec<_> = at
            .strings(key)
            .into_iter()
            .filter_map(|text| Some((text.value.parse().ok()?, text.span)))
            .collect();
        if section == web::SECTION && at.is_there() && !at.has(key) {
            addresses.push((web::DEFAULT_LISTEN, at.span()));
        }
        for (address, span) in addresses {
            let section = root.section(section);
            let new = Listener { address, section, key, span };
            if let Some(other) = listeners.iter().find(|other| overlap(other.address, address)) {
                let place = other.section.name(other.key);
                let message = format!(
                    "{address} is the same port as {} of {place}: only one of them can listen",
                    other.address
                );
                new.section.error(&new.span, key, message);
            }
            listeners.push(new);
        }
    }
    let hostname = root.section(listen::SECTION).string(listen::HOSTNAME).map(|name| name.value);
    for table in root.sections(backend::SECTION) {
        for server in table.strings(backend::SERVERS) {
            let own = listeners.iter().find(|own| is_at(own.address, server.value, hostname));
            if let Some(own) = own {
                let place = own.section.name(own.key);
                // The console cannot loop, and takes no mail either.
                let what = if place == "web.listen" { NO_SMTP } else { LOOP };
                let message = format!(
                    "`{}` is mxdp itself ({} of {place}): {what}; name the address that the mail \
                     system listens on",
                    clean(server.value),
                    own.address,
                );
                table.error(&server.span, backend::SERVERS, message);
            }
        }
    }
}

/// What becomes of mail for a backend that is mxdp itself.
pub(super) const LOOP: &str = "mail would go round in a loop";
pub(super) const NO_SMTP: &str = "the console takes no mail";

/// Whether two sockets cannot both be listened on.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && (one.ip() == other.ip()
            || (one.is_ipv4() == other.is_ipv4()
                && (one.ip().is_unspecified() || other.ip().is_unspecified())))
}

/// Whether a server of a backend is reached at a listener, as far as its name says.
fn is_at(listener: SocketAddr, server: &str, hostname: Option<&str>) -> bool {
    let Some((host, port)) = server.rsplit_once(':') else { return false };
    if port.parse() != Ok(listener.port()) {
        return false;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = |ip: IpAddr| {
        let ip = ip.to_canonical();
        let same_family = ip.is_ipv4() == listener.is_ipv4();
        ip == listener.ip()
            || (same_family
                && listener.ip().is_unspecified()
                && (ip.is_loopback() || ip.is_unspecified()))
    };
    match host.parse::<IpAddr>() {
        Ok(ip) => local(ip),
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            listener.ip().is_loopback() || listener.ip().is_unspecified()
        }
        Err(_) => {
            let name = host.trim_end_matches('.');
            listener.ip().is_unspecified()
                && hostname.is_some_and(|own| own.trim_end_matches('.').eq_ignore_ascii_case(name))
        }
    }
}
