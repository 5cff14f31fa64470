//! Asks the network what the policy needs to know: for sessions, and for
//! explanations of what none has sent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::zones::Zones;
use crate::config::Dns;
use crate::config::smtp::Smtp;
use crate::control::protocol::Explanation;
use crate::dns::{Lookup, Query, Record, RecordType};
use crate::explain::{Envelope, Known, explain};
use crate::io::dns::Resolver;
use crate::io::{clock, spf};
use crate::policy::pipeline::{Checked, Memory, Need};
use crate::policy::relay::Place;
use crate::policy::reputation::{Reputation, Verdict};
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::spf::Input;

/// The time for an evaluation of SPF that no configuration bounds (RFC 7208
/// section 4.6.4).
const SPF: Duration = Duration::from_secs(20);

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Asker {
    pub(super) resolver: Arc<Resolver>,
    pub(super) zones: Arc<Zones>,
    /// The name of this host.
    pub(super) hostname: String,
    /// The time for an evaluation of SPF.
    pub(super) spf: Duration,
}

impl Asker {
    /// Without a daemon.
    ///
    /// # Errors
    ///
    /// In words, when there is no name server.
    pub fn of(dns: &Dns, smtp: &Smtp, hostname: &str) -> Result<Self, String> {
        let resolver = Resolver::new(dns, None)?;
        Ok(Self::new(resolver, Arc::default(), smtp, hostname))
    }

    pub(super) fn new(
        resolver: Arc<Resolver>,
        zones: Arc<Zones>,
        smtp: &Smtp,
        hostname: &str,
    ) -> Self {
        let spf = smtp.spf.as_ref().map_or(SPF, |spf| spf.budget);
        Self { resolver, zones, hostname: hostname.to_owned(), spf }
    }

    /// What DNS lists say of an address.
    pub async fn reputation(&self, reputation: &Reputation, client: IpAddr) -> Verdict {
        self.zones.clone().ask(self.resolver.clone(), reputation.clone(), client).await
    }

    /// What SPF says of a sender.
    pub async fn spf(&self, client: IpAddr, helo: &str, sender: &ReversePath) -> Checked {
        let mailbox = sender.mailbox();
        let mailbox = mailbox.map(|mailbox| (mailbox.local(), mailbox.host().to_string()));
        let input = Input {
            client,
            helo,
            sender: mailbox.as_ref().map(|(local, host)| (*local, host.as_str())),
            receiver: &self.hostname,
            unix: clock::unix_seconds(),
        };
        let evaluation = spf::evaluate(&self.resolver, &input, self.spf).await;
        Checked { field: evaluation.received_spf(&input), evaluation }
    }

    /// Whether mail for a recipient's domain has a place to go: a mail exchange, or
    /// without one an address (RFC 5321 section 5.1).
    pub async fn place(&self, recipient: &ForwardPath) -> Place {
        let Some(domain) = recipient.mailbox().and_then(|mailbox| mailbox.domain()) else {
            return Place::Known;
        };
        let ask = |kind| {
            let query = Query::new(domain.as_str(), kind);
            async move { self.resolver.ask(&query).await }
        };
        let answer = match ask(RecordType::Mx).await {
            Ok(answer) => answer,
            Err(failure) => return Place::Unknown(failure.to_string()),
        };
        let mut hosts = answer.records.iter().filter_map(|record| match record {
            Record::Mx(_, host) => Some(host),
            _ => None,
        });
        match hosts.next() {
            Some(host) if host.is_empty() && hosts.next().is_none() => return Place::NullMx,
            Some(_) => return Place::Known,
            None if !answer.exists => return Place::None,
            None => {}
        }
        let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::Aaaa));
        let has = |lookup: &Lookup| lookup.as_ref().is_ok_and(|answer| !answer.records.is_empty());
        match (has(&v4) || has(&v6), v4.and(v6)) {
            (true, _) => Place::Known,
            (false, Ok(_)) => Place::None,
            (false, Err(failure)) => Place::Unknown(failure.to_string()),
        }
    }

    /// Explains an envelope, with what the stages need to know.
    pub async fn explain(
        &self,
        envelope: &Envelope,
        mut known: Known<'_>,
        memory: &mut (dyn Memory + Send),
    ) -> Explanation {
        loop {
            let (explanation, need) = explain(envelope, &known, memory);
            let (Some(need), Some(policy)) = (need, known.policy) else { return explanation };
            match need {
                Need::Reputation => {
                    let client = envelope.client();
                    known.reputation = Some(self.reputation(&policy.reputation, client).await);
                }
                Need::Place => known.place = Some(self.place(envelope.recipient()).await),
                Need::Spf => {
                    let client = envelope.client();
                    let checked = self.spf(client, envelope.helo(), envelope.sender()).await;
                    known.spf = Some(checked);
                }
            }
        }
    }
}
