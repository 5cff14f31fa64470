//! Evaluates SPF: sends the queries that the evaluation needs, within a time limit. The evaluation
//! itself runs on [`Workers`], since senders choose how much work it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::dns::{Purpose, Resolver};
use super::workers::Workers;
use crate::dns::{Failure, Query};
use crate::spf::flatten::{Networks, flatten};
use crate::spf::{Evaluation, Input, Known, Step, check};

/// Whether an evaluation keeps its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// For explanations.
    Kept,
    /// For sessions.
    Left,
}

/// The resolver and the workers of evaluations.
#[derive(Clone, Debug)]
pub struct Evaluator {
    /// Sends queries to name servers.
    pub resolver: Arc<Resolver>,
    /// Runs the evaluation.
    pub workers: Arc<Workers>,
}

impl Evaluator {
    /// Evaluates within `budget`; answers that are missing by then are a temporary error.
    pub async fn evaluate(&self, input: &Input<'_>, budget: Duration, trace: Trace) -> Evaluation {
        let owned = Owned::of(input);
        let known = if trace == Trace::Left { Known::untraced() } else { Known::default() };
        let purpose = Purpose::Sender(input.client);
        let work = move |known: &Known| check(&owned.input(), known);
        let evaluated = self.drive(input.client, purpose, budget, known, work).await;
        evaluated.unwrap_or_else(|| Evaluation::given_up(input))
    }

    /// Lists the networks of a domain within `budget`.
    ///
    /// # Errors
    ///
    /// In words: names do not resolve for now, or a record is invalid.
    pub async fn networks(&self, domain: &str, budget: Duration) -> Result<Networks, String> {
        let owned = domain.to_owned();
        let work = move |known: &Known| flatten(&owned, known);
        let own = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let listed = self.drive(own, Purpose::Own, budget, Known::untraced(), work).await;
        listed.unwrap_or_else(|| Err(format!("{domain}: its networks cannot be listed")))
    }

    /// None if the work panics.
    async fn drive<T: Send + 'static>(
        &self,
        network: IpAddr,
        purpose: Purpose,
        budget: Duration,
        mut known: Known,
        work: impl Fn(&Known) -> Step<T> + Send + Sync + 'static,
    ) -> Option<T> {
        let end = Instant::now() + budget;
        let work = Arc::new(work);
        loop {
            let work = work.clone();
            let step = self.workers.run(network, move || (work(&known), known)).await?;
            known = step.1;
            match step.0 {
                Step::Done(done) => return Some(done),
                // Without time, nothing is queried: see [`Known`].
                Step::Ask(queries) => self.ask(queries, purpose, end, &mut known).await,
            }
        }
    }

    async fn ask(&self, queries: Vec<Query>, purpose: Purpose, end: Instant, known: &mut Known) {
        match timeout_at(end, self.resolver.ask_all(&queries, purpose)).await {
            Ok(lookups) => known.answers.extend(queries.into_iter().zip(lookups)),
            Err(_) => {
                known.out_of_time = true;
                let late = queries.into_iter().map(|query| (query, Err(Failure::TimedOut)));
                known.answers.extend(late);
            }
        }
    }
}

/// An owned [`Input`] for a worker.
struct Owned {
    client: IpAddr,
    helo: String,
    sender: Option<(String, String)>,
    receiver: String,
    unix: u64,
}

impl Owned {
    fn of(input: &Input<'_>) -> Self {
        Self {
            client: input.client,
            helo: input.helo.to_owned(),
            sender: input.sender.map(|(local, domain)| (local.to_owned(), domain.to_owned())),
            receiver: input.receiver.to_owned(),
            unix: input.unix,
        }
    }

    fn input(&self) -> Input<'_> {
        let sender = self.sender.as_ref();
        Input {
            client: self.client,
            helo: &self.helo,
            sender: sender.map(|(local, domain)| (local.as_str(), domain.as_str())),
            receiver: &self.receiver,
            unix: self.unix,
        }
    }
}
