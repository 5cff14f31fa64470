//! Mail through mxdp: real clients, real mail systems behind.

use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::clients::{msmtp, python, said, smtp_source, swaks};
use mxdp_tests::peers::opensmtpd::OpenSmtpd;
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::peers::relays::Sink;

const PORT: u16 = 2600;

const DOMAINS: &[&str] = &["example.org", "例子.example"];
const RECIPIENTS: &[&str] =
    &["bob@example.org", "alice@example.org", "用户@例子.example", "用户@xn--fsqu00a.example"];

fn postfix(namespace: &Namespace, main: &str) -> Postfix {
    let options = Options {
        port: PORT,
        domains: DOMAINS,
        recipients: RECIPIENTS,
        main,
        ..Options::default()
    };
    Postfix::start(namespace, &options)
}

/// The configuration before a Postfix: XCLIENT, a certificate, and no list of
/// recipients.
fn before_postfix(host: &Host) {
    let keys = "client_address = \"xclient\"";
    let domains = "[[domain]]\nnames = [\"example.org\", \"例子.example\"]\nbackend = \"main\"\n";
    let text = format!("[tls]\nself_signed = true\n{domains}{}", backend("main", PORT, keys));
    host.configure("smtps = [\"127.0.0.1:465\"]", &text);
}

/// The one of `messages` with a text in it.
fn with<'a>(messages: &'a [Vec<u8>], text: &str) -> &'a [u8] {
    let found = messages.iter().find(|message| has(message, text));
    found.unwrap_or_else(|| panic!("no message has {text:?}"))
}

