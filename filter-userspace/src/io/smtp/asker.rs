//! Queries the network for what the policy needs to know: for sessions, and for explanations of
//! messages that nobody sent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::zones::Zones;
use crate::config::Dns;
use crate::config::smtp::Smtp;
use crate::dns::{HostName, HostNames, Lookup, Query, Record, RecordType, reverse_name};
use crate::io::clock;
use crate::io::dns::{Purpose, Resolver};
use crate::io::spf::{Evaluator, Trace};
use crate::policy::explain::{Deciding, Envelope, Explanation, explain};
use crate::policy::facts::{Checked, Facts, History, Known, Need};
use crate::policy::relay::Deliverability;
use crate::policy::reputation::{Reputation, Verdict};
use crate::policy::stages::Case;
use crate::smtp::address::{Domain, ForwardPath};
use crate::spf::Input;

/// The time for an evaluation of SPF that no configuration bounds (RFC 7208
/// section 4.6.4).
const SPF: Duration = Duration::from_secs(20);

/// The maximum number of names of an address that are verified.
const NAMES: usize = 5;

/// The resolver, the DNS lists and their limits.
#[derive(Clone, Debug)]
pub struct Asker {
    evaluator: Evaluator,
    zones: Arc<Zones>,
    /// The name of this host.
    hostname: String,
    /// The time for an evaluation of SPF.
    spf: Duration,
    /// Whether an evaluation of SPF keeps its trace.
    trace: Trace,
}

impl Asker {
    /// An asker without a daemon.
    ///
    /// # Errors
    ///
    /// In words, when there is no name server.
    pub fn of(dns: &Dns, smtp: &Smtp, hostname: &str) -> Result<Self, String> {
        let resolver = Resolver::new(dns, None)?;
        let evaluator = Evaluator { resolver, workers: Arc::default() };
        Ok(Self::new(evaluator, Arc::default(), smtp, hostname))
    }

    pub(super) fn new(
        evaluator: Evaluator,
        zones: Arc<Zones>,
        smtp: &Smtp,
        hostname: &str,
    ) -> Self {
        let spf = smtp.spf.as_ref().map_or(SPF, |spf| spf.budget);
        let hostname = hostname.to_owned();
        Self { evaluator, zones, hostname, spf, trace: Trace::Left }
    }

    /// Queries the DNS lists about an address.
    pub async fn reputation(&self, reputation: &Reputation, client: IpAddr) -> Verdict {
        self.zones.clone().ask(self.resolver().clone(), reputation.clone(), client).await
    }

    const fn resolver(&self) -> &Arc<Resolver> {
        &self.evaluator.resolver
    }

    /// Evaluates SPF for a sender.
    async fn spf(&self, facts: &Facts) -> Checked {
        let mailbox = facts.sender.mailbox();
        let mailbox = mailbox.map(|mailbox| (mailbox.local(), mailbox.host().to_string()));
        let input = Input {
            client: facts.client,
            helo: &facts.helo,
            sender: mailbox.as_ref().map(|(local, host)| (*local, host.as_str())),
            receiver: &self.hostname,
            unix: clock::unix_seconds(),
        };
        let evaluation = self.evaluator.evaluate(&input, self.spf, self.trace).await;
        Checked { field: evaluation.received_spf(&input), evaluation }
    }

    /// The names of a client by reverse DNS; of several, the first that is confirmed.
    pub async fn names(&self, client: IpAddr) -> HostNames {
        let client = client.to_canonical();
        let purpose = Purpose::Names(client);
        let query = Query::new(&reverse_name(client), RecordType::Ptr);
        let Ok(answer) = self.resolver().ask(&query, purpose).await else {
            return HostNames::UNKNOWN;
        };
        let names = answer.records.iter().filter_map(|record| match record {
            // A name that is not a host name must not get into a command or a header field.
            Record::Ptr(name) => Domain::parse(name)
                .ok()
                .map(|name| name.as_str().to_owned())
                // Mail systems refuse an address in place of a name, and would refuse the proxy
                // with it.
                .filter(|name| name.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.')),
            _ => None,
        });
        let names: Vec<_> = names.take(NAMES).collect();
        let Some(first) = names.first().cloned() else { return HostNames::default() };
        let family = if client.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let queries: Vec<_> = names.iter().map(|name| Query::new(name, family)).collect();
        let answers = self.resolver().ask_all(&queries, purpose).await;
        let has_client = |lookup: &Lookup| {
            lookup.as_ref().is_ok_and(|answer| answer.addresses().any(|one| one == client))
        };
        let confirmed = match answers.iter().position(has_client) {
            Some(index) => names.get(index).cloned().map_or(HostName::None, HostName::Known),
            None if answers.iter().any(Result::is_err) => HostName::Unknown,
            None => HostName::None,
        };
        HostNames { confirmed, reverse: HostName::Known(first) }
    }

    /// Whether the domain of a recipient of a customer's host accepts mail: whether it has a mail
    /// exchange, or without one an address (RFC 5321 section 5.1).
    async fn deliverability(&self, client: IpAddr, recipient: &ForwardPath) -> Deliverability {
        let Some(domain) = recipient.mailbox().and_then(|mailbox| mailbox.domain()) else {
            return Deliverability::Deliverable;
        };
        let ask = |kind| {
            let query = Query::new(domain.as_str(), kind);
            async move { self.resolver().ask(&query, Purpose::Customer(client)).await }
        };
        let answer = match ask(RecordType::Mx).await {
            Ok(answer) => answer,
            Err(failure) => return Deliverability::Unknown(failure.to_string()),
        };
        let mut hosts = answer.records.iter().filter_map(|record| match record {
            Record::Mx(_, host) => Some(host),
            _ => None,
        });
        match hosts.next() {
            Some(host) if host.is_empty() && hosts.next().is_none() => {
                return Deliverability::NullMx;
            }
            Some(_) => return Deliverability::Deliverable,
            None if !answer.exists => return Deliverability::NoDomain,
            None => {}
        }
        let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::Aaaa));
        let has = |lookup: &Lookup| lookup.as_ref().is_ok_and(|answer| !answer.records.is_empty());
        match (has(&v4) || has(&v6), v4.and(v6)) {
            (true, _) => Deliverability::Deliverable,
            (false, Ok(_)) => Deliverability::NoDomain,
            (false, Err(failure)) => Deliverability::Unknown(failure.to_string()),
        }
    }

    /// Learns what a stage needs, within a bounded time.
    pub(super) async fn learn(&self, need: Need, case: &Case<'_>, known: &mut Known) {
        let Case { policy, facts, recipient } = case;
        match need {
            Need::Reputation => {
                known.reputation = Some(self.reputation(&policy.reputation, facts.client).await);
            }
            Need::Spf => known.spf = Some(self.spf(facts).await),
            Need::Deliverability => {
                let found = self.deliverability(facts.client, recipient).await;
                known.deliverability = Some(((*recipient).clone(), found));
            }
        }
    }

    /// Explains an envelope, and queries the network for what the stages need.
    pub async fn explain(
        &self,
        envelope: &Envelope,
        deciding: &Deciding<'_>,
        history: &mut (dyn History + Send),
    ) -> Explanation {
        let asker = Self { trace: Trace::Kept, ..self.clone() };
        let facts = envelope.facts(deciding.standing);
        let mut known = Known::default();
        loop {
            let (explanation, need) = explain(envelope, deciding, &known, history);
            let (Some(need), Some(policy)) = (need, deciding.policy) else { return explanation };
            let case = Case { policy, facts: &facts, recipient: envelope.recipient() };
            asker.learn(need, &case, &mut known).await;
        }
    }
}
