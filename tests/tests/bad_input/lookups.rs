//! Looking up.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::process::Stdio;

use mxdp_tests::daemon::Home;
use mxdp_tests::mmdb::Mmdb;
use serde_json::{Value, json};

use crate::{LOOPBACK, Outcome, SOON, as_nobody, config_of, finish};

#[test]
fn anyone_may_look_up() {
    let home = Home::new();
    home.write("approved", "# ours\n192.0.2.128/25 relay\n2001:db8:1::/48\n");
    home.write("blocked", "192.0.2.0/24\n2001:db8::/32\n::ffff:203.0.113.0/120\n");
    home.write("spam", "100.64.0.0/10 ; SBL1\n");
    home.write("db", Mmdb::sample().bytes());
    home.configure(
        LOOPBACK,
        "[approved]\nfiles = [\"approved\"]\ncountries = [\"CH\"]\n\
         [blocked]\nfiles = [\"blocked\"]\ncountries = [\"FR\"]\naddresses = [\"10.1.0.0/16\"]\n\
         [known_spam_sources]\nfiles = [\"spam\"]\n[countries]\ndatabase = \"db\"",
    );
    let config = config_of(&home);
    let text = fs::read_to_string(&config).expect("read");
    let at = |what: &str| text.lines().position(|line| line.contains(what)).expect("a line") + 1;
    let inline = format!("mxdp.toml:{}", at("10.1.0.0/16"));
    let cases = [
        ("192.0.2.1", "blocked_ip", "drop", "192.0.2.0/24", "blocked:1", "AT"),
        ("192.0.2.200", "approved_ip", "pass", "192.0.2.128/25", "approved:2", "AT"),
        ("::ffff:192.0.2.1", "blocked_ip", "drop", "192.0.2.0/24", "blocked:1", "AT"),
        ("2001:db8::1", "blocked_ip", "drop", "2001:db8::/32", "blocked:2", ""),
        ("2001:db8:1::1", "approved_ip", "pass", "2001:db8:1::/48", "approved:3", ""),
        ("203.0.113.7", "blocked_ip", "drop", "203.0.113.0/24", "blocked:3", "NZ"),
        ("100.127.255.255", "known_spam_source", "reject", "100.64.0.0/10", "spam:1", ""),
        ("10.1.2.3", "blocked_ip", "drop", "10.1.0.0/16", &inline, "CH"),
        ("10.2.2.3", "approved_country", "pass", "10.0.0.0/8", "db", "CH"),
        ("198.51.100.130", "blocked_country", "drop", "198.51.100.128/25", "db", "FR"),
        ("198.51.100.1", "none", "pass", "", "", "DE"),
        ("8.8.8.8", "none", "pass", "", "", ""),
        ("::1", "none", "pass", "", "", ""),
    ];
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let assert_answers = |outcome: &Outcome| {
        let lines: Vec<_> =
            outcome.text.lines().filter(|line| line.contains("\"class\"")).collect();
        assert_eq!(lines.len(), cases.len(), "{}", outcome.text);
        for (line, (ip, class, action, prefix, source, country)) in lines.iter().zip(cases) {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            let ip: std::net::IpAddr = ip.parse().expect("an address");
            assert_eq!(answer["ip"], json!(ip.to_canonical()), "{line}");
            assert_eq!(answer["class"], class, "{line}");
            assert_eq!(answer["action"], action, "{line}");
            assert_eq!(answer["prefix"], or_null(prefix), "{line}");
            assert_eq!(answer["country"], or_null(country), "{line}");
            let path = home.path(source).display().to_string();
            let source = if source.is_empty() { "" } else { &path };
            assert_eq!(answer["source"], or_null(source), "{line}");
        }
    };
    let given = cases.map(|(ip, ..)| ip);
    let arguments = [&["lookup", "-c", &config, "--json"], &given[..]].concat();
    let outcome = finish(&mut as_nobody(&home, &arguments), Stdio::null(), SOON);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    assert_answers(&outcome);

    let stdin = |bytes: &[u8]| {
        home.write("stdin", bytes);
        Stdio::from(File::open(home.path("stdin")).expect("opened"))
    };
    let arguments = ["lookup", "-c", &config, "--json", "-"];
    let outcome =
        finish(&mut as_nobody(&home, &arguments), stdin(given.join("\r\n").as_bytes()), SOON);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    assert_answers(&outcome);

    // Bad lines are named, and the rest is answered.
    let mut mixed = b"192.0.2.300\n".to_vec();
    for ip in given {
        mixed.extend(format!("{ip}\n\n# a comment\n").bytes());
    }
    mixed.extend(b"\xff\xfe\n192.0.2.0/24\n");
    mixed.extend([b'1'; 100_000]);
    let outcome = finish(&mut as_nobody(&home, &arguments), stdin(&mixed), SOON);
    assert_eq!(outcome.code, Some(1), "{}", outcome.text);
    assert_answers(&outcome);
    outcome.says("standard input, line 1: `192.0.2.300` is not an address");
    outcome.says("standard input, line 42: `192.0.2.0/24` is not an address");
    assert!(outcome.text.len() < 10_000, "{} bytes", outcome.text.len());
}

#[test]
fn a_hundred_thousand_addresses_are_looked_up_soon() {
    const COUNT: u32 = 100_000;
    let home = Home::new();
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + 7 * n);
    let mut list = String::new();
    let mut input = String::new();
    for n in 0..COUNT {
        writeln!(list, "{}", address(n)).expect("written");
        writeln!(input, "{}", address(2 * n)).expect("written");
    }
    home.write("list", list);
    home.write("stdin", input);
    home.configure(LOOPBACK, "[blocked]\nfiles = [\"list\"]");
    let stdin = Stdio::from(File::open(home.path("stdin")).expect("opened"));
    let arguments = ["lookup", "-c", &config_of(&home), "--json", "-"];
    let outcome = finish(&mut as_nobody(&home, &arguments), stdin, SOON);
    assert_eq!(outcome.code, Some(0));
    let blocked = outcome.text.matches("\"class\":\"blocked_ip\"").count();
    assert_eq!((outcome.text.lines().count(), blocked), (COUNT as usize, COUNT as usize / 2));
}
