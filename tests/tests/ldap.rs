//! The search for recipients in a real directory, OpenLDAP's slapd.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use mxdp::io::ldap::{Query, Value, addresses};
use mxdp::lists::OnBadLine;
use mxdp::policy::recipients::{Found, ImportOptions, RecipientSet, from_kept, to_kept};
use mxdp::smtp::address::Mailbox;
use mxdp_tests::daemon::wait_for;
use mxdp_tests::peers::{self, Process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PEOPLE: usize = 2500;
const PASSWORD: &str = "correct horse";

/// A slapd with [`PEOPLE`], on loopback and on a socket.
struct Directory {
    process: Process,
    folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Directory {
    fn start() -> Self {
        let folder = TempDir::with_prefix("mxdp-ldap-").expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let certificate =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
                .expect("a certificate");
        fs::write(path("cert.pem"), certificate.cert.pem()).expect("written");
        fs::write(path("key.pem"), certificate.signing_key.serialize_pem()).expect("written");
        let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        fs::write(path("other.pem"), stranger.expect("another").cert.pem()).expect("written");
        fs::create_dir(path("db")).expect("a folder");
        fs::write(path("slapd.conf"), configuration(&folder)).expect("written");
        fs::write(path("people.ldif"), people()).expect("written");

        let added = peers::command("slapadd")
            .args(["-q".as_ref(), "-f".as_ref(), path("slapd.conf").as_os_str()])
            .args(["-l".as_ref(), path("people.ldif").as_os_str()])
            .output()
            .expect("slapadd runs");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));

        let [plain, tls] = [(); 2].map(|()| free());
        let socket = path("socket").display().to_string().replace('/', "%2F");
        let process = peers::command("slapd")
            .args(["-d".as_ref(), "0".as_ref(), "-f".as_ref(), path("slapd.conf").as_os_str()])
            .arg("-h")
            .arg(format!("ldap://{plain} ldaps://{tls} ldapi://{socket}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        let process = Process(process);
        wait_for("slapd", || [plain, tls].iter().all(|at| TcpStream::connect(at).is_ok()));
        Self { process, folder, plain, tls }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn query(&self) -> Query {
        query(&format!("ldap://{}", self.plain))
    }
}

fn query(url: &str) -> Query {
    Query {
        url: url.to_owned(),
        bind_dn: Some("cn=reader,dc=example".to_owned()),
        password: Some(PASSWORD.to_owned()),
        base: "ou=people,dc=example".to_owned(),
        filter: "(objectClass=inetOrgPerson)".to_owned(),
        attributes: ["mail", "MailAlternateAddress"].map(str::to_owned).to_vec(),
        page_size: 500,
        timeout: Duration::from_secs(20),
        starttls: false,
        ca: None,
        max_entries: 10_000,
        max_bytes: 1 << 20,
    }
}

fn configuration(folder: &TempDir) -> String {
    let slapd = peers::find("slapd");
    // ROOT/usr/sbin/slapd, and /sbin/slapd where /sbin is /usr/sbin.
    let root = slapd.ancestors().find(|root| root.join("etc/ldap/schema").exists());
    let root = root.expect("the schemas of slapd").display();
    let folder = folder.path().display();
    format!(
        r#"include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
attributetype ( 2.16.840.1.113730.3.1.13 NAME 'mailAlternateAddress'
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
objectclass ( 2.16.840.1.113730.3.2.3 NAME 'mailRecipient' SUP top AUXILIARY
  MAY mailAlternateAddress )
modulepath {root}/usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
maxsize 268435456
suffix "dc=example"
directory {folder}/db
limits dn.exact="cn=reader,dc=example" size=unlimited
limits dn.exact="cn=limited,dc=example" size.soft=1200 size.hard=1200
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"#
    )
}

fn people() -> String {
    let mut text = "dn: dc=example\nobjectClass: domain\ndc: example\n\n\
                    dn: ou=people,dc=example\nobjectClass: organizationalUnit\nou: people\n\n"
        .to_owned();
    for name in ["reader", "limited"] {
        _ = writeln!(
            text,
            "dn: cn={name},dc=example\nobjectClass: person\ncn: {name}\nsn: {name}\n\
             userPassword: {PASSWORD}\n"
        );
    }
    for number in 0..PEOPLE {
        _ = writeln!(
            text,
            "dn: uid=u{number},ou=people,dc=example\nobjectClass: inetOrgPerson\n\
             objectClass: mailRecipient\nuid: u{number}\ncn: u{number}\nsn: u{number}\n\
             mail: u{number}@example.org\nmailAlternateAddress: alias.{number}@example.net\n"
        );
    }
    text
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address")
}

fn search(query: &Query) -> Result<Vec<String>, String> {
    let runtime = Runtime::new().expect("a runtime");
    let found = runtime.block_on(addresses(query));
    let text = |value: Value| String::from_utf8_lossy(&value.bytes).into_owned();
    found.map(|values| values.into_iter().map(text).collect()).map_err(|error| {
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("LDAP server {}: ", query.url)), "{text}");
        let all = format!("{text} {error:?} {query:?}");
        let secret = query.password.as_deref().unwrap_or(PASSWORD);
        assert!(!all.contains(secret) && !all.contains(PASSWORD), "{all}");
        text
    })
}

#[track_caller]
fn fails(query: &Query, what: &str) {
    let error = search(query).expect_err("an error");
    assert!(error.contains(what), "`{what}` is missing in: {error}");
}

#[test]
fn all_people_are_found_in_pages() {
    let directory = Directory::start();
    for page_size in [7, 500, 2500, 5000] {
        let query = Query { page_size, ..directory.query() };
        let found = search(&query).expect("addresses");
        assert_eq!(found.len(), 2 * PEOPLE, "pages of {page_size}");
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 2 * PEOPLE);
    }
    let found = search(&directory.query()).expect("addresses");
    let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 2 * PEOPLE };
    let kept = to_kept(found.iter().map(String::as_str));
    let import = from_kept(kept.as_bytes(), "ldap", options);
    let mut set = RecipientSet::default();
    set.import(import.expect("an import"));
    let check = |address| set.check(&Mailbox::parse(address).expect("an address"), Some('+'));
    assert!(matches!(check("U2499+x@example.org"), Found::Valid { .. }));
    assert!(matches!(check("alias.0@example.net"), Found::Valid { .. }));
    assert_eq!(check("u0@example.net"), Found::Invalid);
    assert_eq!(check("u0@example.com"), Found::UnknownDomain);

    let anonymous = Query {
        bind_dn: None,
        password: None,
        filter: "(uid=u17)".to_owned(),
        attributes: vec!["mail".to_owned()],
        ..directory.query()
    };
    assert_eq!(search(&anonymous).expect("one"), ["u17@example.org"]);
}

