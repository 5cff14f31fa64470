//! `mxdp check`: everything that is wrong at once, each once and at its place; and what
//! the configuration means on this host.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use mxdp_tests::daemon::Home;
use mxdp_tests::mail::Host;
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::tls::Authority;
use serde_json::Value;

/// The output of `check --json` in a namespace, and its exit code.
fn check(home: &Home, namespace: &Namespace, more: &[&str]) -> (Value, Option<i32>) {
    let config = home.path("mxdp.toml").display().to_string();
    let arguments = [&["check", "-c", &config, "--json"], more].concat();
    let output = home.mxdp(Some(namespace), &arguments).output().expect("mxdp starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (json, output.status.code())
}

fn lines(report: &Value, what: &str) -> Vec<String> {
    let lines = report[what].as_array().expect("lines").iter();
    lines.map(|line| line.as_str().expect("a line").to_owned()).collect()
}

const GOOD: &str = "[filter]\ninterfaces = [\"lo\"]\nports = [25]\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n\
    hostname = \"mx.example.org\"\n[tls]\ncertificates = [{ chain = \"mx.pem\", key = \"mx.key\" }]\n\
    [dns]\nservers = [\"127.0.0.1:53\"]\n\
    [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
    [[backend]]\nname = \"main\"\nservers = [\"127.0.0.1:2600\"]\n";

/// A folder with a certificate, and a namespace.
fn scene() -> (Home, Namespace) {
    let home = Home::new();
    let (chain, key) = Authority::new().issue(&home.path(""), "mx.example.org");
    fs::copy(chain, home.path("mx.pem")).expect("a certificate");
    fs::copy(key, home.path("mx.key")).expect("a key");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(home.path("mx.key"), mode).expect("a mode");
    (home, Namespace::new("mxc"))
}

/// Kind: a fault in one place hides the faults of others.
/// Source: two errors of `[web]` hid a missing database.
#[test]
fn an_error_of_a_key_hides_none_of_a_file() {
    let (home, namespace) = scene();
    home.write("bad.txt", "192.0.2.1\nnonsense here\n");
    home.write(
        "mxdp.toml",
        "[filter]\ninterfaces = [\"lo\"]\n[web]\nlisten = [\"192.0.2.1:443\"]\n\
         [countries]\ndatabase = \"none.mmdb\"\n[blocked]\nfiles = [\"bad.txt\", \"none.txt\"]\n\
         [listen]\nsmtp = [\"127.0.0.1:25\"]\n\
         [tls]\ncertificates = [{ chain = \"none.pem\", key = \"mx.key\" }]\n\
         [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\nrecipients = [\"none.csv\"]\n\
         [[backend]]\nname = \"main\"\nservers = [\"h\"]\n",
    );
    let (report, code) = check(&home, &namespace, &[]);
    let errors = lines(&report, "errors");
    assert_eq!(code, Some(3), "{errors:#?}");
    for part in [
        ":4:10: web.listen: 192.0.2.1:443 is not on loopback, where",
        "tokens would be sent in the clear",
        "none.mmdb",
        "bad.txt:2",
        "none.txt",
        "none.pem",
        "none.csv",
        "backend.servers: `h` is not a host and port",
    ] {
        assert_eq!(
            errors.iter().filter(|line| line.contains(part)).count(),
            1,
            "{part}: {errors:#?}"
        );
    }
    assert_eq!(errors.len(), 8, "{errors:#?}");
    // The daemon reports the same.
    let output =
        home.mxdp(Some(&namespace), &["run", "-c", &home.path("mxdp.toml").display().to_string()]);
    let output = { output }.output().expect("mxdp starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    for error in &errors {
        assert!(said.contains(error.lines().next().unwrap_or_default()), "{error}: {said}");
    }
}

/// Kind: a configuration whose keys are right and that cannot work, has no effect or does
/// harm is "good".
/// Source: a backend that is mxdp's own listener, one port for two listeners, and six more.
#[test]
fn what_cannot_work_is_an_error_and_what_does_nothing_or_harm_a_warning() {
    let (home, namespace) = scene();
    namespace.ip("addr add 192.0.2.10/32 dev lo");
    let clean = |text: &str| {
        home.write("mxdp.toml", text);
        let (report, code) = check(&home, &namespace, &[]);
        (lines(&report, "errors"), lines(&report, "warnings"), code)
    };
    let (errors, warnings, code) = clean(GOOD);
    assert_eq!((errors, warnings, code), (vec![], vec![], Some(0)));
    let servers = "servers = [\"127.0.0.1:2600\"]";
    for (text, expected) in [
        (GOOD.replace(servers, "servers = [\"127.0.0.1:25\"]"), "`127.0.0.1:25` is mxdp itself"),
        // An address of the host, which only the host knows.
        (GOOD.replace(servers, "servers = [\"192.0.2.10:25\"]"), "`192.0.2.10:25` is mxdp itself"),
        (
            GOOD.replace("[listen]\n", "[listen]\nsmtps = [\"0.0.0.0:25\"]\n"),
            "is the same port as 0.0.0.0:25 of listen.smtp",
        ),
        (
            format!("{GOOD}[web]\nlisten = [\"127.0.0.1:25\"]\n"),
            "web.listen: 127.0.0.1:25 is the same",
        ),
    ] {
        let (errors, _, code) = clean(&text);
        assert_eq!((errors.len(), code), (1, Some(3)), "{expected}: {errors:#?}");
        assert!(errors[0].contains(expected), "{expected}: {errors:#?}");
    }
    home.write("password", "secret\n");
    let open = |mode| {
        fs::set_permissions(home.path("password"), fs::Permissions::from_mode(mode))
            .expect("a mode");
    };
    let ldap = GOOD.replace("backend = \"main\"\n", "backend = \"main\"\nldap = \"ad\"\n")
        + "[[ldap]]\nname = \"ad\"\nurl = \"ldaps://192.0.2.2\"\nbase = \"dc=x\"\n\
           bind_dn = \"cn=x\"\npassword_file = \"password\"\n";
    open(0o600);
    assert_eq!(clean(&ldap), (vec![], vec![], Some(0)));
    open(0o666);
    let zones =
        "[[reputation.standard.zones]]\nname = \"zen.spamhaus.org\"\ncodes = [\"127.0.0.2\"]\n";
    for (text, expected) in [
        (ldap, "has mode 0666"),
        (GOOD.replace("\"lo\"", "\"eth9\""), "there is no interface `eth9`"),
        (GOOD.replace("0.0.0.0:25", "0.0.0.0:2525"), "port 2525 is not in filter.ports"),
        (
            GOOD.replace("127.0.0.1:53", "8.8.8.8:53") + zones,
            "zen.spamhaus.org does not answer public name servers such as 8.8.8.8",
        ),
        (
            GOOD.replace("[tls]\ncertificates = [{ chain = \"mx.pem\", key = \"mx.key\" }]\n", ""),
            "there is no certificate",
        ),
    ] {
        let (errors, warnings, code) = clean(&text);
        assert_eq!(
            (errors.len(), warnings.len(), code),
            (0, 1, Some(0)),
            "{expected}: {warnings:#?}"
        );
        assert!(warnings[0].contains(expected), "{expected}: {warnings:#?}");
    }
}

/// Kind: what the configuration names on the network is found out by the first client.
/// Source: a resolver, a DNS list, a backend, a directory or a port that does not answer.
#[test]
fn check_online_asks_what_the_configuration_names() {
    let (home, namespace) = scene();
    let zones = "2.0.0.127.good.example. A 127.0.0.2\nexample.org. MX 10 mx.example.org.\n\
                 1.0.0.127.bad.example. A 127.0.0.2\n2.0.0.127.bad.example. A 127.0.0.2\n";
    let _names = Nsd::start(&namespace, 53, zones);
    let _sink = Sink::start(&namespace, 2600, &[]);
    let zone = |name: &str| {
        format!("[[reputation.standard.zones]]\nname = \"{name}\"\ncodes = [\"127.0.0.2\"]\n")
    };
    let results = |text: &str| {
        home.write("mxdp.toml", text);
        let (report, code) = check(&home, &namespace, &["--online"]);
        let rows = report["online"].as_array().unwrap_or_else(|| panic!("{report}"));
        let row = |row: &Value| {
            let text = |key: &str| row[key].as_str().expect("a text").to_owned();
            (text("kind"), text("name"), row["good"] == true, text("detail"))
        };
        (rows.iter().map(row).collect::<Vec<_>>(), code)
    };
    let (rows, code) = results(&(GOOD.to_owned() + &zone("good.example") + "[web]\n"));
    assert!(rows.iter().all(|row| row.2), "{rows:#?}");
    assert_eq!(code, Some(0));
    let kinds: Vec<_> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(kinds, ["resolver", "zone", "backend", "port", "port"]);
    // Everything fails, and each says why.
    let holder = namespace.run(|| TcpListener::bind("127.0.0.1:25").expect("a listener"));
    // Answers EHLO, and offers nothing.
    let plain = namespace.run(|| TcpListener::bind("127.0.0.1:2603").expect("a listener"));
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().expect("mxdp connects");
        stream.write_all(b"220 plain\r\n").expect("written");
        let mut line = [0; 512];
        _ = stream.read(&mut line).expect("EHLO");
        stream.write_all(b"250 plain\r\n").expect("written");
        _ = stream.read(&mut line);
    });
    let bad = GOOD
        .replace("127.0.0.1:53\"", "127.0.0.1:53\", \"127.0.0.1:54\"")
        .replace("[dns]\n", "[dns]\ntimeout_ms = \"300ms\"\nattempts = 1\n")
        .replace("127.0.0.1:2600\"", "127.0.0.1:2603\", \"127.0.0.1:2601\"")
        .replace(
            "name = \"main\"\nservers",
            "name = \"main\"\nclient_address = \"xclient\"\nservers",
        )
        .replace("backend = \"main\"\n", "backend = \"main\"\nldap = \"ad\"\n")
        + &zone("bad.example")
        + "[[ldap]]\nname = \"ad\"\nurl = \"ldap://127.0.0.1:2602\"\nbase = \"dc=x\"\n";
    let (rows, code) = results(&bad);
    assert_eq!(code, Some(1), "{rows:#?}");
    for (kind, name, good, detail) in [
        ("resolver", "127.0.0.1:53", true, "answers for example.org"),
        ("resolver", "127.0.0.1:54", false, "no answer"),
        ("zone", "bad.example", false, "127.0.0.1"),
        ("backend", "main 127.0.0.1:2603", false, "XCLIENT"),
        ("backend", "main 127.0.0.1:2601", false, "cannot connect"),
        ("ldap", "ad", false, "127.0.0.1:2602"),
        ("port", "listen.smtp 0.0.0.0:25", false, "listens there"),
    ] {
        let found = rows.iter().find(|row| row.0 == kind && row.1 == name);
        let found = found.unwrap_or_else(|| panic!("{kind} {name}: {rows:#?}"));
        assert_eq!(found.2, good, "{found:?}");
        assert!(found.3.contains(detail), "{detail}: {found:?}");
    }
    drop(holder);
    answering.join().expect("the plain backend");
    // The ports of a daemon that runs are its own.
    let host = Host::new();
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    host.configure("", &GOOD[GOOD.find("[[domain]]").expect("the domain")..]);
    let _daemon = host.start();
    let (report, _) = check(&host.home, &host.namespace, &["--online"]);
    let port =
        report["online"].as_array().and_then(|rows| rows.iter().find(|row| row["kind"] == "port"));
    let port = port.unwrap_or_else(|| panic!("{report}"));
    assert_eq!(port["good"], true, "{port}");
    assert!(
        port["detail"].as_str().is_some_and(|text| text.contains("mxdp listens there")),
        "{port}"
    );
}

