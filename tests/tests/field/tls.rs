//! TLS on either side: certificates, keys, handshakes that fail.
//!
//! `tls/` has what the tests' own authority cannot make: a certificate of RSA (`rsa`), one of
//! 1,024 bits (`weak`), one of the curve P-521, and one of X.509 version 1 (`v1`), with keys
//! that protect nothing.

mod files;

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::http::Http;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::connect;
use mxdp_tests::peers::clients::{said, swaks};
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::tls::{Authority, trusting_everybody};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, SignatureAlgorithm, StreamOwned};

const RSA: [&str; 2] = [include_str!("tls/rsa.pem"), include_str!("tls/rsa.key")];
const WEAK: [&str; 2] = [include_str!("tls/weak.pem"), include_str!("tls/weak.key")];
const P521: [&str; 2] = [include_str!("tls/p521.pem"), include_str!("tls/p521.key")];
const V1: [&str; 2] = [include_str!("tls/v1.pem"), include_str!("tls/v1.key")];

fn write(host: &Host, name: &str, text: &str) -> PathBuf {
    let path = host.home.path(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    path
}

/// A pair of files of a name.
fn pair(host: &Host, name: &str, [chain, key]: [&str; 2]) -> (PathBuf, PathBuf) {
    (write(host, &format!("{name}.pem"), chain), write(host, &format!("{name}.key"), key))
}

/// Chain and key of a new certificate that ends after some days.
fn issue(name: &str, days: i64) -> [String; 2] {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let day = Duration::from_hours(24);
    let now = SystemTime::now();
    parameters.not_before = (now - 400 * day).into();
    let span = day * u32::try_from(days.unsigned_abs()).expect("days");
    parameters.not_after = if days < 0 { now - span } else { now + span }.into();
    let key = KeyPair::generate().expect("a key");
    [parameters.self_signed(&key).expect("a certificate").pem(), key.serialize_pem()]
}

fn table(chain: &Path, key: &Path) -> String {
    let (chain, key) = (chain.display(), key.display());
    format!("[[tls.certificates]]\nchain = \"{chain}\"\nkey = \"{key}\"\n")
}

/// The output of `mxdp check`.
fn check(host: &Host) -> String {
    let output =
        host.home.run(&["check", "-c", &host.home.path("mxdp.toml").display().to_string()]);
    let texts =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    texts.concat()
}

fn configure(host: &Host, more: &str) {
    let rest = domain("example.org", "main", "") + &backend("main", 2600, "");
    host.configure("smtps = [\"127.0.0.1:465\"]", &format!("{rest}{more}"));
}

/// A handshake on the port that begins with TLS; gives the server's chain.
fn handshake(host: &Host, config: ClientConfig) -> Result<Vec<CertificateDer<'static>>, String> {
    let name = ServerName::try_from("mx.example.org").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 465));
    let socket = host.namespace.run(|| connect(source, target, Duration::from_secs(5)));
    let socket = TcpStream::from(socket.map_err(|error| error.to_string())?);
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let mut stream = StreamOwned::new(connection, socket);
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).map_err(|error| error.to_string())?;
    assert_eq!(&greeting, b"220 ");
    _ = stream.write_all(b"QUIT\r\n");
    Ok(stream.conn.peer_certificates().unwrap_or_default().to_vec())
}

/// A client that has no suites and signatures but those of RSA.
fn rsa_only(version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut provider: CryptoProvider = ring::default_provider();
    let mapping: Vec<_> = provider
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| format!("{scheme:?}").starts_with("RSA"))
        .copied()
        .collect();
    provider.signature_verification_algorithms.mapping = Vec::leak(mapping);
    provider.cipher_suites.retain(|suite| !format!("{suite:?}").contains("ECDSA"));
    ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[version])
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(mxdp_tests::tls::trusting_by(provider))
        .with_no_client_auth()
}

