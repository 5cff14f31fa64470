//! One message stays one: whatever a client sends for an end of its message, a
//! backend that takes anything for an end sees the one that mxdp writes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::netns::Namespace;
use mxdp_tests::wrong::backend::Backend;
use mxdp_tests::wrong::client::Client;
use mxdp_tests::wrong::script::Script;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What somebody takes for the end of a message. The backend here takes them all.
const ENDS: [&[u8]; 24] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\r.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\n",
    b"\n\0.\n",
    b"\r\n. \r\n",
    b"\r\n.\t\r\n",
    b"\r\n. \n",
    b"\n\n.\n\n",
    b"\r\r.\r\r",
    b"\n\r.\n\r",
    b"\n\r\n.\n\r\n",
    b"\r\n.\r\0\n",
];

/// Ends of data for a server that drops a leading dot, and a real end.
const MORE_ENDS: [&[u8]; 5] = [b"\r\n..\r\n", b"\n..\n", b"\r\n..\n", b"\r\n...\r\n", b"\r\n.\r\n"];

const HEAD: &[u8] = b"Subject: first\r\n\r\nfirst";
const SMUGGLED: &[u8] = b"MAIL FROM:<smuggled@client.example>\r\n\
    RCPT TO:<smuggled@example.org>\r\nDATA\r\nSubject: second\r\n\r\nsecond\r\n.\r\n";

fn mxdp() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 25).into()
}

fn behind() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 2600).into()
}

fn configure(home: &Home, limits: &str, tls: &str) {
    home.configure(
        "interfaces = [\"lo\"]\nmode = \"generic\"",
        &format!(
            "[listen]\nsmtp = [\"127.0.0.1:25\"]\nhostname = \"mx.example.org\"\n\
             [smtp]\nconnections_per_address = 1000\ncommand_timeout = 5\ndata_timeout = 5\n{limits}\n\
             [escalation]\nabuse.count = 0\n\
             [[domain]]\nnames = [\"example.org\"]\nbackend = \"lenient\"\n\
             [[backend]]\nname = \"lenient\"\nservers = [\"127.0.0.1:2600\"]\n{tls}"
        ),
    );
}

fn lenient() -> Backend {
    Backend::start(behind(), Script { lenient: true, pipelining: true, ..Script::default() })
}

/// A client whose recipient is accepted.
fn with_recipient(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).expect("it accepts");
    assert!(client.hello(), "no greeting");
    for line in ["MAIL FROM:<first@client.example>", "RCPT TO:<first@example.org>"] {
        assert_eq!(client.command(line).expect("a reply").0, 250, "{line}");
    }
    client
}

