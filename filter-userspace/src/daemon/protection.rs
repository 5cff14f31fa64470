//! Which addresses no automatic block covers, and no block that an operator asks for
//! unless it is forced; see [`Protected`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::failures::bad_request;
use crate::config::Config;
use crate::control::protocol::Failure;
use crate::control::server::Peer;
use crate::generation::protected::on_this_host;
use crate::io::smtp::Edge;
use crate::lists::{Holder, Protected};

/// What is protected, as it was last found.
pub(super) struct Protection {
    /// When it was; never before the first time.
    found: Option<Instant>,
    protected: Arc<Protected>,
}

impl Protection {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { found: None, protected: Arc::new(Protected::new()) }
    }

    /// What is protected.
    pub(super) fn protected(&self) -> &Arc<Protected> {
        &self.protected
    }

    /// Whether it was found longer ago.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        self.found.is_none_or(|at| at.elapsed() > age)
    }

    /// Finds what is protected now, and says whether that is news.
    pub(super) fn find(&mut self, config: &Config, edge: Option<&Edge>) -> bool {
        let mut protected = on_this_host(config);
        for (backend, address) in edge.iter().flat_map(|edge| edge.backend_addresses()) {
            protected.add(address.into(), Holder::Backend(backend));
        }
        let is_first = self.found.replace(Instant::now()).is_none();
        if !is_first && protected == *self.protected {
            return false;
        }
        self.protected = Arc::new(protected);
        true
    }

    /// Refuses a block that hits what is protected.
    pub(super) fn object(&self, prefix: IpNet, peer: &Peer) -> Result<(), Failure> {
        let mut protected = (*self.protected).clone();
        if let Peer::Web { address, .. } = peer {
            protected.add((*address).into(), Holder::Console);
        }
        let objections = protected.objections(prefix);
        if objections.is_empty() {
            return Ok(());
        }
        Err(bad_request(&format!(
            "{}; use --force (`\"force\": true` in the API) if that is meant",
            objections.join("; ")
        )))
    }
}