/// What is offered in two kinds serves whoever can use either: a certificate of RSA stands
/// beside one of ECDSA (rustls#297, RFC 8446 section 4.4.2.2).
#[test]
fn the_certificate_whose_key_the_client_can_use_is_served() {
    let host = Host::new();
    let ecdsa = issue("mx.example.org", 300);
    let (chain, key) = pair(&host, "ecdsa", [&ecdsa[0], &ecdsa[1]]);
    let (rsa_chain, rsa_key) = pair(&host, "rsa", RSA);
    let rsa = CertificateDer::from_pem_slice(RSA[0].as_bytes()).expect("a certificate");
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    for order in [0, 1] {
        let mut tables = [table(&chain, &key), table(&rsa_chain, &rsa_key)];
        tables.rotate_left(order);
        configure(&host, &tables.concat());
        let _daemon = host.start();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let served = handshake(&host, rsa_only(version));
            assert_eq!(served.expect("a handshake").first(), Some(&rsa), "{version:?}");
        }
        // A client that can use both gets the first.
        let served = handshake(&host, trusting_everybody()).expect("a handshake");
        assert_eq!(served.first() == Some(&rsa), order == 1);
    }
}

/// What fails before there is anything to record is recorded all the same: bounded, and
/// with its cause (kumomta#235).
#[test]
fn handshakes_that_fail_are_recorded_and_counted() {
    let host = Host::new();
    let made = issue("mx.example.org", 300);
    let (chain, key) = pair(&host, "own", [&made[0], &made[1]]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    configure(
        &host,
        &format!(
            "{}[web]\nloopback = \"read\"\nlisten = [\"127.0.0.1:8025\"]\n",
            table(&chain, &key)
        ),
    );
    let _daemon = host.start();
    let open = |source: [u8; 4]| {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
        let mut dialogue =
            Dialogue::open(&host.namespace, source.into(), target).expect("a connection");
        dialogue.line().expect("a greeting");
        dialogue.told("EHLO client.example");
        assert!(dialogue.told("STARTTLS").starts_with("220 "));
        dialogue
    };
    for source in [[127, 0, 0, 5], [127, 0, 0, 5], [127, 0, 0, 5], [127, 0, 0, 6]] {
        let mut dialogue = open(source);
        dialogue.send(b"GET / HTTP/1.1\r\nHost: mx.example.org\r\n\r\n");
        _ = dialogue.closed();
    }
    open([127, 0, 0, 7]).hang_up();
    // One that trusts nobody gives an alert.
    let mut suspicious = trusting_everybody();
    suspicious.dangerous().set_certificate_verifier(
        rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new({
                let mut roots = rustls::RootCertStore::empty();
                let own = issue("other.example", 10);
                roots.add(CertificateDer::from_pem_slice(own[0].as_bytes()).unwrap()).unwrap();
                roots
            }),
            Arc::new(ring::default_provider()),
        )
        .build()
        .expect("a verifier"),
    );
    assert!(handshake(&host, suspicious).is_err());
    // A client that connects and sends nothing, as balancers and monitors do with FIN or RST, is
    // counted, without an entry.
    for number in 0..6 {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 465));
        let source = IpAddr::from([127, 0, 0, 8]);
        let socket = host.namespace.run(|| connect(source, target, Duration::from_secs(5)));
        let socket = socket.expect("connected");
        if number % 2 == 1 {
            socket.set_linger(Some(Duration::ZERO)).expect("an option");
        }
    }
    let counted = || -> Vec<(String, u64)> {
        let status = host.home.json(&["status"]);
        let causes = status["smtp"]["handshakes"].as_array().expect("a list").clone();
        let causes = causes.iter().map(|one| {
            (
                one["cause"].as_str().unwrap_or_default().to_owned(),
                one["count"].as_u64().unwrap_or(0),
            )
        });
        causes.filter(|(_, count)| *count > 0).collect()
    };
    let expected = [("invalid", 4), ("alert", 1), ("closed", 1), ("nothing_sent", 6)];
    wait_for("the counts", || {
        let counted = counted();
        expected.iter().all(|(cause, count)| counted.contains(&((*cause).to_owned(), *count)))
    });
    // Those of one network and cause are one entry.
    let entries =
        || host.home.json_lines(&["traffic", "blocked", "--reason", "tls_handshake", "--all"]);
    wait_for("the entries", || entries().len() == 4);
    let entries = entries();
    let first = entries.iter().find(|one| one["ip"] == "127.0.0.5").expect("an entry");
    assert_eq!((&first["stage"], &first["count"]), (&"tls".into(), &1.into()), "{first}");
    assert!(first["rule"].as_str().is_some_and(|rule| rule.starts_with("invalid: ")), "{first}");
    assert!(host.home.log().contains("handshake failed"), "{}", host.home.log());
    let metrics = metrics(&host);
    assert!(
        metrics.contains("mxdp_tls_handshake_failures_total{cause=\"invalid\"} 4"),
        "{metrics}"
    );
}