/// Kind: a value with a unit is refused without a word on the unit.
/// Source: `command_timeout = "5m"`, `message_size = "50MB"`.
#[test]
fn durations_and_sizes_take_units_in_the_file_and_on_the_command_line() {
    let (home, namespace) = scene();
    let limits = "[smtp]\ncommand_timeout = \"5m\"\nmessage_size = \"50MB\"\ngreeting_pause_ms = \"1s\"\n\
                  [record]\ndays = \"12w\"\nbytes = \"10GB\"\n[limits]\nfile_bytes = \"256MB\"\n\
                  [escalation]\nfirst = \"5 minutes\"\nlongest = \"12h\"\nabuse.window = \"10m\"\n\
                  [reputation]\nbudget_ms = \"5s\"\n[spf]\nbudget_ms = 20000\n";
    home.write("mxdp.toml", GOOD.to_owned() + limits);
    let (report, code) = check(&home, &namespace, &[]);
    assert_eq!((lines(&report, "errors"), code), (vec![], Some(0)));
    home.write(
        "mxdp.toml",
        GOOD.to_owned() + "[smtp]\ncommand_timeout = \"300\"\nmessage_size = true\n",
    );
    let (report, code) = check(&home, &namespace, &[]);
    let errors = lines(&report, "errors");
    assert_eq!((errors.len(), code), (2, Some(3)), "{errors:#?}");
    assert!(errors[0].contains("`300` has no unit") && errors[0].contains("\"5m\""), "{errors:#?}");
    assert!(errors[0].contains("a plain number of seconds"), "{errors:#?}");
    assert!(errors[1].contains("\"50MB\"") && errors[1].contains("bytes"), "{errors:#?}");
    home.write("mxdp.toml", GOOD);
    let config = home.path("mxdp.toml").display().to_string();
    let envelope = ["--ip", "192.0.2.7", "--from", "a@b.example", "--rcpt", "bob@example.org"];
    let explained =
        [&["explain", "-c", &config, "--size", "60MB", "--json"], &envelope[..]].concat();
    let output = home.mxdp(Some(&namespace), &explained).output().expect("mxdp starts");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["envelope"]["size"], 60 * 1024 * 1024);
    assert_eq!(json["decided_by"], "size");
}
