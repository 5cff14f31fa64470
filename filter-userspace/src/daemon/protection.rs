//! Which addresses no automatic block covers, and no block that an operator asks for
//! unless it is forced; see [`Protected`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::core::Daemon;
use super::requests::bad_request;
use crate::control::protocol::Failure;
use crate::control::server::Peer;
use crate::generation::protected::on_this_host;
use crate::lists::{Holder, Protected};

/// For how long it is believed which addresses this host and the backends have.
const FRESH: Duration = Duration::from_secs(1);

impl Daemon {
    /// What is protected now.
    pub(super) fn protected(&mut self) -> Arc<Protected> {
        if self.protected.0.is_none_or(|at| at.elapsed() > FRESH) {
            self.protect();
        }
        self.protected.1.clone()
    }

    /// Looks anew what is protected, tells the SMTP side, and lifts automatic blocks that
    /// were made before it was.
    pub(super) fn protect(&mut self) {
        let mut protected = on_this_host(&self.config);
        for (backend, address) in self.edge.iter().flat_map(|edge| edge.backend_addresses()) {
            protected.add(address.into(), Holder::Backend(backend));
        }
        let is_first = self.protected.0.replace(Instant::now()).is_none();
        if !is_first && protected == *self.protected.1 {
            return;
        }
        self.protected.1 = Arc::new(protected);
        if let Some(edge) = &self.edge {
            edge.publish_protected(self.protected.1.clone());
        }
        self.lift_protected();
    }

    /// Refuses a block that hits what is protected, unless it is forced.
    pub(super) fn object(
        &mut self,
        prefix: IpNet,
        force: bool,
        peer: &Peer,
    ) -> Result<(), Failure> {
        if force {
            return Ok(());
        }
        let mut protected = (*self.protected()).clone();
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
