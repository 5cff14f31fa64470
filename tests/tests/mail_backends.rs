//! Backends: TLS and PROXY headers towards them, fail-over,
//! directories, and an older Postfix that would be smuggled to.

use std::fs;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::clients::{python, said, swaks};
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::peers::slapd::Slapd;
use mxdp_tests::tls::Authority;

const PORT: u16 = 2600;

fn postfix(namespace: &Namespace, main: &str) -> Postfix {
    let options = Options {
        port: PORT,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        main,
        ..Options::default()
    };
    Postfix::start(namespace, &options)
}

/// Sends a message by swaks, and gives what that said and whether it succeeded.
fn send(host: &Host, more: &[&str]) -> (bool, String) {
    send_to(host, "bob@example.org", more)
}

fn send_to(host: &Host, recipient: &str, more: &[&str]) -> (bool, String) {
    let common = ["--server", "127.0.0.1", "--from", "a@b.example", "--to", recipient];
    let output = swaks(&host.namespace, &[&common, more].concat());
    (output.status.success(), said(&output))
}

#[test]
fn tls_towards_a_backend_is_as_strict_as_configured() {
    let host = Host::new();
    let authority = Authority::new();
    let folder = host.home.path("");
    let (chain, key) = authority.issue(&folder, "localhost");
    let ca = authority.certificate(&folder);
    let stranger = {
        let other = host.home.path("other");
        fs::create_dir(&other).expect("a folder");
        Authority::new().certificate(&other)
    };
    let main = format!(
        "smtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\nsmtpd_tls_cert_file = {}\n\
         smtpd_tls_key_file = {}\n",
        chain.display(),
        key.display()
    );
    let postfix = postfix(&host.namespace, &main);
    // (TLS towards it, the name it is called by, whether mail gets through)
    for (count, (keys, server, passes)) in [
        ("tls = \"opportunistic\"".to_owned(), "127.0.0.1", true),
        (format!("tls = \"verified\"\nca = {ca:?}"), "localhost", true),
        (format!("tls = \"verified\"\nca = {ca:?}"), "127.0.0.1", false),
        (format!("tls = \"verified\"\nca = {stranger:?}"), "localhost", false),
    ]
    .into_iter()
    .enumerate()
    {
        let rest = domain("example.org", "main", "")
            + &backend("main", PORT, &keys).replace("127.0.0.1", server);
        host.configure("", &rest);
        let daemon = host.start();
        let (sent, text) = send(&host, &[]);
        assert_eq!(sent, passes, "{keys} at {server}: {text}\n{}", host.home.log());
        if passes {
            let messages = postfix.wait_for(count + 1);
            let with_tls = |message: &&Vec<u8>| {
                String::from_utf8_lossy(message).contains("(using TLSv1.3 with cipher")
            };
            assert_eq!(messages.iter().filter(with_tls).count(), count + 1);
        } else {
            assert!(text.contains("451 4.4.1 "), "{text}");
            let status = host.home.json(&["status"]);
            let alarm = status["alarms"].to_string();
            assert!(alarm.contains("TLS: invalid peer certificate"), "{alarm}");
        }
        drop(daemon);
    }
}

