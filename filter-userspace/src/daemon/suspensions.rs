//! Hosts that are suspended from sending: listed, resumed, and kept across restarts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failures::not_found;
use crate::control::protocol::{Failure, SuspendedHost};
use crate::io::smtp::Edge;
use crate::io::state::{self, StateItem};
use crate::io::timeline::Timeline;
use crate::lists::ClientNetwork;
use crate::policy::relay::{Suspension, Suspicion};

/// So many hosts of a customer have an alarm each.
const NAMED: usize = 3;

/// The suspended hosts, which the SMTP side knows and the state folder keeps.
pub(super) struct Suspensions {
    edge: Option<Arc<Edge>>,
    /// The state folder.
    folder: PathBuf,
    /// The file as it was last saved.
    saved: String,
}

impl Suspensions {
    /// None yet.
    pub(super) const fn new(edge: Option<Arc<Edge>>, folder: PathBuf) -> Self {
        Self { edge, folder, saved: String::new() }
    }

    /// The suspended hosts.
    pub(super) fn list(&self) -> Vec<SuspendedHost> {
        let suspended = self.edge.iter().flat_map(|edge| edge.suspended());
        let mut hosts: Vec<_> = suspended.map(|suspension| described(&suspension)).collect();
        hosts.sort_by(|a, b| (a.address, &a.customer).cmp(&(b.address, &b.customer)));
        hosts
    }

    /// Ends the suspension of hosts.
    pub(super) fn resume(
        &mut self,
        address: Option<IpAddr>,
        customer: Option<&str>,
        timeline: &Timeline,
    ) -> Result<Vec<SuspendedHost>, Failure> {
        let resumed = self.edge.iter().flat_map(|edge| edge.resume(address, customer));
        let resumed: Vec<_> = resumed.map(|suspension| described(&suspension)).collect();
        if resumed.is_empty() {
            return Err(not_found("no such host is suspended"));
        }
        for host in &resumed {
            tracing::info!(host = %host.address, customer = host.customer, "may send out again");
        }
        self.save(timeline);
        Ok(resumed)
    }

    /// Suspends the hosts that the last daemon had suspended.
    pub(super) fn restore(&mut self, shift: i64, timeline: &Timeline) {
        let Some(edge) = &self.edge else { return };
        let path = StateItem::SuspendedHosts.path(&self.folder);
        let Ok(text) = fs::read_to_string(&path) else { return };
        let (now, unix) = (Instant::now(), timeline.now().saturating_add_signed(-shift));
        for line in text.lines() {
            match suspension(line, now, unix) {
                Some(suspension) if suspension.until > now => edge.suspend(suspension),
                Some(_) => {}
                None => tracing::error!("{}: not as it was written: {line:?}", path.display()),
            }
        }
        self.saved = text;
    }

    /// Keeps the suspended hosts, where they changed.
    pub(super) fn save(&mut self, timeline: &Timeline) {
        let Some(edge) = &self.edge else { return };
        let (now, unix) = (Instant::now(), timeline.now());
        let mut lines: Vec<_> = edge
            .suspended()
            .iter()
            .map(|one| {
                let until = unix + one.until.saturating_duration_since(now).as_secs();
                (one.host.first(), one.customer.clone(), one.suspicion.name(), until)
            })
            .collect();
        lines.sort();
        let hosts = |text: &str| {
            let of = |line: &str| {
                let mut words = line.splitn(4, ' ');
                Some((words.next()?.to_owned(), words.nth(2)?.to_owned()))
            };
            text.lines().filter_map(of).collect::<Vec<_>>()
        };
        let mut text = String::new();
        for (host, customer, reason, until) in lines {
            // Writing to a text does not fail.
            _ = writeln!(text, "{host} {reason} {until} {customer}");
        }
        // Ends are rounded anew each time: hosts and whose they are is what counts.
        if hosts(&text) == hosts(&self.saved) {
            return;
        }
        let path = StateItem::SuspendedHosts.path(&self.folder);
        match state::replace(&path, text.as_bytes()) {
            Ok(()) => self.saved = text,
            Err(error) => tracing::error!("suspended hosts are not saved: {error}"),
        }
    }

    /// What an operator is told of it.
    pub(super) fn alarms(&self) -> Vec<String> {
        let mut by_customer: BTreeMap<String, Vec<SuspendedHost>> = BTreeMap::new();
        for host in self.list() {
            by_customer.entry(host.customer.clone()).or_default().push(host);
        }
        let alarm = |(customer, hosts): (String, Vec<SuspendedHost>)| {
            if hosts.len() > NAMED {
                // A network that was taken over has thousands.
                return vec![format!(
                    "more than {NAMED} hosts of {customer} are suspended from sending; list them with \
                     `mxdp relay list`"
                )];
            }
            let name = |SuspendedHost { address, customer, reason, .. }| {
                format!(
                    "{address} of {customer} is suspended from sending ({reason}); lift it with `mxdp \
                     relay resume {address}`"
                )
            };
            hosts.into_iter().map(name).collect()
        };
        by_customer.into_iter().flat_map(alarm).collect()
    }
}

/// Reads a line of the file: a host, the reason, when it ends in seconds of the Unix epoch, and
/// the customer.
fn suspension(line: &str, now: Instant, unix: u64) -> Option<Suspension> {
    let mut words = line.splitn(4, ' ');
    let host = ClientNetwork::of(words.next()?.parse().ok()?);
    let reason = words.next()?;
    let suspicion = Suspicion::ALL.into_iter().find(|known| known.name() == reason)?;
    let until: u64 = words.next()?.parse().ok()?;
    let customer = words.next()?.into();
    let until = now + Duration::from_secs(until.saturating_sub(unix).min(86_400));
    Some(Suspension { host, customer, suspicion, until })
}

fn described(suspension: &Suspension) -> SuspendedHost {
    let left = suspension.until.saturating_duration_since(Instant::now());
    SuspendedHost {
        address: suspension.host.first(),
        customer: suspension.customer.to_string(),
        reason: suspension.suspicion.name().to_owned(),
        remaining_s: left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
    }
}