#[test]
fn a_part_of_the_directory_is_an_error() {
    let directory = Directory::start();
    let limited = Query { bind_dn: Some("cn=limited,dc=example".to_owned()), ..directory.query() };
    fails(&limited, "search: LDAP operation result: rc=4 (sizeLimitExceeded)");
    fails(&Query { page_size: 5000, ..limited }, "(sizeLimitExceeded)");
    fails(&Query { max_entries: 4999, ..directory.query() }, "search: more than 4999 addresses");
    fails(&Query { filter: "(uid=nobody)".to_owned(), ..directory.query() }, "no entry has");
    fails(&Query { attributes: vec!["sn;x".to_owned()], ..directory.query() }, "no entry has");
    fails(&Query { base: "dc=elsewhere".to_owned(), ..directory.query() }, "search: ");
    fails(&Query { filter: "((".to_owned(), ..directory.query() }, "search: filter parse error");

    // A connection that ends in the middle of the answers.
    for bytes in [1, 14, 200, 20_000, 60_000, 200_000] {
        let server = cut_after(bytes, directory.plain);
        let found = search(&query(&format!("ldap://{server}"))).map(|found| found.len());
        let error = found.expect_err("cut off");
        assert!(error.contains("bind: ") || error.contains("search: "), "{error}");
    }
}

