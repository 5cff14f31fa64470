//! Answers a session's questions by the active policy, and gets what the answers need from the
//! network.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::edge::Edge;
use super::events::Event;
use super::generation::Generation;
use super::history::Shared;
use super::zones::FRESH;
use crate::dns::{HostNames, unasked};
use crate::policy::evidence::Witness;
use crate::policy::facts::{Connection, Facts, Known, Need, Standing, Stop};
use crate::policy::offences::{HostSign, Offence, Sign, is_word_on_recipient};
use crate::policy::pipeline;
use crate::policy::relay::Direction;
use crate::policy::reputation::Verdict;
use crate::policy::stages::Case;
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::session::{Answer, Attempt, Question, Session};

/// How long the DNS lists' verdict on a client is valid in one connection.
const VERDICT: Duration = Duration::from_secs(300);

/// The number of connections to one backend that a client's network may always have at once.
const LINKS: usize = 16;

/// How long after the start of the connection its names are waited for.
const NAMED: Duration = Duration::from_secs(3);

/// What is known of a client, and the decisions about it.
pub(super) struct Judge {
    edge: Arc<Edge>,
    generation: Arc<Generation>,
    direction: Direction,
    client: IpAddr,
    standing: Option<Standing>,
    /// The facts of the open message.
    facts: Facts,
    /// What the network has said about the client and the open message.
    known: Known,
    /// When the DNS lists answered.
    listed_at: Instant,
    /// The query of the DNS lists, under way since the start of the connection.
    asking: Option<JoinHandle<Verdict>>,
    /// The client's names, while they are queried and afterwards.
    naming: watch::Receiver<Option<HostNames>>,
    /// When they are too late for the backend.
    named_by: tokio::time::Instant,
    /// Whether this transaction has counted as an offence.
    offended: bool,
    /// The number of accepted recipients whose message is under way.
    open: usize,
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.note_open(0);
    }
}

/// A pending query of the network.
pub(super) type Learning = Pin<Box<dyn Future<Output = Known> + Send>>;

impl Judge {
    pub(super) fn new(
        edge: Arc<Edge>,
        generation: Arc<Generation>,
        direction: Direction,
        client: IpAddr,
    ) -> Self {
        Self {
            edge,
            generation,
            direction,
            client,
            standing: None,
            facts: Facts {
                direction,
                client,
                helo: String::new(),
                tls: None,
                connection: Connection::default(),
                sender: ReversePath::Null,
                size: None,
            },
            known: Known::default(),
            listed_at: Instant::now(),
            asking: None,
            naming: watch::channel(Some(HostNames::default())).1,
            named_by: tokio::time::Instant::now() + NAMED,
            offended: false,
            open: 0,
        }
    }

    /// Notes the number of accepted recipients whose message is under way.
    pub(super) fn note_open(&mut self, open: usize) {
        if self.open != open {
            self.edge.note_open(self.client, self.direction, (self.open, open));
            self.open = open;
        }
    }

    /// The number of connections to one backend that the client's network may have at once: a third
    /// of its connections here. Customers, and hosts that are known to be ours, have no limit.
    pub(super) fn most_links(&self) -> usize {
        let is_ours = self.direction == Direction::Outgoing
            || self.edge.protected().forbids(self.client).is_some();
        match is_ours {
            true => usize::MAX,
            false => (self.generation.smtp.limits.connections_per_address / 3).max(LINKS),
        }
    }

    /// Whether name servers are not queried about the client.
    fn is_unasked(&self) -> bool {
        unasked(self.client, self.generation.policy.ask_private).is_some()
    }

    /// Begins to query the client's names, in the background, so that nobody waits.
    pub(super) fn begin_naming(&mut self) {
        if self.is_unasked() {
            return;
        }
        let (asker, client) = (self.edge.asker(&self.generation), self.client);
        let (named, naming) = watch::channel(None);
        self.naming = naming;
        tokio::spawn(async move {
            tokio::select! {
                names = asker.names(client) => {
                    named.send_replace(Some(names));
                }
                // Nobody needs them any more.
                () = named.closed() => {}
            }
        });
    }

