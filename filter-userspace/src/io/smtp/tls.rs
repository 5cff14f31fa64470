//! TLS, by rustls: the certificates for clients, and the requirements on backends.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ProtocolVersion, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use crate::config::smtp::{Backend, BackendTls, Certificate, TlsSettings};
use crate::io::certificates::{self, roots};
use crate::io::chains::{bounded, is_bounded, is_provable};
use crate::smtp::session::Tls;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// TLS towards clients.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The configuration for connections.
    pub(super) config: Arc<ServerConfig>,
    /// Verifies clients' certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl ServerTls {
    /// Loads certificates and keys; none if none are configured. `source` is the name of the
    /// configuration.
    ///
    /// # Errors
    ///
    /// All their errors, one line each.
    pub fn load(
        settings: &TlsSettings,
        hostname: &str,
        source: &str,
    ) -> Result<Option<Self>, Vec<String>> {
        let mut errors = Vec::new();
        let mut keys = Vec::new();
        for certificate in &settings.certificates {
            match certificates::load(certificate) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(error) => {
                    let line = certificate.line;
                    errors.push(format!("{source}:{line}: tls.certificates: {error}"));
                }
            }
        }
        if settings.self_signed {
            match self_signed(hostname) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(error) => errors.push(format!("tls.self_signed: {error}")),
            }
        }
        let verifier = match settings.client_ca.as_deref().map(client_verifier).transpose() {
            Ok(verifier) => verifier,
            Err(error) => {
                errors.push(format!("{source}: tls.client_ca: {error}"));
                None
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let versions = if settings.minimum >= 13 { &VERSIONS[..1] } else { &VERSIONS[..] };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| vec![format!("tls: {error}")])?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::new(AnyClient {
                verifier: verifier.clone(),
                signatures: Signatures::new(),
            })),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName(keys)));
        config.ticketer = ring::Ticketer::new().map_err(|error| vec![format!("tls: {error}")])?;
        Ok(Some(Self { config: Arc::new(config), verifier }))
    }

    /// The chain of a client's certificate, if it must be verified.
    pub(super) fn chain(
        &self,
        connection: &rustls::ServerConnection,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let chain = connection.peer_certificates().filter(|_| self.verifier.is_some())?;
        Some(chain.iter().map(|one| one.clone().into_owned()).collect())
    }

    /// The TLS of a connection, with the fingerprint of a valid client certificate.
    pub(super) fn describe(
        connection: &rustls::ServerConnection,
        certificate: Option<String>,
    ) -> Tls {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => 13,
            _ => 12,
        };
        let cipher = connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown");
        let text = format!("TLSv1.{} {cipher}", version % 10);
        Tls { version, text, certificate }
    }

    /// The SHA-256 fingerprint of a valid certificate. Verifying a chain may take many signatures,
    /// so it must not run on a thread that moves bytes.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        let (own, rest) = chain.split_first()?;
        if !is_provable(own) || !is_bounded(own, rest) {
            return None;
        }
        self.verifier.as_ref()?.verify_client_cert(own, rest, UnixTime::now()).ok()?;
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, own);
        let mut text = "sha256:".to_owned();
        for byte in digest.as_ref() {
            _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }
}

/// TLS with one certificate, for other protocols than SMTP.
///
/// # Errors
///
/// What is wrong with the certificate.
pub fn with_certificate(certificate: &Certificate) -> Result<Arc<ServerConfig>, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| format!("TLS: {error}"))?;
    let key = Arc::new(certificates::load(certificate)?);
    let resolver = Arc::new(ByName(vec![key]));
    Ok(Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver)))
}

fn self_signed(hostname: &str) -> Result<CertifiedKey, String> {
    let made = rcgen::generate_simple_self_signed([hostname.to_owned(), "localhost".to_owned()])
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let key = ring::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![made.cert.der().clone()], key))
}

fn client_verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Chooses the certificate for the name that a client requests (RFC 6066 section 3), or else the
/// first; of several, the first with a key that the client's signature schemes support (RFC 8446
/// section 4.4.2.2): an RSA certificate for old clients may be configured beside an ECDSA one.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let schemes = hello.signature_schemes();
        let is_for = |key: &&Arc<CertifiedKey>| match (name, key.cert.first()) {
            (Some(name), Some(own)) => certificates::is_for(own, name),
            _ => false,
        };
        let signs = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let mut named = self.0.iter().filter(is_for).filter(signs);
        // A certificate for another name is better than none: few senders compare names.
        named.next().or_else(|| self.0.iter().find(signs)).or(self.0.first()).cloned()
    }
}

/// Verifies the signatures of handshakes. A certificate with a key of a kind that cannot be
/// verified ([`is_provable`]) counts as none, so its signature is not checked.
#[derive(Debug)]
struct Signatures(WebPkiSupportedAlgorithms);

impl Signatures {
    /// Those that the library verifies.
    fn new() -> Self {
        Self(provider().signature_verification_algorithms)
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !is_provable(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !is_provable(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }
}

/// Accepts any client certificate: mail servers present theirs to every server that requests one,
/// and one that is not valid here counts as none. Whether it is valid is checked after the
/// handshake.
#[derive(Debug)]
struct AnyClient {
    verifier: Arc<dyn ClientCertVerifier>,
    signatures: Signatures,
}

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.0.supported_schemes()
    }
}

/// TLS towards a backend; none if none is wanted.
///
/// # Errors
///
/// When its certificates cannot be loaded.
pub(super) fn towards(backend: &Backend) -> Result<Option<Arc<ClientConfig>>, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| format!("backend {}: {error}", backend.name))?;
    let config = match backend.tls {
        BackendTls::None => return Ok(None),
        BackendTls::Opportunistic => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(Signatures::new())))
            .with_no_client_auth(),
        BackendTls::Verified => {
            let roots = match &backend.ca {
                Some(path) => {
                    roots(path).map_err(|error| format!("backend {}: ca: {error}", backend.name))?
                }
                None => system_roots(),
            };
            if roots.is_empty() {
                return Err(format!(
                    "backend {}: no certificates are trusted here: install ca-certificates, or \
                     name a file by `ca`",
                    backend.name
                ));
            }
            let verifier =
                bounded(roots).map_err(|error| format!("backend {}: {error}", backend.name))?;
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
    };
    Ok(Some(Arc::new(config)))
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Accepts any server certificate: opportunistic TLS protects from listeners and authenticates
/// nobody (RFC 7435).
#[derive(Debug)]
struct AnyServer(Signatures);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.0.supported_schemes()
    }
}