#[test]
fn a_proxy_header_tells_postfix_the_client() {
    let host = Host::new();
    host.namespace.ip("addr add 192.0.2.7/32 dev lo");
    host.namespace.ip("addr add 2001:db8::7/128 dev lo nodad");
    let master = "127.0.0.1:2601 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy";
    let options = Options {
        port: PORT,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        master,
        main: "inet_protocols = all\ninet_interfaces = all\n",
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    let rest =
        domain("example.org", "main", "") + &backend("main", 2601, "client_address = \"proxy\"");
    host.configure("", &rest);
    let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("the configuration");
    host.home
        .write("mxdp.toml", text.replace("[\"127.0.0.1:25\"]", "[\"127.0.0.1:25\", \"[::]:25\"]"));
    let _daemon = host.start();
    let (sent, text) = send(&host, &["--local-interface", "192.0.2.7", "--helo", "client.example"]);
    assert!(sent, "{text}");
    let program = r#"
import smtplib
s = smtplib.SMTP("2001:db8::7", source_address=("2001:db8::7", 0))
s.ehlo("six.example")
assert not s.sendmail("a@b.example", ["bob@example.org"], "Subject: s\r\n\r\nby six\r\n")
s.quit()
"#;
    let output = python(&host.namespace, program, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(postfix.wait_for(2).len(), 2);
    let log = postfix.log();
    assert!(log.contains("client=unknown[192.0.2.7]"), "{log}");
    assert!(log.contains("[2001:db8::7]"), "{log}");
}

/// A backend that refuses a client is not down.
#[test]
fn a_client_that_the_backend_refuses_takes_nothing_from_others() {
    let host = Host::new();
    let main = "smtpd_delay_reject = no\nsmtpd_helo_restrictions = reject_invalid_helo_hostname\n";
    let postfix = postfix(&host.namespace, main);
    let keys = "client_address = \"xclient\"";
    host.configure("", &(domain("example.org", "main", "") + &backend("main", PORT, keys)));
    let _daemon = host.start();
    let (sent, text) = send(&host, &["--helo", "a_b..c"]);
    assert!(!sent && text.contains("501 5.5.2 <a_b..c>: Helo command rejected"), "{text}");
    let status = host.home.json(&["status"]);
    assert_eq!(status["alarms"].as_array().map(Vec::len), Some(0), "{}", status["alarms"]);
    let (sent, text) = send(&host, &["--helo", "client.example"]);
    assert!(sent, "{text}");
    assert_eq!(postfix.wait_for(1).len(), 1);
}

#[test]
fn the_next_server_takes_over_and_the_first_comes_back() {
    let host = Host::new();
    let second = Sink::start(&host.namespace, 2602, &[]);
    let rest = domain("example.org", "main", "") + &backend("main", 2601, "connect_timeout = 1");
    let rest = rest.replace("[\"127.0.0.1:2601\"]", "[\"127.0.0.1:2601\", \"127.0.0.1:2602\"]");
    host.configure("", &rest);
    let _daemon = host.start();
    let server_of_last = || {
        let log = host.home.log();
        let line =
            log.lines().rfind(|line| line.contains("reason=\"accepted\"")).map(str::to_owned);
        line.unwrap_or_default()
    };
    let (sent, text) = send(&host, &[]);
    assert!(sent, "{text}");
    wait_for("a record", || server_of_last().contains("127.0.0.1:2602"));
    let first = Sink::start(&host.namespace, 2601, &[]);
    // Servers that are down are looked at every ten seconds.
    wait_for("the first server", || {
        assert!(send(&host, &[]).0);
        server_of_last().contains("127.0.0.1:2601")
    });
    drop((first, second));
    let (sent, text) = send(&host, &[]);
    assert!(!sent && text.contains("451 4.4.1 "), "{text}");
    wait_for("two alarms", || {
        let status = host.home.json(&["status"]);
        status["alarms"].as_array().is_some_and(|alarms| alarms.len() == 2)
    });
}

#[test]
fn recipients_come_from_a_directory_and_stay_when_it_goes() {
    let host = Host::new();
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let slapd = Slapd::start(&host.namespace, 3890, &["bob@example.org", "alice@example.org"]);
    let rest = domain("example.org", "main", "ldap = \"people\"") + &backend("main", PORT, "");
    let ldap = "[[ldap]]\nname = \"people\"\nurl = \"ldap://127.0.0.1:3890\"\n\
                base = \"dc=example,dc=org\"\nrefresh = 1\n";
    host.configure("", &format!("{rest}{ldap}"));
    let daemon = host.start();
    let refused = || {
        let (sent, text) = send_to(&host, "carol@example.org", &[]);
        !sent && text.contains("550 5.1.1 <carol@example.org> no such recipient here")
    };
    wait_for("the directory's recipients", refused);
    assert!(send(&host, &[]).0, "bob is in it");
    // Gone, and mxdp started anew: what was known stays known.
    drop(slapd);
    daemon.end(nix::sys::signal::Signal::SIGTERM);
    let _daemon = host.start();
    assert!(refused());
    assert!(send(&host, &[]).0);
    let alarms = || host.home.json(&["status"])["alarms"].to_string();
    wait_for("an alarm", || {
        let alarms = alarms();
        alarms.contains("recipients of people: LDAP server ldap://127.0.0.1:3890: ")
            && alarms.contains("its last answer stands meanwhile")
    });
    // One more person.
    let people = ["bob@example.org", "carol@example.org"];
    let _slapd = Slapd::start(&host.namespace, 3890, &people);
    wait_for("the end of the alarm", || alarms() == "[]");
    // A reload activates other keys.
    host.configure("", &format!("{rest}{}", ldap.replace(":3890", ":3891")));
    host.home.json(&["reload"]);
    wait_for("an alarm of the new address", || alarms().contains("ldap://127.0.0.1:3891"));
    host.configure("", &format!("{rest}{ldap}"));
    host.home.json(&["reload"]);
    wait_for("the end of that alarm", || alarms() == "[]");
    wait_for("the directory's change", || !refused());
    wait_for("alice's end", || !send_to(&host, "alice@example.org", &[]).0);
}

/// Postfix 3.7 takes LF.CRLF and its like for the end of a message.
#[test]
fn nothing_is_smuggled_to_an_older_postfix() {
    let host = Host::new();
    let postfix = postfix(&host.namespace, "");
    let rest = domain("example.org", "main", "") + &backend("main", PORT, "");
    let program = r#"
import socket, sys
port, mode = int(sys.argv[1]), sys.argv[2]
SECOND = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nSMUGGLED\r\n.\r\n"
ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\n\r.\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r.\r\n", b"\r\n.\r"]
def run(end, chunked):
    s = socket.create_connection(("127.0.0.1", port), 10)
    f = s.makefile("rb")
    def reply():
        while True:
            line = f.readline()
            if line[3:4] != b"-":
                return line
    def say(line):
        s.sendall(line + b"\r\n")
        return reply()
    reply(); say(b"EHLO x"); say(b"MAIL FROM:<a@b.example>"); say(b"RCPT TO:<bob@example.org>")
    body = b"Subject: first\r\n\r\nFIRST" + end + SECOND
    try:
        if chunked:
            s.sendall(b"BDAT %d LAST\r\n" % len(body) + body)
        else:
            assert say(b"DATA").startswith(b"354")
            s.sendall(body)
        reply()
        s.sendall(b"QUIT\r\n")
        f.read()
    except OSError:
        pass
for end in ENDS:
    for chunked in (False, True):
        if mode == "direct" and chunked:
            continue
        run(end, chunked)
"#;
    // The trick works on this Postfix: without that, the rest would show nothing.
    let output = python(&host.namespace, program, &[&PORT.to_string(), "direct"]);
    assert!(output.status.success(), "{}", said(&output));
    let evil = || postfix.log().matches("from=<evil@b.example>").count();
    wait_for("a smuggled message", || evil() > 0);
    wait_for("an empty queue", || postfix.messages().len() >= 2 * evil());
    let before = evil();
    for networks in ["[]", "[\"127.0.0.0/8\"]"] {
        host.configure("", &format!("[smtp]\nnormalise_networks = {networks}\n{rest}"));
        let daemon = host.start();
        let output = python(&host.namespace, program, &["25", "through"]);
        assert!(output.status.success(), "{}", said(&output));
        drop(daemon);
    }
    // One more, so that all before it have been seen.
    host.configure("", &rest);
    let _daemon = host.start();
    assert!(send(&host, &["--body", "the last one"]).0);
    wait_for("the last one", || {
        postfix.messages().iter().any(|message| message.windows(12).any(|w| w == b"the last one"))
    });
    assert_eq!(evil(), before, "{}", postfix.log());
}

#[test]
fn a_changed_certificate_is_used_and_sessions_go_on() {
    let host = Host::new();
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let folder = host.home.path("");
    let (chain, key) = Authority::new().issue(&folder, "mx.example.org");
    let rest = domain("example.org", "main", "") + &backend("main", PORT, "");
    host.configure("", &format!("[[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n{rest}"));
    let _daemon = host.start();
    let program = r#"
import smtplib, ssl, sys, time, hashlib, subprocess
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
def session():
    s = smtplib.SMTP("127.0.0.1"); s.starttls(context=context); return s
def certificate(s):
    return s.sock.getpeercert(True)
first = session()
before = certificate(first)
for _ in range(200):
    if certificate(session()) != before:
        break
    time.sleep(0.05)
else:
    raise SystemExit("the certificate did not change")
assert not first.sendmail("a@b.example", ["bob@example.org"], "Subject: s\r\n\r\nbody\r\n")
"#;
    // The files change while the first session is open.
    let changing = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(700));
            drop(Authority::new().issue(&folder, "mx.example.org"));
        });
        python(&host.namespace, program, &[])
    });
    assert!(changing.status.success(), "{}", said(&changing));
}
