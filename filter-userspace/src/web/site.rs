//! What every answer needs: the daemon and the active rules.

use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::rules::{Publisher, Rules};
use crate::control::protocol::{Failure, FailureKind, Reply, Request};
use crate::control::server::{Desk, Peer};

/// The state that all handlers share.
pub struct Site {
    /// Sends requests to the daemon.
    pub desk: Desk,
    /// The access rights of the active rule set.
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    /// The last answer about readiness, and its time.
    pub(super) ready: tokio::sync::Mutex<Option<(Instant, bool, usize)>>,
}

impl Site {
    /// Makes a site that follows the published rules.
    #[must_use]
    pub fn new(desk: Desk, rules: &Publisher) -> Self {
        let (rules, ready) = (rules.subscribe(), tokio::sync::Mutex::new(None));
        Self { desk, rules, ready }
    }

    /// The rules that are active now.
    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Sends a request to the daemon and decodes its reply.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: Request,
        peer: Peer,
    ) -> Result<T, Failure> {
        match self.desk.ask(request, peer).await {
            Reply::Ok(value) => serde_json::from_value(value).map_err(|error| Failure {
                kind: FailureKind::System,
                message: format!("the daemon's answer is not as expected: {error}"),
            }),
            Reply::Error(failure) => Err(failure),
        }
    }
}

/// A site before a daemon that answers in this way.
#[cfg(test)]
pub(super) fn answering(
    web: &crate::config::web::Web,
    answer: impl Fn(crate::control::server::Incoming) + Send + 'static,
) -> Site {
    let (requests, mut asked) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(incoming) = asked.recv().await {
            answer(incoming);
        }
    });
    let desk = Desk { requests, audit: Arc::new(|_| {}) };
    Site::new(desk, &Publisher::new(Rules::load(web, "").unwrap()))
}
