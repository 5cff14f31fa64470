//! What must not be shown is not shown: secrets, each a marker of its own, and letters
//! that act, from everybody who can put one into a log.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use mxdp::text;
use mxdp::web::sha256_hex;
use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::files::files_below;
use mxdp_tests::http::Http;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::clients::said;
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::peers::slapd::Slapd;
use mxdp_tests::tls::Authority;

const PASSWORD: &str = "directoryMARKER17";
const KEY: &str = "zonekeyMARKER23";
const TOKEN: &str = "tokenMARKER42";
const GUESS: &str = "guessMARKER58";

/// All markers; DNS has no case.
fn secrets(folder: &std::path::Path) -> Vec<String> {
    let pem = fs::read_to_string(folder.join("mx.example.org.key")).expect("a key");
    let body = pem.lines().nth(1).expect("a line of a key");
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("anna:{TOKEN}"));
    let plain = [PASSWORD, KEY, TOKEN, GUESS, body, &encoded];
    plain.iter().map(|secret| secret.to_ascii_lowercase()).collect()
}

fn assert_without(secrets: &[String], what: &str, text: &str) {
    let text = text.to_ascii_lowercase();
    for secret in secrets {
        if let Some(at) = text.find(secret) {
            let from = text[..at].rfind('\n').unwrap_or(0);
            panic!("{secret} is in {what}: {}", &text[from..(at + 80).min(text.len())]);
        }
    }
}

#[test]
fn no_secret_is_shown_anywhere() {
    let host = Host::new();
    host.namespace.ip("addr add 198.51.100.0/24 dev lo");
    let folder = host.home.path("");
    _ = Authority::new().issue(&folder, "mx.example.org");
    host.home.write("password", format!("{PASSWORD}\n"));
    host.home.write("key", format!("{KEY}\n"));
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let _slapd = Slapd::start(&host.namespace, 389, &["bob@example.org"]);
    // The keyed zone works, and the other has no answer to its test entries.
    let zone = KEY.to_ascii_lowercase();
    let records = format!(
        "2.0.0.127.{zone}.good.example. A 127.0.0.2\n9.100.51.198.{zone}.good.example. A 127.0.0.2\n\
         9.100.51.198.{zone}.good.example. TXT \"see http://good.example/\"\n"
    );
    let _names = Nsd::start(&host.namespace, 53, &records);
    let ldap = |name: &str, port: u16| {
        format!(
            "[[ldap]]\nname = \"{name}\"\nurl = \"ldap://127.0.0.1:{port}\"\nrefresh = 1\n\
             base = \"dc=example,dc=org\"\nbind_dn = \"cn=p0,dc=example,dc=org\"\n\
             password_file = \"password\"\n"
        )
    };
    let zone = |name: &str| {
        format!(
            "[[reputation.standard.zones]]\nname = \"{name}\"\ncodes = [\"127.0.0.2\"]\n\
             key_file = \"key\"\ntxt = true\n"
        )
    };
    let rest = [
        "[dns]\nservers = [\"127.0.0.1:53\"]\ntimeout_ms = 500\n".to_owned(),
        "[reputation]\ncontrol_interval = 1\nretry_interval = 1\n".to_owned(),
        zone("good.example"),
        zone("bad.example"),
        ldap("refused", 389),
        ldap("down", 390),
        domain("example.org", "main", "ldap = \"refused\""),
        domain("example.net", "main", "ldap = \"down\""),
        backend("main", 2600, ""),
        "[tls]\ncertificates = [{ chain = \"mx.example.org.pem\", key = \"mx.example.org.key\" }]\n"
            .to_owned(),
        format!(
            "[web]\nloopback = \"none\"\n[[web.tokens]]\nname = \"anna\"\nrights = \"write\"\n\
             sha256 = \"{}\"\n",
            sha256_hex(TOKEN)
        ),
        "[log]\nlevel = \"trace\"\n".to_owned(),
    ];
    host.configure("", &rest.concat());
    let secrets = secrets(&folder);
    let check = |what: &str, text: &str| assert_without(&secrets, what, text);
    // Every library speaks, as far as it may.
    let daemon = host.home.start_with(&host.namespace, &[("MXDP_LOG", "trace")]);
    let alarms = || host.home.json(&["status"])["alarms"].to_string();
    wait_for("an alarm of the list", || alarms().contains("bad.example"));
    wait_for("words about both directories", || {
        let alarms = alarms();
        ["refused", "down"].iter().all(|name| alarms.contains(&format!("recipients of {name}: ")))
    });
    let listed = "198.51.100.9".parse().expect("an address");
    let target = "127.0.0.1:25".parse().expect("an address");
    for source in [listed, "198.51.100.8".parse().expect("an address")] {
        let mut client = Dialogue::open(&host.namespace, source, target).expect("a connection");
        client.line().expect("a greeting");
        client.told("EHLO client.example");
        client.told("MAIL FROM:<a@b.example>");
        let reply = client.told("RCPT TO:<bob@example.org>");
        let expected = if source == listed { "550 5.7.1 " } else { "250 " };
        assert!(reply.starts_with(expected), "{reply}");
        check("a reply", &reply);
    }
    // The interface: with the token, as a password, with a guess, and with a change.
    let http = Http::new(&host.namespace, "http://127.0.0.1:8025", None);
    let anna = http.with("authorization", &format!("Bearer {TOKEN}"));
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("anna:{TOKEN}"));
    let browser = http.with("authorization", &format!("Basic {encoded}"));
    let stranger = http.with("authorization", &format!("Bearer {GUESS}"));
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/nothing"] {
        for (who, client) in [("anna", &anna), ("a browser", &browser), ("a stranger", &stranger)] {
            let answer = client.get(path);
            assert_eq!(answer.status == 401, who == "a stranger", "{path} to {who}");
            check(&format!("{path} to {who}"), &format!("{answer:?}"));
        }
    }
    for verb in [
        &["status"][..],
        &["status", "--json"],
        &["lookup", "--live", "198.51.100.9"],
        &["reload"],
        &["traffic", "blocked", "--json"],
        &["relay", "list"],
    ] {
        check(&format!("mxdp {verb:?}"), &said(&host.home.run(verb)));
    }
    let config = host.home.path("mxdp.toml").display().to_string();
    for verb in [
        &["check"][..],
        &["explain", "--ip", "198.51.100.9", "--from", "a@b.example", "--rcpt", "bob@example.org"],
    ] {
        let arguments = [verb, &["-c", &config]].concat();
        let output = host.home.mxdp(Some(&host.namespace), &arguments).output().expect("mxdp");
        check(&format!("mxdp {verb:?}"), &said(&output));
    }
    // Name servers that are gone make errors with names in them.
    drop(_names);
    wait_for("an alarm", || alarms().contains("good.example"));
    check("the alarms", &alarms());
    daemon.end(nix::sys::signal::Signal::SIGTERM);
    let log = host.home.log();
    assert!(log.contains("TRACE"), "the log has no trace");
    check("the log", &log);
    for file in files_below(&host.home.path("state")) {
        let bytes = fs::read(&file).expect("a file of the state");
        check(&file.display().to_string(), &String::from_utf8_lossy(&bytes));
    }
}

