//! The page and the interface: HTTP for people and scripts.
//!
//! [`server`] takes connections and bounds them; [`access`] says who may do what;
//! [`api`] answers scripts and [`pages`] people, both by asking the daemon as the
//! command line does ([`Desk`]); [`metrics`] is for Prometheus. Nothing here decides
//! anything, and no answer needs another host.

mod access;
mod api;
mod assets;
mod chart;
mod error;
mod metrics;
mod openapi;
mod pages;
mod parts;
mod rules;
mod server;

use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use self::access::{new_token, sha256_hex};
pub(crate) use self::metrics::sample as metrics_sample;
pub use self::rules::{Publisher, Rules};
pub use self::server::{Listeners, bind};
use crate::control::protocol::{Failure, FailureKind, Reply, Request};
use crate::control::server::{Desk, Peer};
use crate::store::Store;

/// What answers.
pub struct Site {
    /// Where the daemon is asked.
    pub desk: Desk,
    /// The record.
    pub store: Arc<dyn Store>,
    /// Who may do what, as the active rule set says.
    rules: watch::Receiver<Arc<Rules>>,
    /// The last answer about readiness, and when it was given.
    ready: tokio::sync::Mutex<Option<(Instant, bool, usize)>>,
}

impl Site {
    /// A site that obeys what is published.
    #[must_use]
    pub fn new(desk: Desk, store: Arc<dyn Store>, rules: &Publisher) -> Self {
        let (rules, ready) = (rules.subscribe(), tokio::sync::Mutex::new(None));
        Self { desk, store, rules, ready }
    }

    /// Who may do what now.
    fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Asks the daemon.
    async fn ask<T: DeserializeOwned>(&self, request: Request, peer: Peer) -> Result<T, Failure> {
        match self.desk.ask(request, peer).await {
            Reply::Ok(value) => serde_json::from_value(value).map_err(|error| Failure {
                kind: FailureKind::System,
                message: format!("the daemon's answer is not as expected: {error}"),
            }),
            Reply::Error(failure) => Err(failure),
        }
    }
}
