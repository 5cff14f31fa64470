//! What only a restart can change: it is said at every reload, and stays as it was at the
//! start.

use std::net::SocketAddr;

use crate::config::smtp::Smtp;
use crate::config::web::Web;
use crate::config::{self, Config};

/// The changes that a reload does not carry out: what is otherwise than at the start.
/// Asked for at every reload, they are said at every reload, until a restart.
#[must_use]
pub(super) fn needs_restart(started: &Config, new: &Config) -> Vec<String> {
    let old = started;
    let keys = [
        ("filter.mode", old.filter.mode != new.filter.mode),
        ("filter.pin", old.filter.pin != new.filter.pin),
        ("filter.persist", old.filter.persist != new.filter.persist),
        ("filter.debug", old.filter.debug != new.filter.debug),
        ("temporary.capacity", old.temporary != new.temporary),
        ("syn_rate.capacity", old.syn_rate.capacity != new.syn_rate.capacity),
        ("control.socket", old.control.socket != new.control.socket),
        ("state.folder", old.state.folder != new.state.folder),
        ("record", old.record != new.record),
        ("web.listen", console(old) != console(new)),
        ("log", old.log != new.log),
        (
            "listen.smtp",
            of_smtp(old, |smtp| &smtp.listen.smtp) != of_smtp(new, |smtp| &smtp.listen.smtp),
        ),
        (
            "listen.smtps",
            of_smtp(old, |smtp| &smtp.listen.smtps) != of_smtp(new, |smtp| &smtp.listen.smtps),
        ),
        ("relay.listen", relaying(old).map(|it| it.0) != relaying(new).map(|it| it.0)),
        ("relay.listen_tls", relaying(old).map(|it| it.1) != relaying(new).map(|it| it.1)),
        ("smtp.connections", connections(old) != connections(new)),
    ];
    keys.into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| format!("{key} was changed; that takes effect when mxdp is restarted"))
        .collect()
}

/// The sockets of the console.
fn console(config: &Config) -> Option<&[SocketAddr]> {
    config.web.as_ref().map(|web| &web.listen[..])
}

fn of_smtp(config: &Config, sockets: fn(&Smtp) -> &Vec<SocketAddr>) -> Option<&[SocketAddr]> {
    config.smtp.as_ref().map(|smtp| &sockets(smtp)[..])
}

/// The sockets of the relay, without and with TLS.
fn relaying(config: &Config) -> Option<(&[SocketAddr], &[SocketAddr])> {
    let relay = config.smtp.as_ref()?.relay.as_ref()?;
    Some((&relay.listen, &relay.listen_tls))
}

fn connections(config: &Config) -> Option<usize> {
    config.smtp.as_ref().map(|smtp| smtp.limits.connections)
}

/// The new SMTP side, with the sockets of the start; it neither comes nor goes without a
/// restart.
fn keep_sockets(started: &Config, active: &Config, new: Option<Smtp>) -> Option<Smtp> {
    let old = started.smtp.as_ref()?;
    let mut smtp = new.or_else(|| active.smtp.clone())?;
    smtp.listen.smtp.clone_from(&old.listen.smtp);
    smtp.listen.smtps.clone_from(&old.listen.smtps);
    smtp.limits.connections = old.limits.connections;
    if let Some(relay) = &mut smtp.relay {
        let (listen, listen_tls) = relaying(started).unwrap_or_default();
        relay.listen = listen.to_vec();
        relay.listen_tls = listen_tls.to_vec();
    }
    Some(smtp)
}

/// A new configuration with what only a restart can change as it was at the start; `active`
/// is the one before it.
#[must_use]
pub(super) fn keep_until_restart(started: &Config, active: &Config, new: Config) -> Config {
    let old = started;
    // A console neither comes nor goes.
    let web = new.web.zip(console(old));
    let web = web.map(|(web, listen)| Web { listen: listen.to_vec(), ..web });
    Config {
        filter: config::Filter {
            mode: old.filter.mode,
            pin: old.filter.pin.clone(),
            persist: old.filter.persist,
            debug: old.filter.debug,
            ..new.filter
        },
        temporary: old.temporary,
        syn_rate: config::SynRates { capacity: old.syn_rate.capacity, ..new.syn_rate },
        control: old.control.clone(),
        state: old.state.clone(),
        record: old.record.clone(),
        web,
        log: old.log,
        smtp: keep_sockets(old, active, new.smtp),
        ..new
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the reference says needs a restart is what a reload says so of.
    #[test]
    fn the_reference_knows_what_needs_a_restart() {
        let parse = |text: &str| {
            config::parse(text, Path::new("mxdp.toml")).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let old = parse("[filter]\ninterfaces = [\"eth0\"]\n");
        let new = parse(
            "[filter]\ninterfaces = [\"eth1\"]\nmode = \"native\"\npin = \"/p\"\npersist = false\n\
             debug = \"trace\"\n[temporary]\ncapacity = 2048\n[syn_rate]\ncapacity = 2048\n\
             [control]\nsocket = \"/s\"\n[state]\nfolder = \"/f\"\n[record]\ndays = 1\n\
             [web]\nlisten = [\"127.0.0.1:8026\"]\n\
             [log]\nlevel = \"trace\"\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n[[domain]]\n\
             names = [\"example.org\"]\nbackend = \"main\"\n[[backend]]\nname = \"main\"\n\
             servers = [\"192.0.2.1:25\"]\n[relay]\nlisten = [\"0.0.0.0:587\"]\n\
             backend = \"main\"\n[[customer]]\nname = \"c\"\nnetworks = [\"192.0.2.9/32\"]\n\
             domains = [\"c.example\"]\n",
        );
        let said = needs_restart(&old, &new);
        let said: Vec<_> = said.iter().filter_map(|text| text.split(' ').next()).collect();
        let reference = config::reference::markdown();
        let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let (marked, others): (Vec<_>, Vec<_>) =
            rows.partition(|(_, rest)| rest.contains("*restart*"));
        let is_said = |key: &str| {
            said.iter().any(|label| key == *label || key.starts_with(&format!("{label}.")))
        };
        for (key, _) in marked {
            assert!(is_said(key), "{key} is marked, and a reload does not say so: {said:?}");
        }
        for (key, _) in others {
            assert!(!is_said(key), "{key} needs a restart, and is not marked");
        }
        assert!(needs_restart(&old, &old).is_empty());
        // What was kept is said again at the next reload, and no longer when it is taken back.
        let kept = keep_until_restart(&old, &old, new.clone());
        assert_eq!(needs_restart(&old, &kept), Vec::<String>::new());
        let (started, changed) = (new.clone(), old.clone());
        for active in [&started, &changed] {
            let kept = keep_until_restart(&started, active, changed.clone());
            assert_eq!(needs_restart(&started, &changed).len(), said.len(), "at every reload");
            assert_eq!(kept.control, started.control);
        }
    }
}
