//! Searches of the mail log, beside the daemon's thread.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::failures::bad_request;
use crate::control::protocol::{Failure, FailureKind};
use crate::control::server::Incoming;
use crate::io::clock;
use crate::record::{PAGE_LIMIT, Page, Query, Summary, when};
use crate::store::{Archive, StoreError};

/// How many searches run at once.
const SLOTS: usize = 8;

/// How long a search waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Searches of the mail log.
pub(super) struct Searches {
    archive: Arc<dyn Archive>,
    /// Permits for concurrent searches.
    slots: Arc<Semaphore>,
    tasks: Handle,
}

impl Searches {
    /// Searches of an archive.
    pub(super) fn new(archive: Arc<dyn Archive>, tasks: Handle) -> Self {
        Self { archive, slots: Arc::new(Semaphore::new(SLOTS)), tasks }
    }

    /// Answers with the newest changes that operators made.
    pub(super) fn changes(&self, limit: usize, asked: Incoming) {
        self.run(asked, move |archive| archive.changes(limit.min(PAGE_LIMIT)));
    }

    /// Answers with the page of a query.
    pub(super) fn search(&self, parts: &[(String, String)], asked: Incoming) {
        let parts = parts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = match Query::read(parts, clock::unix_ms()) {
            Ok(query) => query,
            Err(wrong) => {
                let lines: Vec<_> = wrong.iter().map(ToString::to_string).collect();
                return asked.answer::<Page>(Err(bad_request(&lines.join("\n"))));
            }
        };
        self.run(asked, move |archive| archive.search(&query));
    }

    /// Searches beside this thread, since files are read: so many at once, since the threads
    /// for that are those that look up the names of backends too.
    fn run<T: Serialize + Send + 'static>(
        &self,
        asked: Incoming,
        search: impl FnOnce(&dyn Archive) -> Result<T, StoreError> + Send + 'static,
    ) {
        let (archive, slots) = (self.archive.clone(), self.slots.clone());
        self.tasks.spawn(async move {
            let Ok(Ok(slot)) = timeout(PATIENCE, slots.acquire_owned()).await else {
                let message = "too many searches at once; try again in a moment".to_owned();
                return asked.answer::<T>(Err(Failure { kind: FailureKind::System, message }));
            };
            // Whoever asked may have gone meanwhile.
            _ = spawn_blocking(move || {
                asked.answer(search(archive.as_ref()).map_err(|error| unreadable(&error)));
                drop(slot);
            })
            .await;
        });
    }

    /// Answers with the summary of a time.
    pub(super) fn sum_up(&self, since: Option<String>, until: Option<String>, asked: Incoming) {
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
        self.run(asked, move |archive| archive.summary(since, until));
    }
}

fn unreadable(error: &StoreError) -> Failure {
    Failure { kind: FailureKind::System, message: error.to_string() }
}