fn has(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn swaks_reaches_postfix_in_every_way() {
    let host = Host::new();
    host.namespace.ip("addr add 192.0.2.7/32 dev lo");
    let postfix = postfix(&host.namespace, "");
    before_postfix(&host);
    let _daemon = host.start();
    let common = ["--server", "127.0.0.1", "--helo", "client.example", "--from", "a@b.example"];
    let send = |more: &[&str]| {
        let output = swaks(&host.namespace, &[&common, more].concat());
        assert!(output.status.success(), "swaks {more:?}: {}", said(&output));
        said(&output)
    };
    let to = ["--to", "bob@example.org"];
    send(&[&to[..], &["--body", "plain way"]].concat());
    let text = send(&[&to[..], &["--tls", "--body", "starttls way"]].concat());
    assert!(text.contains("TLSv1.3"), "{text}");
    send(&[&to[..], &["--tlsc", "--port", "465", "--body", "implicit way"]].concat());
    send(&[&to[..], &["--pipeline", "--body", "pipelined way"]].concat());
    send(&[&to[..], &["--body", ".dots\n..\n.\n way"]].concat());
    send(&["--to", "bob@example.org,alice@example.org", "--body", "two ways"]);
    send(&[&to[..], &["--local-interface", "192.0.2.7", "--body", "other way"]].concat());
    send(&["--to", "bob@example.org", "--from", "<>", "--body", "null way"]);

    let messages = postfix.wait_for(9);
    assert_eq!(messages.len(), 9);
    let plain = String::from_utf8_lossy(with(&messages, "plain way")).into_owned();
    assert!(
        plain.contains(
            "Received: from client.example ([127.0.0.1])\n\tby mx.example.org (mxdp) with ESMTP id "
        ) && plain.contains("\n\tfor <bob@example.org>;"),
        "{plain}"
    );
    assert!(has(with(&messages, "starttls way"), "with ESMTPS id "));
    assert!(has(with(&messages, "implicit way"), "(TLSv1.3 "));
    assert!(has(with(&messages, ".dots"), "\n.dots\n..\n.\n way\n"));
    assert!(has(with(&messages, "null way"), "Return-Path: <>\n"));

    let log = postfix.log();
    // The client's address and name, by XCLIENT, are Postfix's own peer.
    assert!(
        log.contains("connect from unknown[192.0.2.7]")
            || log.contains("client=unknown[192.0.2.7]"),
        "{log}"
    );
    assert!(has(with(&messages, "other way"), "from client.example (unknown [192.0.2.7])"));
    assert!(host.home.log().matches("outcome=\"accepted\"").count() == 9, "{}", host.home.log());
}

#[test]
fn recipients_have_their_own_fates() {
    let host = Host::new();
    let postfix = postfix(&host.namespace, "");
    before_postfix(&host);
    let _daemon = host.start();
    let program = r#"
import smtplib
s = smtplib.SMTP("127.0.0.1")
refused = s.sendmail("a@b.example", ["bob@example.org", "nobody@example.org", "x@elsewhere.example", "alice@example.org"], "Subject: s\r\n\r\nmixed\r\n")
assert sorted(refused) == ["nobody@example.org", "x@elsewhere.example"], refused
assert refused["nobody@example.org"][0] == 550 and refused["nobody@example.org"][1].startswith(b"5.1.1 "), refused
assert refused["x@elsewhere.example"][0] == 554 and b"relay access denied; reference " in refused["x@elsewhere.example"][1], refused
# The same connection goes on.
assert not s.sendmail("c@d.example", ["bob@example.org"], "Subject: s\r\n\r\nsecond\r\n")
# An international address, and eight bits in header and body.
s.ehlo()
assert s.has_extn("smtputf8") and s.has_extn("8bitmime") and s.has_extn("chunking")
refused = s.sendmail("\u00e4@b.example", ["\u7528\u6237@\u4f8b\u5b50.example"], "Subject: gr\u00fc\u00dfe\r\n\r\neight \u2603\r\n".encode(), mail_options=["SMTPUTF8", "BODY=8BITMIME"])
assert not refused, refused
# BDAT, in two chunks and with one.
def bdat(chunks):
    assert s.docmd("MAIL", "FROM:<a@b.example>")[0] == 250
    assert s.docmd("RCPT", "TO:<bob@example.org>")[0] == 250
    for number, chunk in enumerate(chunks):
        last = b" LAST" if number == len(chunks) - 1 else b""
        s.sock.sendall(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
        reply = s.getreply()
        assert reply[0] == 250, reply
bdat([b"Subject: s\r\n\r\nchunks .\r", b"\n.\r\nbehind a dot", b""])
bdat([b"Subject: s\r\n\r\none chunk\r\n"])
s.quit()
"#;
    let output = python(&host.namespace, program, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let messages = postfix.wait_for(6);
    assert_eq!(messages.len(), 6, "mixed twice, second, international, and two by BDAT");
    assert!(has(with(&messages, "chunks ."), "chunks .\n.\nbehind a dot\n"));
    assert!(has(with(&messages, "eight ☃"), "with UTF8SMTP id "));
    let log = host.home.log();
    for (recipient, reason) in [
        ("nobody@example.org", "backend_refused"),
        ("x@elsewhere.example", "relay_denied"),
        ("alice@example.org", "accepted"),
    ] {
        let line = log.lines().find(|line| line.contains(&format!("recipient=\"<{recipient}>\"")));
        let line = line.unwrap_or_else(|| panic!("{recipient} is not in {log}"));
        assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    }
}

#[test]
fn opensmtpd_without_pipelining_gets_everything_too() {
    let host = Host::new();
    let smtpd = OpenSmtpd::start(
        &host.namespace,
        PORT,
        &["example.org"],
        &["bob@example.org", "alice@example.org"],
    );
    let rest = domain("example.org", "main", "") + &backend("main", PORT, "");
    host.configure("", &format!("[tls]\nself_signed = true\n{rest}"));
    let _daemon = host.start();
    let program = r#"
import smtplib
s = smtplib.SMTP("127.0.0.1")
s.ehlo()
# What the backend lacks is not offered.
assert not s.has_extn("smtputf8") and s.has_extn("8bitmime") and s.has_extn("chunking")
refused = s.sendmail("a@b.example", ["bob@example.org", "nobody@example.org", "alice@example.org"], "Subject: s\r\n\r\nmixed\r\n")
assert list(refused) == ["nobody@example.org"], refused
s.docmd("MAIL", "FROM:<>")
s.docmd("RCPT", "TO:<bob@example.org>")
chunk = b"Subject: s\r\n\r\n.\r\nchunk\r\n"
s.sock.sendall(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
assert s.getreply()[0] == 250
s.quit()
"#;
    let output = python(&host.namespace, program, &[]);
    assert!(output.status.success(), "{}\n{}", said(&output), smtpd.log());
    let arguments = [
        "--host=127.0.0.1",
        "--port=25",
        "--from=a@b.example",
        "--tls=on",
        "--tls-certcheck=off",
        "bob@example.org",
    ];
    let output = msmtp(&host.namespace, &arguments, "Subject: s\n\nby msmtp\n.\n");
    assert!(output.status.success(), "{}", said(&output));
    let output = smtp_source(
        &host.namespace,
        &["-s", "10", "-m", "100", "-f", "a@b.example", "-t", "alice@example.org", "127.0.0.1:25"],
    );
    assert!(output.status.success(), "{}", said(&output));
    let messages = smtpd.wait_for(104);
    assert_eq!(messages.len(), 104);
    assert!(has(with(&messages, "by msmtp"), "with ESMTPS id "));
}

#[test]
fn size_is_bounded_with_and_without_a_declaration() {
    let host = Host::new();
    let postfix = postfix(&host.namespace, "");
    before_postfix(&host);
    let _daemon = host.start();
    let program = r#"
import smtplib, sys
LIMIT = 52428800
def send(size, declare):
    s = smtplib.SMTP("127.0.0.1", timeout=120)
    s.ehlo()
    head = b"Subject: %d\r\n\r\n" % size
    line = b"x" * 76 + b"\r\n"
    body = head + line * ((size - len(head)) // len(line))
    body += b"y" * (size - len(body) - 2) + b"\r\n" if size - len(body) >= 2 else b""
    reply = s.docmd("MAIL", "FROM:<a@b.example>" + (" SIZE=%d" % len(body) if declare else ""))
    if reply[0] == 250:
        assert s.docmd("RCPT", "TO:<bob@example.org>")[0] == 250
        assert s.docmd("DATA")[0] == 354
        s.sock.sendall(body + b".\r\n")
        reply = s.getreply()
    s.close()
    return len(body), reply
for size, declare, code in [
    (int(49.9 * 1048576), True, 250), (int(49.9 * 1048576), False, 250),
    (int(50.1 * 1048576), True, 552), (int(50.1 * 1048576), False, 552),
    (LIMIT, False, 250), (LIMIT + 10, False, 552),
]:
    length, reply = send(size, declare)
    assert reply[0] == code, (size, length, declare, reply)
    if code == 552:
        assert reply[1].startswith(b"5.3.4 "), reply
"#;
    let output = python(&host.namespace, program, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(postfix.wait_for(3).len(), 3);
}

/// A session does what `explain` predicts for an envelope.
#[test]
fn explain_says_what_sessions_do() {
    let host = Host::new();
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    for address in ["192.0.2.7/32", "192.0.2.8/32", "192.0.2.9/32"] {
        host.namespace.ip(&format!("addr add {address} dev lo"));
    }
    host.home.write("recipients.txt", "bob@example.org\n@all.example\n");
    let lists = "[enforcement]\nblocked_ip = \"reject\"\n[blocked]\naddresses = [\"192.0.2.8\"]\n\
                 [known_spam_sources]\naddresses = [\"192.0.2.9\"]\n\
                 [senders]\napproved = [\"good@spam.example\"]\nblocked = [\"*@spam.example\"]\n\
                 [smtp]\nmessage_size = 5000\n[tls]\nself_signed = true\n\
                 peers = [{ domains = [\"bank.example\"], mode = \"mandatory\" }]\n";
    let domains = domain("example.org", "sink", "recipients = [\"recipients.txt\"]")
        + &domain("all.example", "sink", "recipients = [\"recipients.txt\"]");
    host.configure("", &format!("{lists}{domains}{}", backend("sink", PORT, "")));
    let daemon = host.start();
    let config = host.home.path("mxdp.toml");
    let config = config.to_str().expect("a path in UTF-8");
    let blocked = host.home.run(&["temp", "add", "192.0.2.7", "--for", "1h", "--force"]);
    assert!(blocked.status.success(), "{}", said(&blocked));

    let senders = ["a@b.example", "x@spam.example", "good@spam.example", "c@bank.example", ""];
    let recipients = ["bob@example.org", "carol@example.org", "x@all.example", "x@else.example"];
    let mut expected = Vec::new();
    for ip in ["127.0.0.1", "192.0.2.8", "192.0.2.9"] {
        for from in senders {
            for (rcpt, size) in recipients.iter().flat_map(|rcpt| [(*rcpt, "100"), (*rcpt, "5001")])
            {
                let envelope = ["--ip", ip, "--from", from, "--rcpt", rcpt, "--size", size];
                let live = host.home.json(&[&["explain", "--live"], &envelope[..]].concat());
                let offline = host.home.json(&[&["explain", "-c", config], &envelope[..]].concat());
                assert_eq!(live["stages"], offline["stages"], "{envelope:?}");
                let stages = live["stages"].as_array().expect("stages");
                let refusal = stages.iter().find(|stage| stage["passes"] == false);
                let reply =
                    refusal.map_or("250", |stage| stage["reply"].as_str().expect("a reply"));
                expected.push(([ip, from, rcpt, size].join(" "), reply[..3].to_owned()));
            }
        }
    }
    let refused = expected.iter().filter(|(_, code)| code != "250").count();
    assert_eq!(spoken(&host, &expected), expected);
    // Only the daemon knows of the temporary block.
    let envelope = ["--ip", "192.0.2.7", "--from", "a@b.example", "--rcpt", "bob@example.org"];
    let live = host.home.json(&[&["explain", "--live"], &envelope[..]].concat());
    assert_eq!(live["decided_by"], "syn", "{live}");
    let offline = host.home.json(&[&["explain", "-c", config], &envelope[..]].concat());
    assert_eq!(offline["decided_by"], serde_json::Value::Null, "{offline}");
    assert!(refused > 60, "{refused} of 120 are refused");
    drop(daemon);
}

/// The last code that a session with each envelope hears at MAIL and RCPT.
fn spoken(host: &Host, envelopes: &[(String, String)]) -> Vec<(String, String)> {
    let program = r#"
import smtplib, sys
for envelope in sys.argv[1:]:
    ip, sender, recipient, size = envelope.split(" ")
    s = smtplib.SMTP("127.0.0.1", source_address=(ip, 0))
    s.ehlo()
    code = s.docmd("MAIL", "FROM:<%s> SIZE=%s" % (sender, size))[0]
    if code == 250:
        code = s.docmd("RCPT", "TO:<%s>" % recipient)[0]
    s.quit()
    print(code)
"#;
    let arguments: Vec<_> = envelopes.iter().map(|(envelope, _)| envelope.as_str()).collect();
    let output = python(&host.namespace, program, &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let codes = said(&output).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(codes.len(), envelopes.len());
    envelopes.iter().map(|(envelope, _)| envelope.clone()).zip(codes).collect()
}
