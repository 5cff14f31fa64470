//! Chains of certificates of others: verified only where they are as short as real ones.
//!
//! To find a path through look-alike certificates takes seconds of a processor, and the
//! handshake is done by a thread that moves bytes. Real chains have three or four certificates
//! and a few KB.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The most certificates of a chain, the host's own not counted.
const CERTIFICATES: usize = 6;

/// The most bytes of all of them.
const BYTES: usize = 32 * 1024;

/// Whether a chain may be verified.
#[must_use]
pub fn is_bounded(own: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> bool {
    let bytes = rest.iter().fold(own.len(), |sum, one| sum.saturating_add(one.len()));
    rest.len() <= CERTIFICATES && bytes <= BYTES
}

/// Verifies servers by what `roots` have issued, and no chain that is not bounded.
///
/// # Errors
///
/// In words, when there are no roots.
pub fn bounded(roots: RootCertStore) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(Bounded(verifier)))
}

#[derive(Debug)]
struct Bounded(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Bounded {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !is_bounded(own, rest) {
            return Err(rustls::Error::General(format!(
                "the server sent more than {CERTIFICATES} intermediate certificates, or {BYTES} bytes"
            )));
        }
        self.0.verify_server_cert(own, rest, name, response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chains_of_a_real_length_are_verified() {
        let one = |bytes: usize| CertificateDer::from(vec![0; bytes]);
        let own = one(2000);
        assert!(is_bounded(&own, &[]));
        assert!(is_bounded(&own, &vec![one(2000); CERTIFICATES]));
        assert!(!is_bounded(&own, &vec![one(200); CERTIFICATES + 1]));
        assert!(!is_bounded(&own, &vec![one(16_000); 2]));
    }

    #[test]
    fn a_server_with_too_long_a_chain_is_told_so() {
        let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
        let own = made.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(own.clone()).unwrap();
        let verifier = bounded(roots).unwrap();
        let name = ServerName::try_from("mx.example.org").unwrap();
        let verify = |rest: &[CertificateDer<'_>]| {
            verifier.verify_server_cert(&own, rest, &name, b"", UnixTime::now())
        };
        assert!(verify(&[]).is_ok());
        let error = verify(&vec![own.clone(); 300]).unwrap_err().to_string();
        assert!(error.contains("more than 6 intermediate certificates"), "{error}");
    }
}