/// Mistakes around a secret: it is in a wrong place, and is not revealed.
#[test]
fn no_error_quotes_a_secret() {
    let host = Host::new();
    let folder = host.home.path("");
    let (chain, _) = Authority::new().issue(&folder, "mx.example.org");
    let base = domain("example.org", "main", "") + &backend("main", 2600, "");
    let marker = "secretMARKER99";
    host.home.write("broken.key", format!("-----BEGIN PRIVATE KEY-----\n{marker}\n-----END\n"));
    host.home.write("labels", format!("{marker} and more\n"));
    let ldap = "[[ldap]]\nname = \"d\"\nbase = \"dc=x\"\n";
    let zone = "[[reputation.standard.zones]]\nname = \"bl.example\"\ncodes = [\"127.0.0.2\"]\n";
    for (number, wrong) in [
        format!("{ldap}url = \"ldap://127.0.0.1\"\npassword = \"{marker}\"\n"),
        format!("{ldap}url = \"ldap://user:{marker}@127.0.0.1\"\n"),
        format!(
            "{ldap}url = \"ldap://127.0.0.1\"\nbind_dn = \"cn=x\"\npassword_file = [\"{marker}\"]\n"
        ),
        format!("{zone}key = \"{marker}\"\n"),
        format!("{zone}key_file = \"labels\"\n"),
        format!("[web]\n[[web.tokens]]\nname = \"anna\"\nsha256 = \"{marker}\"\n"),
        format!("[web]\n[[web.tokens]]\nname = \"anna\"\ntoken = \"{marker}\"\n"),
        format!("[web]\n[[web.tokens]]\nname = \"anna\"\nsha256 = \"{marker}\n"),
        format!("[tls]\ncertificates = [{{ chain = {chain:?}, key = \"broken.key\" }}]\n"),
    ]
    .iter()
    .enumerate()
    {
        host.configure("", &format!("{base}{wrong}"));
        let config = host.home.path("mxdp.toml").display().to_string();
        for more in [&[][..], &["--json"]] {
            let output = host.home.run(&[&["check", "-c", &config][..], more].concat());
            assert!(!output.status.success(), "{number} is good: {wrong}");
            let text = said(&output);
            assert!(!text.contains("MARKER99"), "{number}: {text}");
        }
    }
}

