//! Certificate chains of others: verified only if they are as short as real ones.
//!
//! Finding a path through certificates with the same names takes seconds of a processor, and the
//! handshake runs on a thread that moves bytes. Real chains have three or four certificates and a
//! few KB.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::parse_x509_certificate;
use x509_parser::public_key::PublicKey;

/// The maximum number of certificates in a chain, without the host's own.
const CERTIFICATES: usize = 6;

/// The maximum size of all of them, in bytes.
const BYTES: usize = 32 * 1024;

/// The maximum number of certificates with one name: more than a cross-signed pair makes many
/// paths.
const NAMESAKES: usize = 2;

/// Whether a chain may be verified.
#[must_use]
pub fn is_bounded(own: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> bool {
    let bytes = rest.iter().fold(own.len(), |sum, one| sum.saturating_add(one.len()));
    if rest.len() > CERTIFICATES || bytes > BYTES {
        return false;
    }
    // A certificate that cannot be parsed is on no path.
    let parsed = rest.iter().filter_map(|one| parse_x509_certificate(one).ok());
    let names: Vec<&[u8]> = parsed.map(|(_, one)| one.tbs_certificate.subject.as_raw()).collect();
    names.iter().all(|name| names.iter().filter(|other| *other == name).count() <= NAMESAKES)
}

/// Whether a signature can prove that a peer has the key of a certificate: not for RSA below 2,048
/// bits, rare curves, and certificates that cannot be parsed. Such a certificate counts as none.
#[must_use]
pub fn is_provable(own: &CertificateDer<'_>) -> bool {
    let Ok((_, read)) = parse_x509_certificate(own) else { return false };
    let key = &read.tbs_certificate.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let is_known = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => (2048..=8192).contains(&rsa.key_size()),
        Ok(PublicKey::EC(_)) => {
            curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384)
        }
        _ => key.algorithm.algorithm == OID_SIG_ED25519,
    };
    is_known && ParsedCertificate::try_from(own).is_ok()
}

/// Verifies servers by `roots`, and rejects chains that are not bounded.
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
                "the server sent more than {CERTIFICATES} intermediate certificates, more than \
                 {NAMESAKES} of one name, or more than {BYTES} bytes"
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
    fn look_alikes_beyond_a_cross_signed_pair_are_not_verified() {
        let key = rcgen::KeyPair::generate().unwrap();
        let named = |name: &str| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters.self_signed(&key).unwrap().der().clone()
        };
        let own = named("mx.example.org");
        let pairs = ["A", "A", "B", "B", "C"].map(named);
        assert!(is_bounded(&own, &pairs));
        assert!(!is_bounded(&own, &["A", "B", "A", "A"].map(named)));
    }

    /// A self-signed certificate of RSA with 1,024 bits.
    const WEAK: &str = "\
        MIICDDCCAXWgAwIBAgIUEdAC4rfDpX9xcDcEGap3DYdl9EwwDQYJKoZIhvcNAQELBQAwFzEVMBMGA1UE\
        AwwMd2Vhay5leGFtcGxlMCAXDTI2MTEyOTAwNDg0NloYDzIxMjYxMTA1MDA0ODQ2WjAXMRUwEwYDVQQD\
        DAx3ZWFrLmV4YW1wbGUwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBALc215cSkkAacfyySzP0LAu9\
        xvdLiLEoMUJfgNcsvJVxdepuwMPlT2CIkY9N3ZuVLZfYhcQMlSfEydUna/r+hgaxTWJNIMnjL1mYkxYp\
        KTqEwJ2likqr7rRefiUjegtZBnMdxBvuw7FcxQ55PIsJMkgPJQ4IgWEkzdhW88LMfFrFAgMBAAGjUzBR\
        MB0GA1UdDgQWBBS0W3XlTjDDOSKtDs1kkCuSRCRYmzAfBgNVHSMEGDAWgBS0W3XlTjDDOSKtDs1kkCuS\
        RCRYmzAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBCwUAA4GBAA8e8AIbNZZ9INHFIMMoLh9kGFeJ\
        CMjU2E4KxiwMNXJWKgxMwwTFnAvhuw1+oC9BL9ZdQXRNII4qGMZBKV3fFZR4pjkuP9MKzNmU1Q6q77G2\
        AXMIXGXX7uyvT5jUlx8v5LSnn600KY9uns5hSL00LZSYCbzPRMkL5omLIV9CoXnf";

    #[test]
    fn a_key_is_proven_by_what_the_library_verifies() {
        use base64::Engine as _;
        let weak = base64::engine::general_purpose::STANDARD.decode(WEAK).unwrap();
        assert!(!is_provable(&CertificateDer::from(weak)));
        assert!(!is_provable(&CertificateDer::from(vec![0; 100])));
        for kind in
            [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384]
        {
            let key = rcgen::KeyPair::generate_for(kind).unwrap();
            let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            assert!(is_provable(made.der()), "{kind:?}");
        }
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