    /// The client's names, if they are known.
    pub(super) fn names(&self) -> Option<HostNames> {
        self.naming.borrow().clone()
    }

    /// The client's names for the backend, which waits for them for a short time.
    pub(super) fn names_in_time(&self) -> impl Future<Output = HostNames> + Send + use<> {
        let (mut naming, end) = (self.naming.clone(), self.named_by);
        async move {
            let known = tokio::time::timeout_at(end, naming.wait_for(Option::is_some)).await;
            let known = known.ok().and_then(Result::ok).and_then(|names| names.clone());
            known.unwrap_or(HostNames::UNKNOWN)
        }
    }

    /// Begins to query DNS lists, so that their answer is there when it is needed.
    pub(super) fn begin_asking(&mut self) {
        if self.direction == Direction::Outgoing || !self.generation.policy.reputation.is_on() {
            return;
        }
        if self.is_unasked() {
            return;
        }
        let connection = &self.standing().connection;
        if connection.approved.is_none() && connection.refused.is_none() {
            self.asking = Some(self.ask_zones());
        }
    }

    /// The direction of the client's mail.
    pub(super) const fn direction(&self) -> Direction {
        self.direction
    }

    /// The state that all connections share.
    pub(super) const fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// The generation of the open message.
    pub(super) const fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    fn standing(&mut self) -> &Standing {
        self.standing.get_or_insert_with(|| {
            let standing = self.edge.standing(self.client);
            match self.direction {
                Direction::Inbound => standing,
                // The lists concern incoming mail only.
                Direction::Outgoing => Standing { connection: Connection::default(), ..standing },
            }
        })
    }

    fn ask_zones(&self) -> JoinHandle<Verdict> {
        let asker = self.edge.asker(&self.generation);
        let reputation = self.generation.policy.reputation.clone();
        let client = self.client;
        tokio::spawn(async move { asker.reputation(&reputation, client).await })
    }

    /// A message is judged by one generation, from MAIL to its end.
    fn begin(&mut self, size: Option<u64>, sender: &ReversePath, session: &Session) {
        let generation = self.edge.generation();
        let changed = generation.policy.reputation != self.generation.policy.reputation;
        let verdict = self.known.reputation.take();
        let verdict = verdict.filter(|verdict| {
            // A verdict that refuses is valid only as long as its zone is known to work.
            let time = if verdict.hits.is_empty() { VERDICT } else { FRESH };
            !changed && self.listed_at.elapsed() <= time
        });
        if changed {
            self.asking = None;
        }
        self.known = Known { reputation: verdict, ..Known::default() };
        self.generation = generation;
        self.standing = None;
        let connection = self.standing().connection.clone();
        self.facts = Facts {
            direction: self.direction,
            client: self.client,
            helo: session.helo().to_owned(),
            tls: session.tls().cloned(),
            connection,
            sender: sender.clone(),
            size,
        };
        self.offended = false;
    }

    /// The answer, or what must be learnt first.
    pub(super) fn answer(
        &mut self,
        question: &Question,
        session: &Session,
    ) -> Result<Answer, Need> {
        match question {
            Question::Mail { sender, parameters } => {
                self.begin(parameters.size, sender, session);
                Ok(Answer::Mail(pipeline::mail(&self.generation.policy, &self.facts)))
            }
            Question::Rcpt { recipient, .. } => {
                let (policy, facts) = (&self.generation.policy, &self.facts);
                let case = Case { policy, facts, recipient };
                match pipeline::rcpt(&case, &self.known, &mut Shared(&self.edge)) {
                    Ok(permit) => Ok(Answer::Rcpt(Ok(permit))),
                    Err(Stop::Refused(refusal)) => Ok(Answer::Rcpt(Err(refusal))),
                    Err(Stop::Needs(need)) => Err(need),
                }
            }
        }
    }