#[test]
fn a_wrong_password_and_a_server_that_is_gone() {
    let mut directory = Directory::start();
    let wrong = Query { password: Some("wrong battery".to_owned()), ..directory.query() };
    fails(&wrong, "bind: LDAP operation result: rc=49 (invalidCredentials)");
    let nobody = Query { bind_dn: Some("cn=nobody,dc=example".to_owned()), ..directory.query() };
    fails(&nobody, "bind: ");

    directory.process.0.kill().expect("killed");
    directory.process.0.wait().expect("gone");
    fails(&directory.query(), "connect: I/O error: Connection refused");

    // A server that accepts connections and sends nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = silent.local_addr().expect("its address");
    for (starttls, step) in [(false, "bind"), (true, "connect and STARTTLS")] {
        let start = Instant::now();
        let timeout = Duration::from_millis(500);
        let ca = Some(directory.path("cert.pem"));
        let url = format!("ldap://{address}");
        fails(
            &Query { timeout, starttls, ca, ..query(&url) },
            &format!("{step}: not done in time"),
        );
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    // A server that does not speak LDAP.
    for answer in [&b"HTTP/1.0 400 Bad Request\r\n\r\n"[..], b"\x30\x03\x02\x01\x01", b"\x30\x00"] {
        let server = answering(answer);
        fails(&query(&format!("ldap://{server}")), "");
    }
}

#[test]
fn tls_is_verified() {
    let directory = Directory::start();
    let ca = Some(directory.path("cert.pem"));
    let localhost = format!("ldap://localhost:{}", directory.plain.port());
    let starttls = Query { starttls: true, ca: ca.clone(), ..query(&localhost) };
    assert_eq!(search(&starttls).expect("by STARTTLS").len(), 2 * PEOPLE);
    let ldaps = Query { ca, ..query(&format!("ldaps://localhost:{}", directory.tls.port())) };
    assert_eq!(search(&ldaps).expect("by TLS").len(), 2 * PEOPLE);

    let other = Some(directory.path("other.pem"));
    let stranger = Query { ca: other.clone(), ..starttls.clone() };
    fails(&stranger, "connect and STARTTLS: ");
    fails(&stranger, "certificate");
    fails(&Query { ca: other, ..ldaps.clone() }, "connect with TLS: ");
    fails(
        &Query { ca: Some(directory.path("key.pem")), ..ldaps.clone() },
        "there is no certificate in PEM",
    );
    fails(&Query { ca: Some(directory.path("missing")), ..ldaps }, "missing");

    let socket = directory.path("socket").display().to_string().replace('/', "%2F");
    assert_eq!(search(&query(&format!("ldapi://{socket}"))).expect("by socket").len(), 2 * PEOPLE);
}

/// The kind: an answer that costs the reader more than the sender. Source: sequences
/// in sequences, 100,000 deep, ended the daemon with an overflow of the stack.
#[test]
fn an_answer_that_is_nested_or_scattered_is_an_error() {
    let element = |contents: &[u8]| {
        let length = u32::try_from(contents.len()).expect("short").to_be_bytes();
        [&[0x30, 0x84][..], &length, contents].concat()
    };
    let mut deep = Vec::new();
    for _ in 0..2_000 {
        deep = element(&deep);
    }
    // Heads alone are as deep, and are told at once.
    let heads = [0x30, 0x84, 0x03, 0, 0, 0].repeat(100_000);
    let many = element(&[4, 0].repeat(600_000));
    let large = [0x30, 0x84, 0x7f, 0xff, 0xff, 0xff].to_vec();
    for (answer, why) in [
        (deep, "an answer is nested too deeply"),
        (heads, "an element is longer than what it is in"),
        (many, "an answer has more than 500,000 elements"),
        (large, "an answer is larger than 64 MiB"),
    ] {
        let server = answering(Box::leak(answer.into_boxed_slice()));
        fails(&query(&format!("ldap://{server}")), why);
    }
}

/// A server that passes on to another, and hangs up after so many bytes of its
/// answers.
fn cut_after(mut left: usize, server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut server = TcpStream::connect(server).expect("the server");
        let mut requests = (client.try_clone().expect("it"), server.try_clone().expect("it"));
        thread::spawn(move || std::io::copy(&mut requests.0, &mut requests.1));
        let mut buffer = [0; 4096];
        while left > 0 {
            let wanted = left.min(buffer.len());
            let Ok(count @ 1..) = server.read(&mut buffer[..wanted]) else {
                break;
            };
            client.write_all(&buffer[..count]).expect("sent");
            left -= count;
        }
        _ = client.shutdown(Shutdown::Both);
        _ = server.shutdown(Shutdown::Both);
    });
    address
}

/// A server that gives everyone the same answer.
fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        _ = client.read(&mut [0; 512]);
        _ = client.write_all(answer);
    });
    address
}
