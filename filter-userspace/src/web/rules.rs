//! What a rule set says of the console: who may do what, and by which certificate it is
//! known. A reload replaces both, for connections that are open too.

use std::fs;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::config::smtp::Certificate;
use crate::config::web::Web;
use crate::io::certificates::{self, Facts};
use crate::io::smtp::with_certificate;

/// What is active of `[web]`.
#[derive(Clone)]
pub struct Rules {
    /// Who may do what.
    pub web: Web,
    /// The TLS of new connections; none where HTTP is plain.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// What there is to know of the certificate.
    facts: Option<Facts>,
    /// What the files of the certificate hold.
    stamp: Option<Vec<u8>>,
}

impl Rules {
    /// Reads the certificate of the configuration in the file `source`.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificate.
    pub fn load(web: &Web, source: &str) -> Result<Self, String> {
        let tls = web.certificate.as_ref().map(with_certificate).transpose();
        let tls = tls.map_err(|error| format!("web.chain: {error}"))?;
        let stamp = web.certificate.as_ref().map(stamp);
        // By which name the console is called is nobody's to say here.
        let (facts, _) = certificates::look(web.certificate.as_slice(), source, "");
        Ok(Self { web: web.clone(), tls, facts: facts.into_iter().next(), stamp })
    }

    /// Without anybody who may do anything: what is left of a console that was taken out of
    /// the configuration, until a restart closes its sockets.
    #[must_use]
    pub fn closed(&self) -> Self {
        let (tokens, loopback) = (Vec::new(), crate::config::web::Rights::None);
        Self { web: Web { tokens, loopback, ..self.web.clone() }, ..self.clone() }
    }

    /// Whether the other is the same to every client.
    fn is(&self, other: &Self) -> bool {
        self.web == other.web && self.stamp == other.stamp
    }
}

/// A reload that reads the same bytes need not disturb anybody. What cannot be read was an
/// error before.
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
    /// Begins with the rules of the start.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(rules))))
    }

    /// Makes rules active; connections that are open end after the request that they are
    /// answering, so that nobody goes on by a certificate or rights of before.
    pub fn publish(&self, rules: Rules) {
        self.0.send_if_modified(|active| {
            let is_new = !active.is(&rules);
            if is_new {
                *active = Arc::new(rules);
            }
            is_new
        });
    }

    /// Makes nobody a client.
    pub fn close(&self) {
        let closed = self.0.borrow().closed();
        self.publish(closed);
    }

    /// The certificate that is served.
    #[must_use]
    pub fn certificate(&self) -> Option<Facts> {
        self.0.borrow().facts.clone()
    }

    /// To read them.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Rules>> {
        self.0.subscribe()
    }
}