    /// Queries the network for what an answer needs, within a bounded time.
    pub(super) fn learning(&mut self, need: Need, question: &Question) -> Learning {
        let recipient = match question {
            Question::Rcpt { recipient, .. } => recipient.clone(),
            Question::Mail { .. } => ForwardPath::Postmaster,
        };
        let (generation, facts) = (self.generation.clone(), self.facts.clone());
        let asker = self.edge.asker(&generation);
        // The query of the DNS lists is under way already.
        let asking = (need == Need::Reputation)
            .then(|| self.asking.take().unwrap_or_else(|| self.ask_zones()));
        Box::pin(async move {
            let mut known = Known::default();
            match asking {
                // If the task panicked, treat the client as not listed.
                Some(asking) => known.reputation = Some(asking.await.unwrap_or_default()),
                None => {
                    let (policy, facts) = (&generation.policy, &facts);
                    let case = Case { policy, facts, recipient: &recipient };
                    asker.learn(need, &case, &mut known).await;
                }
            }
            known
        })
    }

    /// Stores what the network said.
    pub(super) fn learn(&mut self, learnt: Known) {
        if learnt.reputation.is_some() {
            self.listed_at = Instant::now();
        }
        self.known.update(learnt);
    }

    /// Records the outcome of a recipient.
    pub(super) fn record(&mut self, attempt: Attempt, session: &Session) {
        let sign = Sign::of(&attempt);
        // Accepted recipients are counted first, since refused ones are compared with them.
        self.note_open(session.accepted());
        match self.direction {
            Direction::Inbound => self.count(&attempt, sign),
            // Customers who send out are watched; strangers may not send out at all.
            Direction::Outgoing if sign == Sign::Offence(Offence::Relay) => {
                self.edge.note(self.client, &self.generation, sign, &Witness::Own);
            }
            Direction::Outgoing => {}
        }
        let customer = self.watch(&attempt, session);
        self.standing();
        let country = self.standing.as_ref().and_then(|standing| standing.country.clone());
        let listed = self.known.reputation.as_ref().filter(|verdict| !verdict.hits.is_empty());
        self.edge.events.add(Event {
            direction: self.direction,
            customer,
            client: self.client,
            country,
            helo: session.helo().to_owned(),
            tls: session.tls().map(|tls| tls.text.clone()),
            reputation: listed.map(Verdict::note),
            spf: self.known.spf.as_ref().map(|checked| checked.evaluation.outcome.name()),
            attempt,
        });
    }
}

impl Judge {
    /// Counts what an attempt shows about the client.
    fn count(&mut self, attempt: &Attempt, sign: Sign) {
        if let (Some(sender), Some(recipient)) = (&attempt.sender, &attempt.recipient)
            && is_word_on_recipient(attempt)
        {
            self.edge.remember_invalid(self.client, sender, recipient);
        }
        if sign.counts_once() && std::mem::replace(&mut self.offended, true) {
            return;
        }
        // Only for recipients that do not exist does it matter who reported that.
        let is_of_recipients = matches!(sign, Sign::Guess | Sign::Backscatter);
        let recipient = attempt.recipient.as_ref().filter(|_| is_of_recipients);
        let witness = recipient.map(|path| self.generation.policy.witness(path));
        self.edge.note(self.client, &self.generation, sign, &witness.unwrap_or_default());
    }

    /// Counts the conduct of a customer's host; returns the customer.
    fn watch(&self, attempt: &Attempt, session: &Session) -> Option<Arc<str>> {
        if self.direction == Direction::Inbound {
            return None;
        }
        let certificate = session.tls().and_then(|tls| tls.certificate.as_deref());
        let relay = &self.generation.policy.relay;
        let customer = relay.customer_of(self.client, certificate)?.name.clone();
        match HostSign::of(attempt) {
            HostSign::Nothing => {}
            HostSign::Deferred => {
                self.edge.defer_host(&self.generation, self.client, &customer);
            }
            HostSign::Recipient { valid } => {
                let sender = attempt.sender.as_ref().and_then(|sender| sender.mailbox()?.domain());
                let sender = sender.map(|domain| domain.as_str());
                self.edge.watch_host(&self.generation, self.client, &customer, sender, valid);
            }
        }
        Some(customer)
    }
}
