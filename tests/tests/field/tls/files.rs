//! Files of certificates and keys, and their faults.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::tls::trusting_everybody;

use super::{alarms, check, configure, handshake, issue, metrics, pair, table, write};

/// Files that were put together by hand lose nothing in silence (certbot#7625, RFC 7468).
#[test]
fn pem_blocks_joined_on_one_line_are_all_read() {
    let host = Host::new();
    let (own, other) = (issue("mx.example.org", 300), issue("ca.example", 300));
    let joined = format!("{}{}", own[0].trim_end(), other[0]);
    assert!(joined.contains("-----END CERTIFICATE----------BEGIN CERTIFICATE-----"));
    let (chain, key) = pair(&host, "own", [&joined, &own[1]]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    configure(&host, &table(&chain, &key));
    let daemon = host.start();
    assert_eq!(handshake(&host, trusting_everybody()).expect("a handshake").len(), 2);
    drop(daemon);
    // What cannot be split is refused with its line; the same of every file of PEM.
    let cut = format!("{}\nMIIB\n", own[0].replace("-----END CERTIFICATE-----", ""));
    fs::write(&chain, &cut).expect("written");
    let said = check(&host);
    let place = format!("{}:1: the CERTIFICATE that begins here has no end", chain.display());
    assert!(said.contains(&place), "{said}");
    fs::write(&chain, &own[0]).expect("written");
    let ca = write(&host, "ca.pem", &cut);
    configure(&host, &format!("[tls]\nclient_ca = \"{}\"\n{}", ca.display(), table(&chain, &key)));
    let said = check(&host);
    assert!(said.contains(&format!("tls.client_ca: {}:1: the CERT", ca.display())), "{said}");
}

/// Each fault of a certificate or key has a sentence of its own, and a line of the
/// configuration: at check and at start.
#[test]
fn faults_of_certificates_and_keys_are_said_with_their_place() {
    let host = Host::new();
    let (own, other) = (issue("mx.example.org", 300), issue("mx.example.org", 300));
    let (chain, key) = pair(&host, "own", [&own[0], &own[1]]);
    let (_, other_key) = pair(&host, "other", [&other[0], &other[1]]);
    let line_of = |host: &Host| {
        let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
        1 + text.lines().position(|line| line == "[[tls.certificates]]").expect("a table")
    };
    let (chain_name, key_name) = (chain.display().to_string(), key.display().to_string());
    let errors = [
        (
            table(&key, &chain),
            format!(
                "{key_name} holds a private key and {chain_name} a certificate: the two are swapped"
            ),
        ),
        (
            table(&chain, &other_key),
            format!(
                "{} is the private key of another certificate than {chain_name}",
                other_key.display()
            ),
        ),
        (
            table(&chain, Path::new("/nowhere")),
            "/nowhere: the private key does not exist".to_owned(),
        ),
        (table(&chain, &chain), format!("{chain_name}: there is no private key in PEM")),
        (table(&key, &key), format!("{key_name}: there is no certificate in PEM")),
    ];
    for (tables, sentence) in errors {
        configure(&host, &tables);
        let said = check(&host);
        let line = line_of(&host);
        assert!(
            said.contains(&format!("mxdp.toml:{line}: tls.certificates: {sentence}")),
            "{said}"
        );
        let config = host.home.path("mxdp.toml").display().to_string();
        let run = host.home.mxdp(Some(&host.namespace), &["run", "-c", &config]).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.contains(&sentence), "{said}");
    }
    // What can be used, and is not as it should be.
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    for (days, name, mode, sentence, is_alarm) in [
        (-2, "mx.example.org", 0o600, "expired on ", true),
        (7, "mx.example.org", 0o600, "expires on ", true),
        (
            300,
            "elsewhere.example",
            0o600,
            "is not for mx.example.org, the name of this host",
            false,
        ),
        (300, "mx.example.org", 0o666, "has mode 0666: others may read or change it", false),
    ] {
        let made = issue(name, days);
        let (chain, key) = pair(&host, "made", [&made[0], &made[1]]);
        fs::set_permissions(&key, Permissions::from_mode(mode)).expect("a mode");
        configure(
            &host,
            &format!(
                "{}[web]\nloopback = \"read\"\nlisten = [\"127.0.0.1:8025\"]\n",
                table(&chain, &key)
            ),
        );
        let said = check(&host);
        let line = line_of(&host);
        let place = format!("mxdp.toml:{line}: the ");
        assert!(said.contains(&place) && said.contains(sentence), "{said}");
        let daemon = host.start();
        wait_for("the warning", || host.home.log().contains(sentence));
        wait_for("the alarms", || alarms(&host).contains(sentence) == is_alarm);
        ends(&host, days);
        drop(daemon);
    }
}

