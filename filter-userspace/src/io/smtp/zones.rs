//! DNS lists in use: queried about clients, and checked for whether they work.
//!
//! A zone that does not list its test entry, or lists what it must not, is not used until it does
//! (RFC 5782 section 5): a list that is gone or lists everything must refuse nobody. No zone is
//! used before its first check, and a listing counts only if the zone was found to work within the
//! last seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::dns::Failure;
use crate::io::dns::{Purpose, Resolver};
use crate::policy::reputation::{
    Hit, Kind, Listing, Reputation, Verdict, Zone, ZoneState, clean_text,
};

/// How long an error is shown.
const SHOWN: Duration = Duration::from_secs(60);

/// How soon after an error a zone is checked, at the earliest after the last check.
const SOON: Duration = Duration::from_secs(5);

/// How long an error is kept at least: the daemon's thread collects alarms once a second.
const NOTICED: Duration = Duration::from_millis(2500);

/// How long a zone is trusted after a successful check, when it lists a client: a zone that begins
/// to list everybody refuses nobody for longer.
pub(super) const FRESH: Duration = Duration::from_secs(5);

/// The state of all zones, by name; it outlives generations.
#[derive(Debug, Default)]
pub(super) struct Zones {
    states: Mutex<HashMap<Arc<str>, State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it is not used.
    disabled: Option<String>,
    looked_at: Option<Instant>,
    /// Whether it is checked before its time.
    suspect: bool,
    error: Option<(Instant, String)>,
    asked: u64,
    listed: u64,
    errors: u64,
}

impl Zones {
    fn states(&self) -> MutexGuard<'_, HashMap<Arc<str>, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries every working zone about an address, within the budget.
    pub(super) async fn ask(
        self: Arc<Self>,
        resolver: Arc<Resolver>,
        reputation: Reputation,
        address: IpAddr,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let mut questions = JoinSet::new();
        for (kind, service) in reputation.services() {
            for zone in &service.zones {
                if let Some(why) = self.disabled(zone) {
                    verdict.errors.push((zone.name.clone(), format!("not used: {why}")));
                    continue;
                }
                let (zones, resolver) = (self.clone(), resolver.clone());
                let (zone, end) = (zone.clone(), Instant::now() + reputation.budget);
                questions.spawn(async move {
                    let listing = zones.listing(&resolver, &zone, address, end).await;
                    (kind, zone, listing)
                });
            }
        }
        while let Some(answered) = questions.join_next().await {
            let Ok((kind, zone, Some((listing, text)))) = answered else { continue };
            verdict.asked += 1;
            self.note(&zone, &listing);
            match listing {
                Listing::No => {}
                Listing::Yes(code) => verdict.hits.push(hit(kind, &zone, code, text)),
                Listing::Error(error) => verdict.errors.push((zone.name.clone(), error)),
            }
        }
        verdict.hits.sort_by_key(|hit| (hit.kind, hit.line));
        verdict.errors.sort();
        verdict
    }

    /// Why a zone is not used. The result of a check counts as long as the zone is checked: an
    /// operator may configure that it has no test entries.
    fn disabled(&self, zone: &Zone) -> Option<String> {
        let states = self.states();
        states.get(&zone.name)?.disabled.clone().filter(|_| zone.control)
    }

    /// A zone's listing of an address, and the text that goes with it. A text that is late is left
    /// out.
    async fn listing(
        &self,
        resolver: &Arc<Resolver>,
        zone: &Zone,
        address: IpAddr,
        end: Instant,
    ) -> Option<(Listing, Option<String>)> {
        let query = zone.query(address)?;
        let purpose = Purpose::Lists(address);
        let lookup = timeout_at(end.into(), resolver.ask(&query, purpose)).await;
        let listing = zone.read(&lookup.unwrap_or(Err(Failure::TimedOut)));
        if !matches!(listing, Listing::Yes(_)) {
            return Some((listing, None));
        }
        let works = timeout_at(end.into(), self.works_now(resolver, zone)).await;
        match works.unwrap_or_else(|_| Err("its test entries did not answer in time".to_owned())) {
            Ok(()) => {}
            Err(why) => {
                return Some((Listing::Error(format!("listing not believed: {why}")), None));
            }
        }
        if !zone.text {
            return Some((listing, None));
        }
        let query = zone.text_query(address);
        let lookup = timeout_at(end.into(), resolver.ask(&query, purpose)).await;
        let answer = lookup.ok().and_then(Result::ok);
        let text = answer.and_then(|answer| answer.texts().next().and_then(clean_text));
        Some((listing, text))
    }

    /// Whether a zone answered its test entries correctly within the last seconds.
    async fn works_now(&self, resolver: &Arc<Resolver>, zone: &Zone) -> Result<(), String> {
        if !zone.control {
            return Ok(());
        }
        let last = self.states().get(&zone.name).and_then(|state| state.looked_at);
        if last.is_none_or(|last| last.elapsed() >= FRESH) {
            self.look_at(resolver, zone).await;
        }
        self.disabled(zone).map_or(Ok(()), Err)
    }