/// Sends the pieces in segments of their own; those that break the connection are
/// the last.
fn pieces(client: &mut Client, pieces: [&[u8]; 2]) {
    for piece in pieces {
        _ = client.send(piece);
        if !pieces[1].is_empty() {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// By DATA, cut into two segments at `cut`.
fn by_data(address: SocketAddr, end: &[u8], cut: usize) -> Option<u16> {
    let mut client = with_recipient(address);
    assert_eq!(client.command("DATA").expect("a reply").0, 354);
    let wire = [HEAD, end, SMUGGLED].concat();
    let (first, second) = wire.split_at(cut);
    pieces(&mut client, [first, second]);
    client.reply().ok().map(|(code, _)| code)
}

/// By BDAT, in two chunks that meet at `cut`.
fn by_chunks(address: SocketAddr, end: &[u8], cut: usize) -> Option<u16> {
    let mut client = with_recipient(address);
    let message = [HEAD, end, SMUGGLED].concat();
    let (first, second) = message.split_at(cut);
    if !second.is_empty() {
        _ = client.send(&[format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat());
        let code = client.reply().ok().map(|(code, _)| code);
        if code != Some(250) {
            return code;
        }
    }
    let last = if second.is_empty() { first } else { second };
    _ = client.send(&[format!("BDAT {} LAST\r\n", last.len()).as_bytes(), last].concat());
    client.reply().ok().map(|(code, _)| code)
}

/// Whether a command or a message of the smuggler came to the backend.
fn came(backend: &Backend) -> bool {
    backend.commands().iter().any(|line| line.to_ascii_lowercase().contains("smuggled"))
        || backend.ended().iter().any(|ended| ended.sender.contains("smuggled"))
}

/// `normalised` says whether bare line ends are mended in DATA and in chunks.
fn is_never_two(limits: &str, [in_data, in_chunks]: [bool; 2]) {
    let namespace = Namespace::new("mxg");
    namespace.run(|| {
        // The backend has to be fooled by each of them when nothing is before it.
        for end in ENDS {
            let backend = lenient();
            assert_eq!(by_data(behind(), end, 0), Some(250), "{:?}", end.escape_ascii());
            wait_for(&format!("a second message by {}", end.escape_ascii()), || came(&backend));
        }
        let backend = lenient();
        let home = Home::new();
        configure(&home, limits, "");
        let _daemon = home.start(&namespace);
        wait_for("the listener", || Client::connect(mxdp()).is_ok());
        let (mut sessions, mut taken) = (0, 0);
        for end in ENDS.iter().chain(&MORE_ENDS) {
            // Every place within the end, and one before and behind it.
            for cut in HEAD.len() - 1..=HEAD.len() + end.len() + 1 {
                let text = end.escape_ascii();
                // A real end in DATA ends the message, and what follows is another.
                let real = end.windows(5).any(|part| part == b"\r\n.\r\n");
                let real = real && (in_data || !is_bare(end));
                let data = (!real).then(|| (in_data, by_data(mxdp(), end, cut)));
                let chunks = (in_chunks, by_chunks(mxdp(), end, cut));
                for (normalised, code) in data.into_iter().chain([chunks]) {
                    let code = code.unwrap_or_else(|| panic!("{text} at {cut}: no reply"));
                    sessions += 1;
                    taken += usize::from(code == 250);
                    let nul = end.contains(&0);
                    let strict = !normalised || nul;
                    let bare = nul || is_bare(end);
                    assert_eq!(code, if strict && bare { 550 } else { 250 }, "{text} at {cut}");
                }
                assert!(!came(&backend), "{text} at {cut}: a second message");
            }
        }
        assert_eq!(backend.ended().len(), taken, "each is one message");
        // Two that are two are seen as two.
        assert_eq!(by_data(mxdp(), b"\r\n.\r\n", 0), Some(250));
        wait_for("the second message", || came(&backend));
        println!("{sessions} sessions, {taken} messages, none of them two");
    });
}

/// Whether there is a bare CR or LF.
fn is_bare(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "");
    text.contains(['\r', '\n'])
}

#[test]
fn no_end_of_a_message_smuggles_another() {
    is_never_two("normalise_chunks = false", [false, false]);
}

#[test]
fn no_end_of_a_message_smuggles_another_where_lines_are_normalised() {
    is_never_two("normalise_networks = [\"127.0.0.0/8\"]", [true, true]);
}

#[test]
fn no_end_of_a_message_smuggles_another_where_chunks_are_normalised() {
    is_never_two("", [false, true]);
}

#[test]
fn what_comes_too_early_is_no_command() {
    let namespace = Namespace::new("mxp");
    namespace.run(|| {
        let backend = lenient();
        let home = Home::new();
        let key = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).expect("a key");
        home.write("chain.pem", key.cert.pem());
        home.write("key.pem", key.signing_key.serialize_pem());
        let tls = "[[tls.certificates]]\nchain = \"chain.pem\"\nkey = \"key.pem\"\n";
        configure(&home, "", tls);
        let _daemon = home.start(&namespace);
        wait_for("the listener", || Client::connect(mxdp()).is_ok());

        // Behind EHLO and HELO.
        for hello in ["EHLO", "HELO"] {
            let mut client = Client::connect(mxdp()).expect("mxdp accepts");
            assert_eq!(client.reply().expect("a greeting").0, 220);
            let line = format!("{hello} c.example\r\nMAIL FROM:<smuggled@client.example>");
            refused(&client.command(&line).expect("a reply"), hello);
            assert_eq!(client.rest(), [], "{hello}: and closed");
        }
        // Behind DATA: the message itself, or a command.
        for more in ["Subject: x\r\n\r\nx\r\n.", "QUIT", ".", ""] {
            let mut client = with_recipient(mxdp());
            refused(&client.command(&format!("DATA\r\n{more}")).expect("a reply"), more);
            assert_eq!(client.rest(), [], "{more}: and closed");
        }
        // Behind STARTTLS: it is thrown away, and what was said before is forgotten.
        for more in
            ["EHLO evil.example\r\nMAIL FROM:<smuggled@client.example>\r\n", "NOOP\r\n", "NO"]
        {
            let mut client = Client::connect(mxdp()).expect("mxdp accepts");
            assert!(client.hello(), "no greeting");
            client.send(format!("STARTTLS\r\n{more}").as_bytes()).expect("sent");
            assert_eq!(client.reply().expect("a reply").0, 220);
            let mut stream = encrypted(client, key.cert.der().clone());
            let say = |stream: &mut StreamOwned<_, _>, line: &str| {
                stream.write_all(line.as_bytes()).expect("sent");
                let mut reply = [0; 512];
                let count = stream.read(&mut reply).expect("a reply");
                String::from_utf8_lossy(&reply[..count]).into_owned()
            };
            let reply = say(&mut stream, "MAIL FROM:<smuggled@client.example>\r\n");
            assert!(reply.starts_with("503 5.5.1") && reply.lines().count() == 1, "{reply}");
            let reply = say(&mut stream, "RSET\r\n");
            assert!(reply.starts_with("250 2.0.0 reset"), "{reply}");
            let reply = say(&mut stream, "EHLO good.example\r\n");
            assert!(
                reply.contains("greets good.example") && !reply.contains("STARTTLS"),
                "{reply}"
            );
        }
        assert!(!came(&backend));
        assert!(!backend.commands().iter().any(|line| line.starts_with("DATA")));
        assert!(backend.finish().is_empty());
    });
}

fn refused((code, line): &(u16, String), what: &str) {
    assert_eq!(*code, 554, "{what}: {line}");
    assert!(line.starts_with("554 5.5.0"), "{what}: {line}");
}

fn encrypted(
    client: Client,
    certificate: CertificateDer<'static>,
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example.org").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("TLS");
    StreamOwned::new(connection, client.into_stream())
}