/// Kind: a certificate beside the server's own is wrong or old, and nobody is told until
/// peers are turned away.
#[test]
fn certificates_beside_the_own_one_are_looked_at() {
    let host = Host::new();
    let (own, old) = (issue("mx.example.org", 300), issue("old.example", -2));
    let (chain, key) = pair(&host, "own", [&format!("{}{}", own[0], old[0]), &own[1]]);
    let ca = write(&host, "old-ca.pem", &old[0]);
    let bad = write(&host, "bad-ca.pem", "nothing");
    let rest = |ca: &Path, directory: &str| {
        format!(
            "{}{}[tls]\nclient_ca = \"old-ca.pem\"\n{}{directory}",
            domain("example.org", "main", ""),
            backend("main", 2600, &format!("tls = \"verified\"\nca = \"{}\"", ca.display())),
            table(&chain, &key)
        )
    };
    let line_of = |start: &str| {
        let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
        1 + text.lines().position(|line| line.starts_with(start)).expect("a line")
    };
    let place = |start: &str| format!("mxdp.toml:{}: ", line_of(start));
    host.configure("", &rest(&ca, ""));
    let said = check(&host);
    for (start, what) in [
        ("client_ca", "tls.client_ca: the certificate"),
        ("ca =", "backend.ca of `main`: the certificate"),
        ("[[tls.cert", "the certificate that begins at"),
    ] {
        let what = place(start) + what;
        let is_it = |line: &str| line.contains(&what) && line.contains("expired on ");
        assert!(said.lines().any(is_it), "{what}: {said}");
    }
    host.configure("", &rest(&bad, ""));
    let said = check(&host);
    let what = place("ca =") + "backend.ca of `main`: ";
    assert!(said.contains(&what) && said.contains("there is no certificate in PEM"), "{said}");
    let directory = "[[ldap]]\nname = \"people\"\nurl = \"ldaps://127.0.0.1\"\nbase = \"dc=x\"\n\
                     ca = \"none.pem\"\nbind_dn = \"cn=x\"\npassword_file = \"none\"\n";
    host.configure("", &rest(&ca, directory));
    let said = check(&host);
    for what in ["ldap.ca of `people`: ", "ldap.password_file of `people`: "] {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(said.contains(&place("password_file")), "{said}");
}

/// Kind: what is watched of one certificate and not of the other. The console's is looked at as
/// SMTP's are; a file that serves both is one line of the metric.
#[test]
fn the_certificate_of_the_console_is_watched_too() {
    let host = Host::new();
    let (served, console) = (issue("mx.example.org", 300), issue("console.example.org", 7));
    let (chain, key) = pair(&host, "own", [&served[0], &served[1]]);
    let (web_chain, web_key) = pair(&host, "web", [&console[0], &console[1]]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let configure_with = |chain_of_web: &Path, key_of_web: &Path| {
        let web = format!(
            "[web]\nloopback = \"read\"\nlisten = [\"127.0.0.1:8025\"]\nchain = \"{}\"\nkey = \"{}\"\n",
            chain_of_web.display(),
            key_of_web.display()
        );
        configure(&host, &format!("{}{web}", table(&chain, &key)));
    };
    let served = || host.home.json(&["status"])["certificates"].as_array().expect("a list").len();
    configure_with(&web_chain, &web_key);
    let _daemon = host.start();
    let sentence = format!("the certificate {} expires on ", web_chain.display());
    wait_for("the alarm", || alarms(&host).contains(&sentence));
    assert!(!alarms(&host).contains("own.pem"), "{}", alarms(&host));
    assert_eq!(served(), 2);
    // The renewed one is served and watched after a reload.
    let renewed = issue("console.example.org", 90);
    pair(&host, "web", [&renewed[0], &renewed[1]]);
    host.home.json(&["reload"]);
    wait_for("the alarm's end", || !alarms(&host).contains(&sentence));
    configure_with(&chain, &key);
    host.home.json(&["reload"]);
    assert_eq!(served(), 1);
}

/// The metric of a certificate's end.
fn ends(host: &Host, days: i64) {
    let metrics = metrics(host);
    let start = "mxdp_certificate_expiry_timestamp_seconds{";
    let line = metrics.lines().find(|line| line.starts_with(start)).expect("the metric");
    let seconds: i64 = line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("seconds");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    let left = seconds - i64::try_from(now).expect("a time");
    assert!((left - days * 86_400).abs() < 3600, "{line}: {left}");
}
