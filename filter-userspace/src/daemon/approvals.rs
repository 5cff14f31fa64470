//! Domains whose hosts are approved by their SPF records: looked up when the TTL is
//! over, and kept in files of the state folder, which are read like any other list.
//! So name servers that are away change nothing, not even across a restart, and neither
//! does a record that has suddenly lost most of its networks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::message::{Message, Origin};
use crate::config::{Config, Dns, SpfDomain};
use crate::generation::answers::{self, SPF};
use crate::generation::sources;
use crate::io::dns::Resolver;
use crate::io::last_good::Copies;
use crate::io::spf::Evaluator;
use crate::io::workers::Workers;
use crate::io::{clock, state};

/// The time for all answers about a domain.
const BUDGET: Duration = Duration::from_secs(20);

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// A domain is looked up so often at most, whatever its TTL; and at least.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_hours(24);

/// What is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    domains: Vec<SpfDomain>,
    dns: Dns,
    state: PathBuf,
    file_bytes: u64,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            domains: config.approved_spf.clone(),
            dns: config.dns.clone(),
            state: config.startup.state.folder.clone(),
            file_bytes: config.limits.file_bytes,
        }
    }
}

/// Follows the domains that are wanted, until the daemon ends.
pub(super) async fn follow(mut wanted: watch::Receiver<Wanted>, messages: mpsc::Sender<Message>) {
    let mut due: Vec<(SpfDomain, Instant)> = Vec::new();
    let mut resolver: Option<Arc<Resolver>> = None;
    let workers = Arc::new(Workers::default());
    loop {
        let now = wanted.borrow_and_update().clone();
        let old = std::mem::take(&mut due);
        let when = |domain: &SpfDomain| {
            let known = old.iter().find(|(known, _)| known.domain == domain.domain);
            known.map_or_else(Instant::now, |(_, when)| *when)
        };
        due = now.domains.iter().map(|domain| (domain.clone(), when(domain))).collect();
        if !due.is_empty() {
            resolver = Resolver::new(&now.dns, resolver.as_ref())
                .inspect_err(|error| tracing::error!("approved.spf: {error}"))
                .ok();
        }
        for (domain, when) in due.iter_mut().filter(|(_, when)| *when <= Instant::now()) {
            let Some(resolver) = &resolver else { break };
            resolver.follow_system();
            let evaluator = Evaluator { resolver: resolver.clone(), workers: workers.clone() };
            let wait = look_up(&evaluator, domain, &now, &messages).await;
            *when = Instant::now() + wait;
        }
        // Without a resolver, or anything to do: try again now and then.
        let next = due.iter().map(|(_, when)| *when).min().filter(|_| resolver.is_some());
        let next = next.unwrap_or_else(|| Instant::now() + RETRY);
        tokio::select! {
            () = sleep_until(next) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// Looks a domain up, and says for how long that holds.
async fn look_up(
    evaluator: &Evaluator,
    domain: &SpfDomain,
    wanted: &Wanted,
    messages: &mpsc::Sender<Message>,
) -> Duration {
    let name = domain.domain.to_string();
    let found = evaluator.networks(domain.domain.as_str(), BUDGET).await;
    let path = answers::networks_file(&wanted.state, domain);
    let copies = Copies::new(&wanted.state, wanted.file_bytes);
    let (failure, wait) = match found {
        Ok(found) => {
            let mut text = String::new();
            for (network, origin) in &found.networks {
                // Writing to a text does not fail.
                _ = writeln!(text, "{network} {origin}");
            }
            for note in &found.notes {
                _ = writeln!(text, "# {note}");
            }
            let kept = keep(&path, &text, domain, &copies);
            if kept == Ok(true) {
                let why = "the SPF record of an approved domain changed";
                _ = messages.send(Message::Reload(why)).await;
            }
            (kept.err(), found.ttl.clamp(SHORTEST, LONGEST))
        }
        Err(error) => (Some(error), RETRY),
    };
    let failure = failure.map(|error| {
        let known = if path.exists() { "its last networks stand" } else { "none is approved" };
        format!("approved.spf {name}: {error}; {known} meanwhile")
    });
    _ = messages.send(Message::SourceChecked(Origin::Spf(name), failure)).await;
    wait
}

/// Keeps the networks of a domain, unless too much of the last ones is gone; whether they are
/// news.
fn keep(path: &Path, text: &str, domain: &SpfDomain, copies: &Copies) -> Result<bool, String> {
    // A file that cannot be read is as none.
    let before = fs::read_to_string(path).ok();
    if before.as_deref() == Some(text) {
        copies.remove(&answers::held_networks(domain));
        return Ok(false);
    }
    let counts = |text: &str| {
        sources::counts(
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count(),
        )
    };
    let lost = before.and_then(|before| sources::lost(&counts(text), &counts(&before)));
    if let Some(lost) = lost {
        let now = clock::unix_seconds();
        copies.write(
            &answers::held_networks(domain),
            text.as_bytes(),
            now,
            counts(text),
            Vec::new(),
        )?;
        let name = &domain.domain;
        return Err(format!("{lost}; if that is meant: mxdp reload --accept {SPF}{name}"));
    }
    state::replace(path, text.as_bytes())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    copies.remove(&answers::held_networks(domain));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_record_that_has_lost_most_is_held_until_it_is_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[filter]\ninterfaces = [\"lo\"]\n[state]\nfolder = \"{}\"\n\
             [approved]\nspf = [\"a.example\"]\n",
            folder.path().display()
        );
        let config = config::parse(&text, Path::new("mxdp.toml")).expect("a configuration");
        let domain = &config.approved_spf[0];
        let (state, bytes) = (&config.startup.state.folder, config.limits.file_bytes);
        let (path, copies) = (answers::networks_file(state, domain), Copies::new(state, bytes));
        let keep = |text: &str| keep(&path, text, domain, &copies);
        let written = || fs::read_to_string(&path).expect("written");
        let one = "198.18.0.0/24 a.example\n";
        assert_eq!(
            answers::accept_networks(&config, "spf:a.example"),
            Err("--accept spf:a.example: no record of it is held back".to_owned())
        );
        assert_eq!(keep(one), Ok(true));
        assert_eq!(keep(one), Ok(false));
        let empty = "# a note\n";
        let lost = "has 0 entries, and had 1; if that is meant: mxdp reload --accept spf:a.example";
        assert_eq!(keep(empty), Err(lost.to_owned()));
        assert_eq!(written(), one);
        // What came back is held no more.
        assert_eq!(keep(one), Ok(false));
        assert!(answers::accept_networks(&config, "spf:a.example").is_err());
        assert_eq!(keep(empty), Err(lost.to_owned()));
        assert_eq!(answers::accept_networks(&config, "spf:a.example"), Ok(()));
        assert_eq!(written(), empty);
        assert_eq!(keep(empty), Ok(false));
        assert_eq!(keep(one), Ok(true));
        assert!(
            answers::accept_networks(&config, "spf:b.example")
                .is_err_and(|why| why.ends_with("no such domain"))
        );
    }
}