    /// Queries a zone's test entries. Concurrent callers share the answers.
    async fn look_at(&self, resolver: &Arc<Resolver>, zone: &Zone) {
        let (listed, unlisted) = zone.controls();
        // Cached answers show nothing about the present.
        let answers = tokio::join!(resolver.ask_anew(&listed), resolver.ask_anew(&unlisted));
        let failure = zone.failure(&answers.0, &answers.1);
        if failure.is_some() {
            // Its answers since it failed must not count when it works again.
            resolver.forget(&zone.name);
        }
        self.looked_at(zone, failure);
    }

    fn note(&self, zone: &Zone, listing: &Listing) {
        let mut states = self.states();
        let state = states.entry(zone.name.clone()).or_default();
        state.asked += 1;
        match listing {
            Listing::No => {}
            Listing::Yes(_) => state.listed += 1,
            Listing::Error(error) => {
                state.errors += 1;
                state.suspect = true;
                state.error = Some((Instant::now(), error.clone()));
            }
        }
    }

    /// Checks the zones that are due; all of them the first time.
    pub(super) async fn look(self: &Arc<Self>, resolver: &Arc<Resolver>, reputation: &Reputation) {
        let now = Instant::now();
        let mut looks = JoinSet::new();
        let mut seen = Vec::new();
        let zones = reputation.services().into_iter().flat_map(|(_, service)| &service.zones);
        for zone in zones.filter(|zone| zone.control) {
            if seen.contains(&&zone.name) || !self.is_due(&zone.name, reputation, now) {
                continue;
            }
            seen.push(&zone.name);
            let (zones, resolver, zone) = (self.clone(), resolver.clone(), zone.clone());
            looks.spawn(async move {
                zones.look_at(&resolver, &zone).await;
            });
        }
        while looks.join_next().await.is_some() {}
    }

    fn is_due(&self, zone: &str, reputation: &Reputation, now: Instant) -> bool {
        let states = self.states();
        let Some(state) = states.get(zone) else { return true };
        let Some(last) = state.looked_at else { return true };
        let interval = match (&state.disabled, state.suspect) {
            (Some(_), _) => reputation.retry_interval,
            (None, true) => SOON.min(reputation.retry_interval),
            (None, false) => reputation.control_interval,
        };
        now.duration_since(last) >= interval
    }

    fn looked_at(&self, zone: &Zone, failure: Option<String>) {
        let mut states = self.states();
        let state = states.entry(zone.name.clone()).or_default();
        state.looked_at = Some(Instant::now());
        // A recent error may not have been seen by anybody yet: it is kept until the next check.
        let was_seen = state.error.as_ref().is_none_or(|(at, _)| at.elapsed() >= NOTICED);
        state.suspect = !was_seen;
        if failure.is_none() && state.disabled.is_some() {
            tracing::info!(zone = &*zone.name, "the DNS list works again and is used");
        }
        if failure.is_none() && was_seen {
            state.error = None;
        }
        state.disabled = failure;
    }

    /// The state of the zones of a generation.
    pub(super) fn health(&self, reputation: &Reputation) -> Vec<ZoneState> {
        let states = self.states();
        let nothing = State::default();
        let mut health: Vec<ZoneState> = Vec::new();
        for zone in reputation.services().into_iter().flat_map(|(_, service)| &service.zones) {
            if health.iter().any(|known| *known.zone == *zone.name) {
                continue;
            }
            let state = states.get(&zone.name).unwrap_or(&nothing);
            let error = state.error.as_ref().filter(|(at, _)| at.elapsed() < SHOWN);
            health.push(ZoneState {
                zone: zone.name.to_string(),
                disabled: state.disabled.clone().filter(|_| zone.control),
                error: error.map(|(_, error)| error.clone()),
                asked: state.asked,
                listed: state.listed,
                errors: state.errors,
            });
        }
        health
    }
}

fn hit(kind: Kind, zone: &Zone, code: std::net::Ipv4Addr, text: Option<String>) -> Hit {
    Hit { kind, zone: zone.name.clone(), code, weight: zone.weight, text, line: zone.line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::reputation::Service;

    #[test]
    fn a_zone_that_is_no_longer_looked_at_is_used_again() {
        let mut zone = Zone {
            name: "private.example".into(),
            key: None,
            codes: Vec::new(),
            ignored: Vec::new(),
            weight: 10,
            text: false,
            v4: true,
            v6: true,
            control: true,
            line: 1,
        };
        let zones = Zones::default();
        zones.looked_at(&zone, Some("does not list 127.0.0.2".to_owned()));
        assert!(zones.disabled(&zone).is_some());
        zone.control = false;
        assert!(zones.disabled(&zone).is_none());
        let standard = Service { zones: vec![zone], ..Service::default() };
        let reputation = Reputation { standard, ..Reputation::default() };
        assert!(zones.health(&reputation)[0].disabled.is_none());
    }
}