/// A certificate that nobody can read counts as none, on either side (rustls#860).
#[test]
fn a_certificate_of_version_1_counts_as_none() {
    let host = Host::new();
    let made = issue("mx.example.org", 300);
    let (chain, key) = pair(&host, "own", [&made[0], &made[1]]);
    let (v1_chain, v1_key) = pair(&host, "v1", V1);
    let ca = Authority::new().certificate(&host.home.path(""));
    let main = format!(
        "smtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\nsmtpd_tls_cert_file = {}\n\
         smtpd_tls_key_file = {}\n",
        v1_chain.display(),
        v1_key.display()
    );
    let options = Options {
        port: 2600,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        main: &main,
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    let rest =
        domain("example.org", "main", "") + &backend("main", 2600, "tls = \"opportunistic\"");
    let tls = format!("[tls]\nclient_ca = \"{}\"\n{}", ca.display(), table(&chain, &key));
    host.configure("smtps = [\"127.0.0.1:465\"]", &format!("{rest}{tls}"));
    let _daemon = host.start();
    // A client that shows one.
    let shown = CertificateDer::from_pem_slice(V1[0].as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(V1[1].as_bytes()).expect("a key");
    let key = ring::sign::any_supported_type(&key).expect("a key");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let certified = CertifiedKey::new(vec![shown.clone()], key.clone());
        assert_eq!(certified.key.algorithm(), SignatureAlgorithm::ECDSA);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(
                mxdp_tests::tls::trusting_by(ring::default_provider()),
            )
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        handshake(&host, config).unwrap_or_else(|error| panic!("{version:?}: {error}"));
    }
    // A mail system that shows one: TLS is not given up.
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
    dialogue.line().expect("a greeting");
    for line in ["EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>"] {
        assert!(dialogue.told(line).starts_with("250"), "{line}");
    }
    assert!(dialogue.told("DATA").starts_with("354 "));
    assert!(dialogue.told("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    let messages = postfix.wait_for(1);
    let message = String::from_utf8_lossy(&messages[0]).into_owned();
    assert!(message.contains("(using TLSv1.3 with cipher"), "{message}");
    assert!(!alarms(&host).contains("without TLS"));
}

/// A certificate whose signatures cannot be verified counts as none, and its client's mail
/// comes: what guards nothing refuses nobody (the kind of rustls#860).
#[test]
fn a_certificate_whose_key_cannot_be_proven_counts_as_none() {
    let host = Host::new();
    let made = issue("mx.example.org", 300);
    let (chain, key) = pair(&host, "own", [&made[0], &made[1]]);
    let pairs = [("weak", WEAK), ("p521", P521)];
    let ca = Authority::new().certificate(&host.home.path(""));
    let postfix = Postfix::start(
        &host.namespace,
        &Options {
            port: 2600,
            domains: &["example.org"],
            recipients: &["bob@example.org"],
            ..Options::default()
        },
    );
    let tls = format!("[tls]\nclient_ca = \"{}\"\n{}", ca.display(), table(&chain, &key));
    let rest = domain("example.org", "main", "") + &backend("main", 2600, "");
    host.configure("smtps = [\"127.0.0.1:465\"]", &format!("{rest}{tls}"));
    let _daemon = host.start();
    let mut count = 0;
    for (name, texts) in pairs {
        let (chain, key) = pair(&host, name, texts);
        for version in ["tlsv1_2", "tlsv1_3"] {
            let arguments = [
                "--server",
                "127.0.0.1",
                "--from",
                "a@b.example",
                "--to",
                "bob@example.org",
                "--tls",
                "--tls-cipher",
                "DEFAULT@SECLEVEL=0",
                "--tls-protocol",
                version,
                "--tls-cert",
                chain.to_str().expect("a path"),
                "--tls-key",
                key.to_str().expect("a path"),
            ];
            let output = swaks(&host.namespace, &arguments);
            assert!(output.status.success(), "{name}, {version}: {}", said(&output));
            count += 1;
        }
    }
    _ = postfix.wait_for(count);
    let entries = || host.home.json_lines(&["traffic", "accepted", "--all"]);
    wait_for("the entries", || entries().len() == count);
}

/// What is given up where it may be given up is said (rustls#860, RFC 7435).
#[test]
fn a_backend_whose_tls_fails_is_an_alarm() {
    let host = Host::new();
    // Without a certificate it has suites that are anonymous, and nothing in common with us.
    let options = Options {
        port: 2600,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        main: "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = none\n",
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    let rest =
        domain("example.org", "main", "") + &backend("main", 2600, "tls = \"opportunistic\"");
    host.configure("", &rest);
    let _daemon = host.start();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
    dialogue.line().expect("a greeting");
    for line in ["EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>"] {
        assert!(dialogue.told(line).starts_with("250"), "{line}");
    }
    assert!(dialogue.told("DATA").starts_with("354 "));
    assert!(dialogue.told("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    assert_eq!(postfix.wait_for(1).len(), 1);
    wait_for("the alarm", || {
        alarms(&host).contains("backend main at 127.0.0.1:2600: messages go without TLS: TLS: ")
    });
}

fn alarms(host: &Host) -> String {
    host.home.json(&["status"])["alarms"].to_string()
}

fn metrics(host: &Host) -> String {
    Http::new(&host.namespace, "http://127.0.0.1:8025", None).get("/metrics").body
}

/// Of two rules that match, a stranger does not pick the weaker one; what nobody can meet
/// is said.
#[test]
fn the_stricter_tls_policy_counts_and_an_unmeetable_one_is_warned_of() {
    let host = Host::new();
    let made = issue("mx.example.org", 300);
    let (chain, key) = pair(&host, "own", [&made[0], &made[1]]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let peer = |what: &str, mode: &str| format!("[[tls.peers]]\n{what}\nmode = \"{mode}\"\n");
    let peers = [
        peer("networks = [\"127.0.0.2/32\"]", "mandatory"),
        peer("domains = [\"plain.example\"]", "none"),
        peer("domains = [\"bank.example\"]", "mandatory"),
    ];
    configure(&host, &format!("{}{}", table(&chain, &key), peers.concat()));
    assert!(!check(&host).contains("TLS is not offered"), "{}", check(&host));
    let daemon = host.start();
    let told = |source: [u8; 4], sender: &str| {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
        let mut dialogue =
            Dialogue::open(&host.namespace, source.into(), target).expect("a connection");
        dialogue.line().expect("a greeting");
        dialogue.told("EHLO client.example");
        dialogue.told(&format!("MAIL FROM:<{sender}>"))
    };
    assert!(told([127, 0, 0, 2], "a@plain.example").starts_with("530 5.7.0 "));
    assert!(told([127, 0, 0, 2], "a@other.example").starts_with("530 5.7.0 "));
    assert!(told([127, 0, 0, 3], "a@bank.example").starts_with("530 5.7.0 "));
    assert!(told([127, 0, 0, 3], "a@plain.example").starts_with("250 "));
    drop(daemon);
    let none = peer("networks = [\"127.0.0.3/32\"]", "none");
    configure(&host, &format!("{}{}{none}", table(&chain, &key), peers.concat()));
    let said = check(&host);
    assert!(said.contains("TLS is not offered to these clients"), "{said}");
    assert!(said.contains("127.0.0.3/32") && said.contains("bank.example"), "{said}");
}
