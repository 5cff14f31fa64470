//! Domains whose hosts are approved by their SPF records: looked up when the TTL is
//! over, and kept in files of the state folder, which are read like any other list.
//! So name servers that are away change nothing, not even across a restart.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::core::{Message, Origin};
use crate::config::{Config, Dns, SpfDomain};
use crate::io::dns::Resolver;
use crate::io::files;
use crate::io::spf::Evaluator;
use crate::io::workers::Workers;

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
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            domains: config.approved_spf.clone(),
            dns: config.dns.clone(),
            state: config.state.folder.clone(),
        }
    }
}

/// Where the networks of a domain are kept.
#[must_use]
pub(super) fn file(state: &Path, domain: &SpfDomain) -> PathBuf {
    // A domain is letters, digits, hyphens and dots.
    state.join(format!("approved-spf-{}.txt", domain.domain))
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
            let wait = look_up(&evaluator, domain, &now.state, &messages).await;
            *when = Instant::now() + wait;
        }
        // Without a resolver, or anything to do, a look now and then.
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
    state: &Path,
    messages: &mpsc::Sender<Message>,
) -> Duration {
    let name = domain.domain.to_string();
    let found = evaluator.networks(domain.domain.as_str(), BUDGET).await;
    let path = file(state, domain);
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
            let failure = write(&path, &text, messages).await.err();
            (failure, found.ttl.clamp(SHORTEST, LONGEST))
        }
        Err(error) => (Some(error), RETRY),
    };
    let failure = failure.map(|error| {
        let known = if path.exists() { "its last networks stand" } else { "none is approved" };
        format!("approved.spf {name}: {error}; {known} meanwhile")
    });
    _ = messages.send(Message::Asked(Origin::Spf(name), failure)).await;
    wait
}

/// Writes a file where that is news, and asks for a reload then.
async fn write(path: &Path, text: &str, messages: &mpsc::Sender<Message>) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    files::replace(path, text.as_bytes())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    _ = messages.send(Message::Reload("the SPF record of an approved domain changed")).await;
    Ok(())
}
