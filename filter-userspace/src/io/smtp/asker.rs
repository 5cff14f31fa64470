//! Asks the network what the policy needs to know: for sessions, and for
//! explanations of what none has sent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::zones::Zones;
use crate::config::Dns;
use crate::config::smtp::Smtp;
use crate::control::protocol::Explanation;
use crate::explain::{Envelope, Known, explain};
use crate::io::dns::Resolver;
use crate::io::{clock, spf};
use crate::policy::pipeline::{Checked, Memory, Need};
use crate::policy::reputation::{Reputation, Verdict};
use crate::smtp::address::ReversePath;
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
                Need::Spf => {
                    let client = envelope.client();
                    let checked = self.spf(client, envelope.helo(), envelope.sender()).await;
                    known.spf = Some(checked);
                }
            }
        }
    }
}
