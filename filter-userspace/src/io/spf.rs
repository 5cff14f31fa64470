//! Evaluates SPF: asks name servers what the evaluation asks for, within a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::dns::Resolver;
use crate::dns::{Failure, Query};
use crate::spf::flatten::{Networks, flatten};
use crate::spf::{Evaluation, Input, Known, Step, check};

/// Evaluates within `budget`; what is not known by then is a temporary error.
pub async fn evaluate(resolver: &Arc<Resolver>, input: &Input<'_>, budget: Duration) -> Evaluation {
    drive(resolver, budget, |known| check(input, known)).await
}

/// Lists the networks of a domain within `budget`.
///
/// # Errors
///
/// In words: names do not resolve now, or a record is wrong.
pub async fn networks(
    resolver: &Arc<Resolver>,
    domain: &str,
    budget: Duration,
) -> Result<Networks, String> {
    drive(resolver, budget, |known| flatten(domain, known)).await
}

async fn drive<T>(
    resolver: &Arc<Resolver>,
    budget: Duration,
    mut step: impl FnMut(&Known) -> Step<T>,
) -> T {
    let end = Instant::now() + budget;
    let mut known = Known::default();
    loop {
        match step(&known) {
            Step::Done(done) => return done,
            // Without time nothing is asked for: see [`Known`].
            Step::Ask(queries) => ask(resolver, queries, end, &mut known).await,
        }
    }
}

async fn ask(resolver: &Arc<Resolver>, queries: Vec<Query>, end: Instant, known: &mut Known) {
    match timeout_at(end, resolver.ask_all(&queries)).await {
        Ok(lookups) => known.answers.extend(queries.into_iter().zip(lookups)),
        Err(_) => {
            known.out_of_time = true;
            known.answers.extend(queries.into_iter().map(|query| (query, Err(Failure::TimedOut))));
        }
    }
}
