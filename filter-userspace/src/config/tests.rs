//! TOML in, exact errors out.

use std::path::Path;

use proptest::prelude::*;

use filter_common::abi::SynRate;
use filter_common::{Class, Enforcement};

use super::web::Rights;
use super::*;
use crate::lists::{OnBadLine, UnknownCountry};

const MINIMAL: &str = "[filter]\ninterfaces = [\"eth0\"]\n";

fn errors(text: &str) -> Vec<String> {
    let errors = parse(text, Path::new("/etc/mxdp/mxdp.toml")).expect_err("errors");
    errors.0.iter().map(|error| error.to_string().replace("/etc/mxdp/mxdp.toml:", "")).collect()
}

fn config(text: &str) -> Config {
    parse(text, Path::new("/etc/mxdp/mxdp.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_defaults_are_these() {
    let config = config(MINIMAL);
    assert_eq!(config.filter.interfaces, ["eth0"]);
    assert_eq!(config.startup.filter.mode, Mode::Auto);
    assert_eq!(config.filter.ports, [25]);
    assert_eq!(config.startup.filter.pin, Path::new("/sys/fs/bpf/mxdp"));
    assert!(config.startup.filter.persist);
    assert_eq!(config.filter.events_per_second, 256);
    assert_eq!(config.startup.filter.kernel_log, KernelLog::Off);
    assert_eq!(config.enforcement.of(Class::BlockedIp), Enforcement::Drop);
    assert_eq!(config.enforcement.of(Class::BlockedCountry), Enforcement::Drop);
    assert_eq!(config.enforcement.of(Class::KnownSpamSource), Enforcement::Reject);
    assert!(config.lists.is_empty() && config.inline.is_empty());
    assert_eq!(config.countries.source, None);
    assert_eq!(config.countries.unknown, UnknownCountry::None);
    assert_eq!(config.startup.temporary.capacity, 131_072);
    assert_eq!(config.syn_rate.ipv4, SynRate::default());
    assert_eq!(config.syn_rate.ipv6, SynRate::default());
    assert_eq!(config.startup.syn_rate.capacity, 65_536);
    assert_eq!(config.startup.control.socket, Path::new("/run/mxdp/mxdp.sock"));
    assert_eq!(config.startup.state.folder, Path::new("/var/lib/mxdp"));
    assert!(config.reload.watch);
    assert_eq!(config.limits, Limits { file_bytes: 268_435_456, prefixes: 16_777_216 });
    assert_eq!(config.startup.log, Log { level: Level::Info, format: Format::Text });
    assert!(config.warnings().is_empty());
}

#[test]
fn every_key_is_read() {
    let config = config(
        r#"
        [filter]
        interfaces = ["eth0", "eth1.100"]
        mode = "native"
        ports = [2525]
        persist = false
        debug = "trace"
        [enforcement]
        blocked_ip = "monitor"
        [approved]
        files = ["a.txt", "/b.txt"]
        addresses = ["192.0.2.77/24", "2001:db8::1"]
        countries = ["de", "AT"]
        [blocked]
        files = [{ path = "feed", on_bad_line = "skip", force = true }]
        addresses = ["0.0.0.0/0", "::ffff:192.0.2.1"]
        force = true
        [known_spam_sources]
        files = ["kss"]
        [countries]
        database = "geo.mmdb"
        registered_country = true
        unknown = "block"
        [syn_rate]
        ipv4 = { per_second = 10, burst = 5 }
        ipv6 = { per_second = 1000 }
        "#,
    );
    let files: Vec<_> = config.lists.iter().map(|list| (list.class, list.path.to_str())).collect();
    assert_eq!(
        files,
        [
            (Class::ApprovedIp, Some("/etc/mxdp/a.txt")),
            (Class::ApprovedIp, Some("/b.txt")),
            (Class::BlockedIp, Some("/etc/mxdp/feed")),
            (Class::KnownSpamSource, Some("/etc/mxdp/kss")),
        ]
    );
    assert_eq!(config.lists[2].on_bad_line, OnBadLine::Skip);
    assert!(config.lists[2].force && !config.lists[0].force);
    let inline: Vec<_> =
        config.inline.iter().map(|entry| format!("{}:{}", entry.line, entry.net)).collect();
    assert_eq!(
        inline,
        ["12:192.0.2.0/24", "12:2001:db8::1/128", "16:0.0.0.0/0", "16:192.0.2.1/32"]
    );
    assert_eq!(config.countries.approved.len(), 2);
    let path = config.countries.source.as_ref().map(CountrySource::path);
    assert_eq!(path, Some(Path::new("/etc/mxdp/geo.mmdb")));
    let rate = SynRate { interval_ns: 100_000_000, tolerance_ns: 400_000_000 };
    assert_eq!(config.syn_rate.ipv4, rate);
    let rate = SynRate { interval_ns: 1_000_000, tolerance_ns: 999_000_000 };
    assert_eq!(config.syn_rate.ipv6, rate);
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    assert_eq!(
        errors(
            r#"[filter]
interfaces = ["eth0", "eth0", "a/b"]
mode = "fast"
ports = [25, 70000, "smtp", 25]
interface = "eth1"
[blocked]
addresses = ["1.2.3", "::/0"]
countries = ["UK", "FR", "fr"]
files = [7, { on_bad_line = "ignore", forced = true }]
[limits]
prefixes = 1.5
[smpt]
"#
        ),
        [
            "1:1: countries.database: is missing: countries are approved or blocked, and nothing \
             says which address is where; name a database or a folder",
            "2:23: filter.interfaces: eth0 is named twice",
            "2:31: filter.interfaces: `a/b` is not an interface name (see `ip link`)",
            "3:8: filter.mode: `fast` is not one of \"auto\", \"native\", \"generic\"",
            "4:14: filter.ports: 70000 is not from 1 to 65535",
            "4:21: filter.ports: expected an integer, found a string",
            "4:29: filter.ports: 25 is named twice",
            "5:1: filter.interface: unknown key; did you mean `interfaces`?",
            "7:14: blocked.addresses: `1.2.3` is not an address or CIDR",
            "7:23: blocked.addresses: ::/0 would block every address; write `force = true` in \
             this section if you mean it",
            "8:14: blocked.countries: `UK` is not an assigned ISO 3166-1 alpha-2 country code \
             (such as DE); the United Kingdom is GB",
            "8:26: blocked.countries: FR is named twice",
            "9:10: blocked.files: expected a string or a table, found an integer",
            "9:13: blocked.files.path: is missing: the list's file",
            "9:29: blocked.files.on_bad_line: `ignore` is not one of \"refuse\", \"skip\"",
            "9:39: blocked.files.forced: unknown key; did you mean `force`?",
            "11:12: limits.prefixes: expected an integer, found a float",
            "12:2: smpt: unknown key; did you mean `smtp`?",
        ]
    );
}

#[test]
fn broken_syntax_is_an_error_with_its_line() {
    let errors = errors("[filter]\ninterfaces = [\"eth0\"\nmode = \n[log]\nlevel = 5\n");
    assert!(errors.iter().any(|error| error.starts_with("3:")), "{errors:?}");
    let bytes = b"[filter]\ninterfaces = [\"eth0\"]\n# \xff\n";
    let error = parse_bytes(bytes, Path::new("x")).expect_err("no text").to_string();
    assert_eq!(error, "x:3:1: the line is not UTF-8 text");
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_eq!(errors(""), ["1:1: filter.interfaces: name at least one, such as [\"eth0\"]"]);
}

#[test]
fn every_wrong_type_is_named() {
    for (section, key, value, expected) in [
        ("filter", "interfaces", "\"eth0\"", "expected an array, found a string"),
        ("filter", "persist", "1", "expected a boolean, found an integer"),
        ("filter", "pin", "true", "expected a string, found a boolean"),
        ("filter", "pin", "\"mxdp\"", "`mxdp` is not an absolute path"),
        ("filter", "ports", "[]", "name at least one, such as 25"),
        (
            "enforcement",
            "blocked_ip",
            "\"deny\"",
            "`deny` is not one of \"drop\", \"reject\", \"monitor\"",
        ),
        ("approved", "force", "true", "unknown key; known here: files, addresses, spf, countries"),
        (
            "known_spam_sources",
            "countries",
            "[]",
            "unknown key; known here: files, force, addresses",
        ),
        ("countries", "database", "[]", "expected a string, found an array"),
        ("countries", "registered_country", "true", "has an effect only with a database"),
        ("temporary", "capacity", "5", "5 is not from 1024 to 2097152"),
        ("syn_rate", "ipv4", "5", "expected a table, found an integer"),
        ("syn_rate", "ipv4", "{ burst = 5 }", "is missing: SYNs a second"),
        ("reload", "watch", "2026-01-01", "expected a boolean, found a date or time"),
        (
            "log",
            "level",
            "\"loud\"",
            "`loud` is not one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
    ] {
        let filter = if section == "filter" && key != "interfaces" {
            MINIMAL.to_owned() + &format!("{key} = {value}\n")
        } else if section == "filter" {
            format!("[filter]\n{key} = {value}\n")
        } else {
            format!("{MINIMAL}[{section}]\n{key} = {value}\n")
        };
        let errors = errors(&filter);
        assert!(errors.iter().any(|error| error.contains(expected)), "{key}: {errors:?}");
        assert!(
            errors
                .iter()
                .all(|error| error.contains(&format!("{section}.{key}")) || key == "interfaces"),
            "{errors:?}"
        );
    }
}

#[test]
fn the_socket_path_is_bounded() {
    let long = format!("{MINIMAL}[control]\nsocket = \"/{}\"\n", "s".repeat(120));
    assert!(errors(&long)[0].contains("is longer than 107 bytes"));
}

#[test]
fn reject_without_an_smtp_stage_is_warned_of() {
    let text = format!("{MINIMAL}[known_spam_sources]\naddresses = [\"192.0.2.1\"]\n");
    let warnings = config(&text).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("enforcement.known_spam_source is \"reject\""), "{warnings:?}");
}

/// An SMTP side with everything that may be there.
const SMTP: &str = r#"
[listen]
smtp = ["0.0.0.0:25"]
[tls]
self_signed = true
client_ca = "ca.pem"
[[tls.certificates]]
chain = "c"
key = "k"
[[tls.peers]]
domains = ["bank.example"]
mode = "mandatory"
client_certificate = true
[[domain]]
names = ["example.org", "*.example.org"]
backend = "main"
ldap = "directory"
[[backend]]
name = "main"
servers = ["192.0.2.1:25", "mail.example.org:25", "[2001:db8::1]:25"]
[[ldap]]
name = "directory"
url = "ldap://192.0.2.2"
base = "dc=example"
[relay]
listen = ["0.0.0.0:587"]
listen_tls = ["0.0.0.0:466"]
backend = "main"
[[customer]]
name = "acme"
networks = ["192.0.2.0/24"]
certificates = ["AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB"]
domains = ["acme.example", "*.acme.example"]
[dns]
servers = ["127.0.0.1:53", "[::1]:53"]
[[reputation.standard.zones]]
name = "bl.example"
codes = ["127.0.0.2-127.0.0.9", "&0.0.1.0"]
ignored = ["127.0.0.10"]
key_file = "key"
txt = true
[[reputation.dynamic.zones]]
name = "good.example"
codes = ["127.0.0.2"]
weight = -20
families = ["ipv6"]
[web]
listen = ["127.0.0.1:8025"]
[[web.tokens]]
name = "anna"
rights = "write"
sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
"#;

#[test]
fn the_smtp_side_is_read() {
    let config = config(&format!("{MINIMAL}{SMTP}"));
    let smtp = config.smtp.clone().expect("an SMTP side");
    assert_eq!(smtp.limits.message_size, 52_428_800);
    assert_eq!(smtp.backends[0].servers.len(), 3);
    assert!(smtp.domains[0].names[1].below && !smtp.domains[0].names[0].below);
    assert_eq!(smtp.tls.peers[0].tls.minimum, 12);
    assert!(smtp.tls.peers[0].tls.certificate);
    let [listed, good] = [&smtp.reputation.standard, &smtp.reputation.dynamic];
    assert_eq!((listed.threshold, good.threshold), (Some(10), Some(10)));
    assert_eq!((listed.zones[0].codes.len(), good.zones[0].weight), (2, -20));
    assert!(good.zones[0].v6 && !good.zones[0].v4);
    assert_eq!(smtp.zone_keys.len(), 1);
    assert_eq!(smtp.escalation.first.as_secs(), 300);
    let web = config.web.as_ref().expect("a console");
    assert_eq!((web.loopback, web.tokens[0].rights), (Rights::None, Rights::Write));
    assert!(config.warnings().is_empty());
    assert_eq!(web.tokens[0].sha256[..3], [0x00, 0x11, 0x22]);
}

#[test]
fn a_page_that_others_reach_needs_tokens_and_tls() {
    let outside = "[web]\nlisten = [\"192.0.2.1:443\"]\n";
    let token = "[[web.tokens]]\nname = \"\"\nrights = \"all\"\nsha256 = \"zz\"\n";
    let without = errors(&format!("{MINIMAL}{outside}"));
    for expected in [
        "web.listen: 192.0.2.1:443 is not on loopback, where nobody is let in without a token",
        "web.listen: 192.0.2.1:443 is not on loopback, and tokens would be sent in the clear",
    ] {
        assert!(without.iter().any(|error| error.contains(expected)), "{expected}: {without:#?}");
    }
    let wrong = errors(&format!("{MINIMAL}{outside}plain = true\nchain = \"c\"\n{token}"));
    for expected in [
        "web.chain: and `web.key` go together",
        "web.tokens.name: says whose token it is",
        "web.tokens.rights: ",
        "web.tokens.sha256: is 64 hexadecimal digits",
    ] {
        assert!(wrong.iter().any(|error| error.contains(expected)), "{expected}: {wrong:#?}");
    }
}

/// A console that lets nobody in is a warning that says what to do first.
#[test]
fn a_console_without_tokens_is_warned_of() {
    let warned = |web: &str| config(&format!("{MINIMAL}[web]\n{web}")).warnings();
    let warnings = warned("");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`mxdp token NAME`"), "{warnings:?}");
    assert_eq!(warned("loopback = \"read\""), Vec::<String>::new());
}

#[test]
fn zones_and_escalation_are_checked() {
    let wrong = "[[reputation.standard.zones]]\nname = \"bl example\"\ncodes = [\"127.255.255.1\"]\n\
                 [[reputation.dynamic.zones]]\nname = \"dyn.example\"\nfamilies = [\"ip\"]\n\
                 [reputation.standard]\ncode = 250\n[escalation]\nfirst = 10\nlongest = 5\n";
    let errors = errors(&format!("{MINIMAL}{SMTP_MINIMAL}{wrong}"));
    for part in [
        "reputation.standard.code: 250",
        "name: `bl example` is not a domain name",
        "codes: `127.255.255.1` is not an answer",
        "reputation.dynamic.zones.codes: is missing",
        "families: `ip` is not one of",
        "escalation.longest: is shorter than the first block (10s)",
    ] {
        assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:#?}");
    }
}

#[test]
fn what_belongs_to_a_customer_belongs_to_no_other() {
    let customers = "[relay]\nlisten = [\"0.0.0.0:587\"]\nbackend = \"none\"\n\
                     [[customer]]\nname = \"a\"\nnetworks = [\"192.0.2.0/24\"]\n\
                     domains = [\"a.example\"]\n[[customer]]\nname = \"a\"\n\
                     networks = [\"192.0.2.77/24\"]\ncertificates = [\"AB:cd\"]\n\
                     domains = [\"A.example\"]\n[[customer]]\nname = \"b\"\n";
    let errors = errors(&format!("{MINIMAL}{SMTP_MINIMAL}{customers}"));
    for part in [
        "relay.backend: no [[backend]] is named `none`; there are main",
        "customer.name: a is named twice",
        "customer.domains: a.example is a's as well",
        "customer.networks: 192.0.2.0/24 is a's as well",
        "customer.certificates: needs tls.client_ca",
        "customer.certificates: `AB:cd` is not a SHA-256 fingerprint",
        "customer.networks: names no host",
        "customer.domains: name at least one",
    ] {
        assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:#?}");
    }
}

#[test]
fn without_standard_reputation_blocked_lists_may_count_for_nothing() {
    let ers = "[reputation]\ners_compatible = true\n";
    let blocked = "[blocked]\naddresses = [\"192.0.2.0/24\"]\n";
    let compatible = config(&format!("{MINIMAL}{blocked}{SMTP_MINIMAL}{ers}"));
    assert_eq!(compatible.enforcement.blocked_ip, Enforcement::Monitor);
    assert!(compatible.warnings()[0].contains("ers_compatible"));
    let feed = "[known_spam_sources]\naddresses = [\"198.51.100.0/24\"]\n";
    let with_feed = config(&format!("{MINIMAL}{blocked}{feed}{SMTP_MINIMAL}{ers}"));
    assert_eq!(with_feed.enforcement.blocked_ip, Enforcement::Drop);
    assert!(with_feed.warnings().is_empty());
}

const SMTP_MINIMAL: &str = r#"
[listen]
smtp = ["0.0.0.0:25"]
[[domain]]
names = ["example.org"]
backend = "main"
[[backend]]
name = "main"
servers = ["192.0.2.1:25"]
"#;

#[test]
fn the_sections_of_the_smtp_side_must_fit_together() {
    assert_eq!(
        errors(&format!(
            "{MINIMAL}[listen]\nsmtp = [\"x\"]\nsmtps = [\"127.0.0.1:465\"]\n[[domain]]\n\
             names = [\"a.example\", \"b@c\"]\nbackend = \"m\"\n[[domain]]\n\
             names = [\"a.example\"]\nbackend = \"main\"\nldap = \"none\"\nsubaddress = \"++\"\n\
             [[backend]]\nname = \"main\"\nservers = [\"host\"]\n"
        )),
        [
            "4:9: listen.smtp: `x` is not an address and port, such as 0.0.0.0:25",
            "5:9: listen.smtps: needs a certificate: see tls.certificates",
            "7:23: domain.names: `b@c` is not a domain name, such as example.org or *.example.org",
            "8:11: domain.backend: no [[backend]] is named `m`; there are main",
            "10:9: domain.names: a.example is named twice",
            "12:8: domain.ldap: no [[ldap]] is named `none`; there is no [[ldap]]",
            "13:14: domain.subaddress: is one of \"+\", \"-\", \"=\", \"_\"",
            "16:12: backend.servers: `host` is not a host and port, such as 192.0.2.1:25",
        ]
    );
    assert_eq!(
        errors(&format!("{MINIMAL}[senders]\nblocked = [\"*@a.example\"]\n")),
        ["3:1: senders: is for the SMTP side, which needs a section [listen]"]
    );
}

#[test]
fn the_configurations_of_the_repository_are_right() {
    for (text, path) in [
        (include_str!("../../../config/mxdp.toml"), "config/mxdp.toml"),
        (include_str!("../../../config/trial.toml"), "config/trial.toml"),
    ] {
        if let Err(errors) = parse(text, Path::new(path)) {
            panic!("{errors}");
        }
    }
}

/// One wrong thing is one error, at its place, whatever else leans on it.
#[test]
fn no_error_is_said_twice() {
    let listen = "[listen]\nsmtp = [\"0.0.0.0:25\"]\n";
    let domain = "[[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n";
    let backend = "[[backend]]\nname = \"main\"\nservers = [\"192.0.2.1:25\"]\n";
    for (text, expected) in [
        (
            "[filter]\ninterfaces = \"eth0\"\n".to_owned(),
            "2:14: filter.interfaces: expected an array",
        ),
        ("[filter]\ninterfaces = [7]\n".to_owned(), "2:15: filter.interfaces: expected a string"),
        ("filter = 7\n".to_owned(), "1:10: filter: expected a table"),
        (
            "[filter]\ninterfaces = [\"eth0\"]\nports = 25\n".to_owned(),
            "3:9: filter.ports: expected an array",
        ),
        (format!("listen = 7\n{MINIMAL}{domain}{backend}"), "1:10: listen: expected a table"),
        (format!("domain = 7\n{MINIMAL}{listen}{backend}"), "1:10: domain: expected an array"),
        (format!("backend = 7\n{MINIMAL}{listen}{domain}"), "1:11: backend: expected an array"),
        (
            format!("{MINIMAL}{listen}{domain}[[backend]]\nname = 7\nservers = [\"h:25\"]\n"),
            "9:8: backend.name: expected a string",
        ),
        (
            format!("{MINIMAL}{listen}{domain}[[backend]]\nname = \"\"\nservers = [\"h:25\"]\n"),
            "9:8: backend.name: must not be empty",
        ),
        (
            format!("{MINIMAL}{listen}{domain}[[backend]]\nname = \"main\"\nservers = [\"h\"]\n"),
            "10:12: backend.servers: `h` is not a host",
        ),
        (
            format!(
                "{MINIMAL}{listen}[[domain]]\nnames = \"a.example\"\nbackend = \"main\"\n{backend}"
            ),
            "6:9: domain.names: expected an array",
        ),
        (
            format!(
                "{MINIMAL}{listen}{domain}{backend}[tls]\ncertificates = 7\ndefault = \"mandatory\"\n"
            ),
            "12:16: tls.certificates: expected an array",
        ),
        (
            format!("{MINIMAL}[web]\nlisten = [\"192.0.2.1:443\"]\ntokens = 7\nplain = true\n"),
            "5:10: web.tokens: expected an array",
        ),
        (format!("{MINIMAL}[web]\nchain = 7\nkey = \"k\"\n"), "4:9: web.chain: expected a string"),
        (
            format!("{MINIMAL}[countries]\ndatabase = 7\nregistered_country = true\n"),
            "4:12: countries.database: expected a string",
        ),
        (
            format!(
                "{MINIMAL}{listen}{domain}{backend}[relay]\nlisten = 7\nbackend = \"main\"\n[[customer]]\nname = \"a\"\nnetworks = 7\ndomains = [\"a.example\"]\n"
            ),
            "12:10: relay.listen: expected an array",
        ),
        (
            format!("{MINIMAL}[senders]\nblocked = []\n"),
            "3:1: senders: is for the SMTP side, which needs a section [listen]",
        ),
    ] {
        let errors = errors(&text);
        assert!(errors[0].starts_with(expected), "{text}{errors:#?}");
        // Where a customer's networks are wrong too, there are two.
        let count = if text.contains("networks = 7") { 2 } else { 1 };
        assert_eq!(errors.len(), count, "{text}{errors:#?}");
    }
}

/// What cannot be read may be what seems to be missing.
#[test]
fn broken_syntax_makes_nothing_else_missing() {
    for text in [
        "[filter]\ninterfaces = [eth0]\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n",
        "[filter\ninterfaces = [\"eth0\"]\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n",
        "[filter]\ninterfaces = [\"eth0\"\n[[domain]]\nnames = [\"example.org\"]\n",
        "[filter]\ninterfaces : [\"eth0\"]\n[relay]\nlisten = [\"0.0.0.0:25\"]\n",
    ] {
        let errors = errors(text);
        assert!(!errors.is_empty());
        for error in &errors {
            assert!(
                !error.contains("is missing") && !error.contains("name at least"),
                "{errors:#?}"
            );
            assert!(
                !error.contains("name an address") && !error.contains("needs a"),
                "{errors:#?}"
            );
        }
    }
}

/// Durations and sizes have units, or count in the key's own.
#[test]
fn durations_and_sizes_take_units() {
    let with = |section: &str, line: &str| format!("{MINIMAL}{SMTP_MINIMAL}[{section}]\n{line}\n");
    let smtp = |section: &str, line: &str| config(&with(section, line)).smtp.expect("SMTP");
    for text in ["300", "\"300s\"", "\"5m\"", "\"5 min\"", "\"300000ms\""] {
        let smtp = smtp("smtp", &format!("command_timeout = {text}"));
        assert_eq!(smtp.limits.command_timeout.as_secs(), 300, "{text}");
    }
    for text in ["52428800", "\"50MB\"", "\"50 MiB\"", "\"51200KB\""] {
        let smtp = smtp("smtp", &format!("message_size = {text}"));
        assert_eq!(smtp.limits.message_size, 52_428_800, "{text}");
    }
    let pause = smtp("smtp", "greeting_pause_ms = \"2s\"").limits.greeting_pause;
    assert_eq!(pause.as_millis(), 2_000);
    let age =
        |text: &str| config(&format!("{MINIMAL}[record]\ndays = {text}\n")).startup.record.age;
    assert_eq!(age("90"), age("\"90d\""));
    assert_eq!(age("\"12w\"").as_secs(), 84 * 86_400);
    for (section, line, expected) in [
        (
            "smtp",
            "command_timeout = \"300\"",
            "`300` has no unit: write a duration such as \"90s\"",
        ),
        ("smtp", "command_timeout = \"5 parsecs\"", "a plain number of seconds"),
        ("smtp", "command_timeout = 5.5", "expected a duration such as"),
        (
            "smtp",
            "command_timeout = \"2d\"",
            "2d is not from 1s to 1d (a plain number is in seconds)",
        ),
        ("smtp", "command_timeout = 0", "0 is not from 1s to 1d (a plain number is in seconds)"),
        ("smtp", "command_timeout = -1", "-1 is not from 1s to 1d"),
        ("smtp", "message_size = \"50\"", "`50` has no unit: write a size such as"),
        ("smtp", "message_size = \"1.5GB\"", "is not a size: write \"64KB\", \"50MB\" or \"10GB\""),
        (
            "smtp",
            "message_size = \"5TB\"",
            "5TB is not from 1KB to 4GB (a plain number is in bytes)",
        ),
        ("spf", "budget_ms = \"20\"", "a plain number of milliseconds"),
        ("record", "days = \"90\"", "write a duration such as \"90d\" or \"12w\""),
    ] {
        let errors = errors(&with(section, line));
        assert_eq!(errors.len(), 1, "{line}: {errors:#?}");
        assert!(errors[0].contains(expected), "{line}: {errors:#?}");
    }
}

/// What a reload cannot carry out is said at every reload, and kept as it was at the start.
#[test]
fn what_needs_a_restart_is_said_and_kept() {
    let old = config(MINIMAL);
    let new = config(
        "[filter]\ninterfaces = [\"eth1\"]\nmode = \"native\"\npin = \"/p\"\npersist = false\n\
         debug = \"trace\"\n[temporary]\ncapacity = 2048\n[syn_rate]\ncapacity = 2048\n\
         ipv4.per_second = 5\n[control]\nsocket = \"/s\"\n[state]\nfolder = \"/f\"\n[record]\n\
         days = 1\nbytes = \"1GB\"\naudit_bytes = \"1GB\"\nsubject = false\n\
         [web]\nlisten = [\"127.0.0.1:8026\"]\n\
         [log]\nlevel = \"trace\"\nformat = \"json\"\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n[[domain]]\n\
         names = [\"example.org\"]\nbackend = \"main\"\n[[backend]]\nname = \"main\"\n\
         servers = [\"192.0.2.1:25\"]\n[relay]\nlisten = [\"0.0.0.0:587\"]\n\
         backend = \"main\"\n[[customer]]\nname = \"c\"\nnetworks = [\"192.0.2.9/32\"]\n\
         domains = [\"c.example\"]\n",
    );
    let all: Vec<_> = new.startup.keys().into_keys().collect();
    assert_eq!(old.startup.changed_keys(&new.startup), all);
    let said = new.needs_restart(&old);
    assert_eq!(said[0], "control.socket was changed; that takes effect when mxdp is restarted");
    assert_eq!(said.len(), all.len());
    for (key, startup) in [("control.socket", &old.startup), ("relay.listen", &new.startup)] {
        assert!(startup.keys().contains_key(key), "{key}");
    }
    assert!(old.needs_restart(&old).is_empty());
    // What is live is the new one's; the SMTP side and the console do not come.
    let kept = new.clone().until_restart(&old);
    assert_eq!(kept.startup, old.startup);
    assert_eq!((&kept.filter.interfaces, kept.syn_rate), (&new.filter.interfaces, new.syn_rate));
    assert!(kept.smtp.is_none() && kept.web.is_none());
    // The SMTP side does not go, and a console lets nobody in any more.
    let kept = old.clone().until_restart(&new);
    assert_eq!((&kept.startup, &kept.smtp), (&new.startup, &new.smtp));
    assert!(kept.web.is_none());
    // It is said at every reload, and no longer when it is taken back.
    assert_eq!(old.needs_restart(&kept).len(), all.len());
    assert!(new.needs_restart(&kept).is_empty());
}

/// What cannot start, or would send mail round in a loop, is an error.
#[test]
fn a_port_is_listened_on_once_and_no_backend_is_mxdp_itself() {
    let text = |listen: &str, server: &str, more: &str| {
        format!(
            "{MINIMAL}[listen]\n{listen}\n[tls]\nself_signed = true\n[[domain]]\n\
             names = [\"example.org\"]\nbackend = \"main\"\n[[backend]]\nname = \"main\"\n\
             servers = [\"{server}\"]\n{more}"
        )
    };
    let good = "smtp = [\"0.0.0.0:25\", \"[::]:25\"]\nsmtps = [\"0.0.0.0:465\"]";
    config(&text(good, "192.0.2.1:25", "[web]\n"));
    config(&text("smtp = [\"192.0.2.7:25\"]", "127.0.0.1:25", ""));
    for (listen, server, more, expected) in [
        (
            "smtp = [\"0.0.0.0:25\"]\nsmtps = [\"0.0.0.0:25\"]",
            "192.0.2.1:25",
            "",
            "5:10: listen.smtps: 0.0.0.0:25 is the same port as 0.0.0.0:25 of listen.smtp",
        ),
        (
            "smtp = [\"0.0.0.0:25\", \"127.0.0.1:25\"]",
            "192.0.2.1:25",
            "",
            "4:23: listen.smtp: 127.0.0.1:25 is the same port as 0.0.0.0:25",
        ),
        (
            good,
            "192.0.2.1:25",
            "[web]\nlisten = [\"127.0.0.1:465\"]\n",
            "web.listen: 127.0.0.1:465 is the same port as 0.0.0.0:465 of listen.smtps",
        ),
        (
            "smtp = [\"127.0.0.1:8025\"]",
            "192.0.2.1:25",
            "[web]\n",
            "web.listen: 127.0.0.1:8025 is the same port",
        ),
        (
            good,
            "127.0.0.1:25",
            "",
            "backend.servers: `127.0.0.1:25` is mxdp itself (0.0.0.0:25 of listen.smtp)",
        ),
        (good, "localhost:25", "", "`localhost:25` is mxdp itself"),
        (
            good,
            "127.0.0.1:8025",
            "[web]\n",
            "`127.0.0.1:8025` is mxdp itself (127.0.0.1:8025 of web.listen): the console takes no \
             mail",
        ),
        (good, "[::1]:25", "", "`[::1]:25` is mxdp itself ([::]:25 of listen.smtp)"),
        (good, "127.0.0.1:465", "", "is mxdp itself (0.0.0.0:465 of listen.smtps)"),
        ("smtp = [\"192.0.2.7:25\"]", "192.0.2.7:25", "", "is mxdp itself"),
        (
            "smtp = [\"0.0.0.0:25\"]\nhostname = \"mx.example.org\"",
            "mx.example.org:25",
            "",
            "is mxdp itself",
        ),
    ] {
        let errors = errors(&text(listen, server, more));
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].contains(expected), "{expected}: {errors:#?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", lines in prop::collection::vec("[a-z.\\[\\]={}\"0-9# \n]{0,30}", 0..10)) {
        _ = parse(&text, Path::new("x"));
        _ = parse(&lines.join("\n"), Path::new("x"));
        _ = parse(&format!("{MINIMAL}{}", lines.join("\n")), Path::new("x"));
    }
}
