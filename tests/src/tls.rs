//! TLS for tests: an authority with certificates, and a client that believes
//! everybody.

use std::fs::{self, Permissions};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(parameters, key).expect("a certificate") }
    }

    /// Writes its own certificate into a folder.
    #[must_use]
    pub fn certificate(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.pem");
        fs::write(&path, self.issuer.pem()).expect("written");
        path
    }

    /// Issues a certificate for a name, and writes chain and key into a folder.
    #[must_use]
    pub fn issue(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let paths = ["pem", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
        fs::write(&paths[0], certificate.pem()).expect("written");
        fs::write(&paths[1], key.serialize_pem()).expect("written");
        fs::set_permissions(&paths[1], Permissions::from_mode(0o600)).expect("a mode");
        let [chain, key] = paths;
        (chain, key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A client's side of TLS that asks for no certificate's validity.
#[must_use]
pub fn trusting_everybody() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth()
}

/// Believes everybody, with what a provider has for signatures.
#[must_use]
pub fn trusting_by(provider: CryptoProvider) -> Arc<dyn ServerCertVerifier> {
    Arc::new(TrustingBy(provider))
}

/// Sends one message of `size` bytes over a connection of its own, with STARTTLS.
///
/// # Errors
///
/// When anything is not as a client expects it.
pub fn send(port: u16, config: &Arc<ClientConfig>, size: usize) -> Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let mut plain = BufReader::new(stream);
    expect(&mut plain, "220")?;
    say(plain.get_mut(), "EHLO client.example")?;
    expect(&mut plain, "250")?;
    say(plain.get_mut(), "STARTTLS")?;
    expect(&mut plain, "220")?;
    let name = ServerName::try_from("mx.example.org")?;
    let connection = ClientConnection::new(config.clone(), name)?;
    let mut talk = BufReader::new(StreamOwned::new(connection, plain.into_inner()));
    for (line, code) in [
        ("EHLO client.example", "250"),
        ("MAIL FROM:<a@b.example>", "250"),
        ("RCPT TO:<bob@example.org>", "250"),
        ("DATA", "354"),
    ] {
        say(talk.get_mut(), line)?;
        expect(&mut talk, code)?;
    }
    let line = format!("{}\r\n", "x".repeat(76));
    let message = format!("Subject: s\r\n\r\n{}.", line.repeat(size / line.len()));
    say(talk.get_mut(), &message)?;
    expect(&mut talk, "250")?;
    say(talk.get_mut(), "QUIT")?;
    expect(&mut talk, "221")
}

fn say(stream: &mut impl Write, line: &str) -> Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    Ok(stream.flush()?)
}

fn expect(stream: &mut impl std::io::BufRead, code: &str) -> Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).context("a reply")?;
        ensure!(line.starts_with(code), "{code} was expected: {line:?}");
        if line.get(3..4) != Some("-") {
            return Ok(());
        }
    }
}

#[derive(Debug)]
struct TrustingBy(CryptoProvider);

impl ServerCertVerifier for TrustingBy {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Trusting.verify_server_cert(certificate, more, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Trusting.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Trusting.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
