//! What the daemon's thread does when an operator asks.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use filter_common::Disposition;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::core::Daemon;
use super::refused;
use crate::control::protocol::{
    Failure, FailureKind, KernelAnswer, LOOKUP_LIMIT, LiveAnswer, Request, RuntimeEntry,
    RuntimeList,
};
use crate::control::server::Incoming;
use crate::generation::answer;
use crate::io::clock;
use crate::io::smtp::{Edge, Peek};
use crate::lists::{Answer, blocked_network};
use crate::policy::explain::{
    Deciding, Envelope, ExplainedEnvelope, Explanation, add_behind, explain,
};
use crate::policy::facts::{Known, NoHistory, Standing};
use crate::record::{PAGE_LIMIT, Page, Query, Summary, when};
use crate::runtime::Addition;
use crate::store::{Archive, StoreError};

/// How many look into the record at once.
pub(super) const LOOKS: usize = 8;

/// How long a look waits for its turn.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

impl Daemon {
    /// Carries out a request, but for the one that ends the thread.
    pub(super) fn serve(&mut self, asked: Incoming) {
        match asked.request.clone() {
            Request::Status => {
                let status = self.status().map_err(|error| refused(&error));
                asked.answer(status);
            }
            Request::Reload { accept } => self.reload_for(asked, accept),
            Request::Lookup { addresses } => asked.answer(self.look_up(&addresses)),
            Request::RuntimeAdd { list, prefix, note, expires_in_s, permanent, force } => {
                if list == RuntimeList::Blocked
                    && let Err(failure) = self.object(prefix, force, &asked.peer)
                {
                    return asked.answer::<RuntimeEntry>(Err(failure));
                }
                let addition = Addition { list, prefix, note, expires_in_s, permanent, force };
                let entry = self.add_entry(addition);
                asked.answer(entry.map(|entry| self.shown(entry)));
            }
            Request::RuntimeRemove { list, prefix } => {
                let entry = self.remove_entry(list, prefix);
                asked.answer(entry.map(|entry| self.shown(entry)));
            }
            Request::RuntimeList { list } => self.list_entries(list, asked),
            Request::Shadowed { prefix } => self.shadowed(prefix, asked),
            Request::RuntimePart { list, window } => self.list_part(list, window, asked),
            Request::TemporaryPart { window } => self.list_temporary(asked, Some(window)),
            Request::TemporaryAdd { address, seconds, force } => {
                let entry = self
                    .object(blocked_network(address), force, &asked.peer)
                    .and_then(|()| self.add_temporary(address, seconds));
                asked.answer(entry);
            }
            Request::TemporaryRemove { address } => asked.answer(self.remove_temporary(address)),
            Request::TemporaryList => self.list_temporary(asked, None),
            Request::Explain(envelope) => self.explain(&envelope, asked),
            Request::RelayList => asked.answer(Ok(self.suspended())),
            Request::RelayResume { address, customer } => {
                asked.answer(self.resume(address, customer.as_deref()));
            }
            Request::Traffic { query } => self.search(&query, asked),
            Request::Summary { since, until } => self.sum_up(since, until, asked),
            Request::Changes { limit } => {
                self.look(asked, move |store| store.changes(limit.min(PAGE_LIMIT)));
            }
            // Taken by the caller, since it ends the thread.
            Request::Detach => {}
        }
    }

    fn look_up(&mut self, addresses: &[IpAddr]) -> Result<Vec<LiveAnswer>, Failure> {
        if addresses.len() > LOOKUP_LIMIT {
            return Err(bad_request(&format!("more than {LOOKUP_LIMIT} addresses")));
        }
        let port = self.config.filter.ports.first().copied().unwrap_or(25);
        let mut answers = Vec::with_capacity(addresses.len());
        for ip in addresses {
            answers.push(self.look_up_one(*ip, port).map_err(|error| refused(&error))?);
        }
        Ok(answers)
    }

    /// Searches beside this thread, since files are read.
    fn search(&self, parts: &[(String, String)], asked: Incoming) {
        let parts = parts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = match Query::read(parts, clock::unix_ms()) {
            Ok(query) => query,
            Err(wrong) => {
                let lines: Vec<_> = wrong.iter().map(ToString::to_string).collect();
                return asked.answer::<Page>(Err(bad_request(&lines.join("\n"))));
            }
        };
        self.look(asked, move |store| store.search(&query));
    }

