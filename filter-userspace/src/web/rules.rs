//! The part of a rule set about the console: access rights and the certificate. A reload
//! replaces both, for open connections too.

use std::fs;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::config::smtp::Certificate;
use crate::config::web::Web;
use crate::io::certificates::{self, Facts};
use crate::io::smtp::with_certificate;

/// The active part of `[web]`.
#[derive(Clone)]
pub struct Rules {
    /// Who may do what.
    pub web: Web,
    /// The TLS of new connections; none for plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// The facts about the certificate.
    facts: Option<Facts>,
    /// A digest of the certificate's files.
    stamp: Option<Vec<u8>>,
}

impl Rules {
    /// Reads the certificate of the configuration in the file `source`.
    ///
    /// # Errors
    ///
    /// If the certificate is wrong, says why.
    pub fn load(web: &Web, source: &str) -> Result<Self, String> {
        let tls = web.certificate.as_ref().map(with_certificate).transpose();
        let tls = tls.map_err(|error| format!("web.chain: {error}"))?;
        let stamp = web.certificate.as_ref().map(stamp);
        // The names by which the console is called are not known here.
        let (facts, _) = certificates::look(web.certificate.as_slice(), source, "");
        Ok(Self { web: web.clone(), tls, facts: facts.into_iter().next(), stamp })
    }

    /// Rules that give nobody a right: a console that was removed from the configuration has
    /// them until a restart closes its sockets.
    #[must_use]
    pub fn closed(&self) -> Self {
        let (tokens, loopback) = (Vec::new(), crate::config::web::Rights::None);
        Self { web: Web { tokens, loopback, ..self.web.clone() }, ..self.clone() }
    }

    /// Whether every client sees the same.
    fn is(&self, other: &Self) -> bool {
        self.web == other.web && self.stamp == other.stamp
    }
}

/// Identifies the certificate, so that a reload of the same bytes disturbs nobody. A file that
/// cannot be read has been reported before.
fn stamp(certificate: &Certificate) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    for path in [&certificate.chain, &certificate.key] {
        let bytes = fs::read(path).unwrap_or_default();
        digest.update(&bytes.len().to_le_bytes());
        digest.update(&bytes);
    }
    digest.finish().as_ref().to_vec()
}

/// Where rule sets are published.
#[derive(Clone)]
pub struct Publisher(Arc<watch::Sender<Arc<Rules>>>);

impl Publisher {
    /// Starts with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(rules))))
    }

    /// Makes rules active. Open connections end after the request that they are answering, so
    /// that nobody keeps an earlier certificate or earlier rights.
    pub fn publish(&self, rules: Rules) {
        self.0.send_if_modified(|active| {
            let is_new = !active.is(&rules);
            if is_new {
                *active = Arc::new(rules);
            }
            is_new
        });
    }

    /// Takes every right away.
    pub fn close(&self) {
        let closed = self.0.borrow().closed();
        self.publish(closed);
    }

    /// The served certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<Facts> {
        self.0.borrow().facts.clone()
    }

    /// Follows the published rules.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Rules>> {
        self.0.subscribe()
    }
}