/// Letters that break lines, move the cursor, and turn the direction of text.
const ACTS: &str = "\u{85}\u{9b}2J\u{2028}\u{202e}\u{2066}\u{feff}";

#[test]
fn a_log_line_is_one_line_whoever_wrote_it() {
    for format in ["text", "json"] {
        let host = Host::new();
        let _sink = Sink::start(&host.namespace, 2600, &["-8"]);
        // A name server whose texts have what a reply must not have.
        let names = "b.example. TXT \"v=spf1 exp=why.b.example -all\"\n\
                     why.b.example. TXT \"\\027[2Jforged\\010line\"\n";
        let _names = Nsd::start(&host.namespace, 53, names);
        let list = format!("li{ACTS}st.txt");
        host.home.write(&list, format!("192.0.2.1 note {ACTS}\n"));
        let escaped: String = list.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        host.configure(
            "",
            &format!(
                "[dns]\nservers = [\"127.0.0.1:53\"]\n[spf]\nexplanation = true\nfail = \"tag\"\n\
                 [blocked]\nfiles = [\"{escaped}\"]\n[log]\nlevel = \"trace\"\n\
                 format = \"{format}\"\n{}{}",
                domain("example.org", "main", ""),
                backend("main", 2600, "")
            ),
        );
        let daemon = host.start();
        host.namespace.ip("addr add 198.51.100.9/32 dev lo");
        let source = "198.51.100.9".parse().expect("an address");
        let target = "127.0.0.1:25".parse().expect("an address");
        let mut client = Dialogue::open(&host.namespace, source, target).expect("a connection");
        client.line().expect("a greeting");
        client.told(&format!("HELO x{ACTS}\u{1b}[2J"));
        client.told(&format!("EHLO x{ACTS}"));
        client.told(&format!("MAIL FROM:<\"{ACTS}\"@b.example> SMTPUTF8"));
        client.told(&format!("NOOP {ACTS}\u{1b}"));
        client.told("RSET");
        client.told("EHLO client.example");
        client.told("MAIL FROM:<a@b.example>");
        let reply = client.told("RCPT TO:<bob@example.org>");
        assert!(reply.starts_with("250 "), "{reply}");
        assert!(client.told("DATA").starts_with("354 "));
        let end = client.told(&format!(
            "Subject: su{ACTS}bject =?utf-8?q?=0D=0Aforged=1B[2J=E2=80=A8?=\r\n\
             Message-ID: <{ACTS}@x>\r\nFrom: {ACTS} <a@b.example>\r\n\r\nx\r\n."
        ));
        assert!(end.starts_with("250 "), "{end}");
        // An operator's note, and a list that has become bad.
        let note = format!("note {ACTS}\n");
        _ = host.home.run(&["block", "add", "192.0.2.7", "--note", &note]);
        host.home.write(&list, format!("no address {ACTS}\u{1b}[2J\n"));
        _ = host.home.run(&["reload"]);
        wait_for("the message in the log", || host.home.log().contains("bject"));
        std::thread::sleep(Duration::from_millis(200));
        let status = said(&host.home.run(&["status"]));
        daemon.end(nix::sys::signal::Signal::SIGTERM);
        let log = host.home.log();
        for (what, text) in [("the log", &log), ("the status", &status)] {
            let found = text.chars().find(|letter| text::is_active(*letter) && *letter != '\n');
            assert_eq!(found, None, "{what}, {format}: {text}");
        }
        for line in log.lines() {
            let begins = if format == "json" {
                serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object())
            } else {
                line.starts_with("20") && line.contains("Z ")
            };
            assert!(begins, "no line of ours: {line}");
        }
    }
}