    /// Looks into the record beside this thread, since files are read: so many at once,
    /// since the threads for that are those that look up the names of backends too.
    fn look<T: Serialize + Send + 'static>(
        &self,
        asked: Incoming,
        look: impl FnOnce(&dyn Archive) -> Result<T, StoreError> + Send + 'static,
    ) {
        let (store, places) = (self.archive.clone(), self.looks.clone());
        self.asynchronous.spawn(async move {
            let Ok(Ok(place)) = timeout(LOOK_PATIENCE, places.acquire_owned()).await else {
                let message = "too many searches at once; try again in a moment".to_owned();
                return asked.answer::<T>(Err(Failure { kind: FailureKind::System, message }));
            };
            // Whoever asked may have gone meanwhile.
            _ = spawn_blocking(move || {
                asked.answer(look(store.as_ref()).map_err(|error| unreadable(&error)));
                drop(place);
            })
            .await;
        });
    }

    fn sum_up(&self, since: Option<String>, until: Option<String>, asked: Incoming) {
        let now = clock::unix_ms();
        let read = |text: Option<String>, default: &str| {
            when::read(text.as_deref().unwrap_or(default), now).map_err(|error| bad_request(&error))
        };
        let (since, until) = match (read(since, "24h"), read(until, "now")) {
            (Ok(since), Ok(until)) if since < until => (since, until),
            (Ok(_), Ok(_)) => {
                return asked.answer::<Summary>(Err(bad_request("it ends before it begins")));
            }
            (Err(failure), _) | (_, Err(failure)) => return asked.answer::<Summary>(Err(failure)),
        };
        self.look(asked, move |store| store.summary(since, until));
    }

    /// Explains beside this thread, since name servers are asked.
    fn explain(&mut self, envelope: &ExplainedEnvelope, asked: Incoming) {
        let port = self.config.filter.ports.first().copied().unwrap_or(25);
        let found = match self.look_up_one(envelope.ip, port) {
            Ok(found) => found,
            Err(error) => return asked.answer::<Explanation>(Err(refused(&error))),
        };
        let mut syn = found.answer;
        // The kernel has the last word, whatever it and the lists differ about.
        syn.action = if found.kernel.action == "drop" { "drop".to_owned() } else { syn.action };
        if syn.class == "none" {
            syn.class = found.kernel.reason;
        }
        let envelope = match Envelope::parse(envelope) {
            Ok(envelope) => envelope,
            Err(error) => return asked.answer::<Explanation>(Err(bad_request(&error))),
        };
        let edge = self.edge.clone();
        self.asynchronous.spawn(async move {
            let explained = explain_by(edge.as_deref(), &envelope, &syn).await;
            asked.answer(Ok(explained));
        });
    }

    fn look_up_one(&mut self, ip: IpAddr, port: u16) -> Result<LiveAnswer> {
        let mut found = self.ask_all(ip, port)?;
        if !found.agree {
            // An entry may have ended in the kernel, which needs nobody for that, and here not
            // yet.
            self.expire_entries(self.timeline.now());
            found = self.ask_all(ip, port)?;
        }
        if !found.agree {
            let (reason, class) = (&found.kernel.reason, &found.answer.class);
            tracing::error!(%ip, reason, class, "kernel and lists differ");
        }
        Ok(found)
    }

    /// What lists, temporary blocks and the kernel say of an address.
    fn ask_all(&mut self, ip: IpAddr, port: u16) -> Result<LiveAnswer> {
        let files = self.lists.set.classify(ip);
        let runtime = self.entries().classify(ip);
        let enforcement = |class| self.config.enforcement.of(class);
        let (mut answer, expected) = answer::answer(ip, &[&runtime, &files], enforcement);
        let temporary = self.temporary_of(ip)?;
        let (reason, classes) = self.filter.ask(ip, port)?;
        let agree = expected.agrees(reason, classes, temporary.is_some());
        // What the lists say is no verdict where the kernel drops for what it alone knows.
        if reason.disposition() == Disposition::Drop && answer.action != "drop" && agree {
            answer.action = "drop".to_owned();
            answer.class = reason.name().to_owned();
            answer.prefix = temporary.as_ref().map(|block| block.prefix);
            answer.source = temporary.as_ref().map(|_| "temporary block".to_owned());
            answer.note = None;
        }
        let kernel = KernelAnswer {
            reason: reason.name().to_owned(),
            action: disposition(reason.disposition()).to_owned(),
            listed: classes.iter().map(|class| class.name().to_owned()).collect(),
        };
        Ok(LiveAnswer { answer, temporary, kernel, agree })
    }
}

async fn explain_by(edge: Option<&Edge>, envelope: &Envelope, syn: &Answer) -> Explanation {
    let Some(edge) = edge else {
        let standing = &Standing::default();
        let deciding = Deciding { syn, standing, policy: None };
        return explain(envelope, &deciding, &Known::default(), &mut NoHistory).0;
    };
    let generation = edge.generation();
    let deciding = Deciding {
        syn,
        standing: &edge.standing(envelope.client()),
        policy: Some(generation.policy()),
    };
    let asker = edge.asker(&generation);
    let mut explained = asker.explain(envelope, &deciding, &mut Peek(edge)).await;
    let direction = envelope.direction();
    if let Some(behind) = generation.behind(direction, envelope.recipient()) {
        add_behind(&mut explained, envelope, &behind);
    }
    explained
}

pub(super) const fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Pass => "pass",
        Disposition::Drop => "drop",
    }
}

fn unreadable(error: &StoreError) -> Failure {
    Failure { kind: FailureKind::System, message: error.to_string() }
}

pub(super) fn bad_request(message: &str) -> Failure {
    Failure { kind: FailureKind::BadRequest, message: message.to_owned() }
}

pub(super) fn not_found(message: &str) -> Failure {
    Failure { kind: FailureKind::NotFound, message: message.to_owned() }
}
