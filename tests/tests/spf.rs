//! SPF over real DNS: the suite of RFC 7208 through SMTP, and other evaluators to
//! compare with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mxdp::config::Dns;
use mxdp::io::dns::Resolver;
use mxdp::io::spf::{Evaluator, Trace};
use mxdp::spf::Input;
use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::dns_relay::{DnsRelay, Fault};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::peers::spf_judges::Judge;
use mxdp_tests::spf_suite::{self, Case, Scenario};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// What came of a message: the result, and the reply to its recipient.
struct Came {
    result: String,
    reply: String,
}

/// Sends a message's envelope; the error is what refused it before SPF.
fn send(namespace: &Namespace, home: &Home, case: &Case) -> Result<Came, String> {
    let source: IpAddr = case.host.parse::<IpAddr>().expect("an address").to_canonical();
    let target = if source.is_ipv4() { "10.0.0.25:25" } else { "[fd00::25]:25" };
    let mut dialogue = Dialogue::open(namespace, source, target.parse().expect("an address"))?;
    dialogue.line()?;
    let before = home.log().len();
    let hello = dialogue.say(&format!("HELO {}", case.helo))?;
    if !hello.starts_with("250 ") {
        return Err(hello);
    }
    let from = match case.from.rsplit_once('@') {
        Some((local, domain)) if local.contains(' ') => format!("\"{local}\"@{domain}"),
        // A message's sender has a local part.
        Some(("", domain)) => format!("\"\"@{domain}"),
        _ => case.from.clone(),
    };
    let mail = dialogue.say(&format!("MAIL FROM:<{from}>"))?;
    if !mail.starts_with("250 ") {
        return Err(mail);
    }
    let reply = dialogue.say("RCPT TO:<bob@ours.test>")?;
    dialogue.say("QUIT")?;
    let start = Instant::now();
    loop {
        let log = home.log();
        let record = log[before..].lines().find(|line| line.contains("bob@ours.test"));
        if let Some((_, rest)) = record.and_then(|line| line.split_once(" spf=\"")) {
            let result = rest.split('"').next().unwrap_or_default().to_owned();
            return Ok(Came { result, reply });
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{}: no record", case.name);
        thread::sleep(Duration::from_millis(2));
    }
}

const CONFIGURATION: &str = r#"
[dns]
servers = ["127.0.0.1:53"]
timeout_ms = 150
attempts = 1
cache = 0
private_clients = true
[spf]
explanation = true
temperror = "defer"
permerror = "refuse"
softfail = "tag"
"#;

/// A daemon of a scenario's own, and what it makes of every case; and the cases that
/// no session can be about, by `mxdp spf`.
fn follow(scenario: &Scenario) -> (Vec<String>, usize, usize) {
    let host = Host::new();
    let addresses: BTreeMap<_, _> = scenario
        .cases
        .iter()
        .map(|case| case.host.parse::<IpAddr>().expect("an address").to_canonical())
        .chain(["10.0.0.25", "fd00::25"].map(|address| address.parse().expect("an address")))
        .map(|address| (address, if address.is_ipv4() { "/32" } else { "/128 nodad" }))
        .collect();
    for (address, length) in addresses {
        let (bits, flags) = length.split_once(' ').unwrap_or((length, ""));
        host.namespace.ip(&format!("addr replace {address}{bits} dev lo {flags}"));
    }
    let _nsd = Nsd::start(&host.namespace, 5301, &scenario.zone());
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    scenario.faults(&relay);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    host.configure(
        "",
        &format!("{CONFIGURATION}{}{}", domain("ours.test", "main", ""), backend("main", 2600, "")),
    );
    let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("read");
    let listen = "smtp = [\"10.0.0.25:25\", \"[fd00::25]:25\"]";
    host.home.write("mxdp.toml", text.replace("smtp = [\"127.0.0.1:25\"]", listen));
    let _daemon = host.start();
    let (mut wrong, mut by_smtp, mut by_hand) = (Vec::new(), 0, 0);
    for case in &scenario.cases {
        let came = match send(&host.namespace, &host.home, case) {
            Ok(came) => {
                by_smtp += 1;
                came
            }
            // No session can be about what SMTP itself refuses.
            Err(refused) => {
                assert!(refused.starts_with("501 "), "{}: {refused}", case.name);
                by_hand += 1;
                let arguments = ["spf", &case.host, &case.helo, &case.from];
                let more = ["--server", "127.0.0.1:53", "--json"];
                let arguments = [&arguments[..], &more[..]].concat();
                let mut command = std::process::Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{}", host.namespace.name()));
                let output = command.arg("--").arg(mxdp_tests::peers::mxdp()).args(arguments);
                let output = output.output().expect("mxdp starts");
                let said: serde_json::Value = serde_json::from_slice(&output.stdout)
                    .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
                let explained = said["explanation"].as_str().unwrap_or_default();
                Came {
                    result: said["outcome"].as_str().unwrap_or_default().to_owned(),
                    reply: format!(": {explained}; reference -"),
                }
            }
        };
        let explained = match case.explanation.as_deref() {
            Some("DEFAULT") => !came.reply.contains("(SPF): "),
            Some(text) => came.reply.contains(&format!(": {text}; reference ")),
            None => true,
        };
        let code = match came.result.as_str() {
            "fail" | "permerror" => "550 5.7.23 ",
            "temperror" => "451 4.7.24 ",
            _ => "250 ",
        };
        let replied = came.reply.starts_with(code) || came.reply.starts_with(": ");
        if !case.results.contains(&came.result) || !explained || !replied {
            wrong.push(format!(
                "{}: {}: {} instead of {:?}, and {}",
                scenario.description, case.name, came.result, case.results, came.reply
            ));
        }
    }
    (wrong, by_smtp, by_hand)
}

#[test]
fn the_suite_of_rfc_7208_through_smtp() {
    let scenarios = spf_suite::load();
    let cases: usize = scenarios.iter().map(|scenario| scenario.cases.len()).sum();
    assert_eq!((scenarios.len(), cases), (16, 203));
    let (mut wrong, mut by_smtp, mut by_hand) = (Vec::new(), 0, 0);
    for pair in scenarios.chunks(2) {
        thread::scope(|scope| {
            let running: Vec<_> =
                pair.iter().map(|scenario| scope.spawn(move || follow(scenario))).collect();
            for one in running {
                let (more, smtp, hand) = one.join().expect("a scenario");
                wrong.extend(more);
                by_smtp += smtp;
                by_hand += hand;
            }
        });
    }
    println!("{} of {cases} right, {by_smtp} through SMTP, {by_hand} by hand", cases - wrong.len());
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(by_smtp + by_hand, cases);
    assert!(by_hand <= 5, "{by_hand} cases did not go through SMTP");
}

/// Records of a random world, with names that every one of them may speak of.
fn terms() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "h1.w.test",
        "h2.w.test",
        "h3.w.test",
        "m.w.test",
        "gone.w.test",
        "d1.w.test",
        "d2.w.test",
        "d3.w.test",
        "%{d2}",
        "%{l}.w.test",
        "%{ir}.l.w.test",
        "%{o1r}.w.test",
        "x.%{h}",
    ]);
    let length =
        prop::sample::select(vec!["", "", "", "/24", "/31", "//64", "/16//48", "/33", "/0"]);
    let network = prop::sample::select(vec![
        "ip4:192.0.2.0/24",
        "ip4:192.0.2.1",
        "ip4:198.51.100.0/22",
        "ip6:2001:db8::/32",
        "ip4:1.2.3",
        "ip4:192.0.2.1/33",
        "ip6:2001:db8::1/129",
        "ip6:::/0",
    ]);
    let qualifier = prop::sample::select(vec!["", "", "+", "-", "~", "?"]);
    let mechanism = prop::sample::select(vec!["a", "mx"]);
    let asking = prop::sample::select(vec!["include", "exists"]);
    prop_oneof![
        4 => (qualifier.clone(), network).prop_map(|(q, n)| format!("{q}{n}")),
        4 => (qualifier.clone(), mechanism, name.clone(), length)
            .prop_map(|(q, m, n, l)| format!("{q}{m}:{n}{l}")),
        4 => (qualifier.clone(), asking, name.clone()).prop_map(|(q, m, n)| format!("{q}{m}:{n}")),
        1 => name.clone().prop_map(|n| format!("redirect={n}")),
        1 => qualifier.prop_map(|q| format!("{q}all")),
        1 => prop::sample::select(vec![
            "a", "mx", "all", "foo=bar", "foo", "a/24", "mx//", "exp=h1.w.test", "ALL", "a:", "-",
            "include:", "ip4", "foo=%{x}", "redirect=",
        ]).prop_map(str::to_owned),
    ]
}

/// Where the two others agree, so does mxdp.
#[test]
fn where_others_agree_mxdp_does_too() {
    const WORLDS: usize = 12;
    const DOMAINS: usize = 40;
    let hosts = "h1.w.test. A 192.0.2.1\nh1.w.test. AAAA 2001:db8::1\nh2.w.test. A 198.51.100.7\n\
                 h2.w.test. A 192.0.2.77\nh3.w.test. AAAA 2001:db8:5::3\nm.w.test. MX 10 h1.w.test.\n\
                 m.w.test. MX 20 h2.w.test.\n1.2.0.192.l.w.test. A 127.0.0.2\nbob.w.test. A 192.0.2.9\n";
    let clients =
        ["192.0.2.1", "192.0.2.200", "198.51.100.7", "203.0.113.5", "2001:db8::1", "2001:db8:5::3"];
    let mut runner = TestRunner::deterministic();
    let record = |runner: &mut TestRunner| {
        let terms = prop::collection::vec(terms(), 1..6).new_tree(runner).expect("terms").current();
        format!("v=spf1 {}", terms.join(" "))
    };
    let (mut agreed, mut differ, mut asked) = (0, Vec::new(), 0);
    for _ in 0..WORLDS {
        let namespace = Namespace::new("mxs");
        let mut zone = hosts.to_owned();
        let mut records = BTreeMap::new();
        for number in 0..DOMAINS {
            let text = record(&mut runner);
            _ = writeln!(zone, "d{number}.w.test. TXT \"{text}\"");
            if number % 3 == 0 {
                _ = writeln!(
                    zone,
                    "d{number}.w.test. A 192.0.2.200\nd{number}.w.test. MX 5 h3.w.test."
                );
            }
            records.insert(number, text);
        }
        let _nsd = Nsd::start(&namespace, 53, &zone);
        let mut others = [Judge::pyspf(&namespace), Judge::mail_spf(&namespace)];
        for number in 0..DOMAINS {
            let client = clients[(asked + number) % clients.len()];
            let from = format!("bob@d{number}.w.test");
            let said = others.each_mut().map(|judge| judge.ask(client, "helo.w.test", &from));
            let ours = namespace.run(|| ours(client, &from));
            asked += 1;
            if said[0] == said[1] {
                agreed += 1;
                if ours != said[0] {
                    let text = &records[&number];
                    differ.push(format!("{client} {from} {text}: {ours}, others {}", said[0]));
                }
            }
        }
    }
    println!("{asked} asked, {agreed} agreed on by the others");
    assert!(agreed > asked * 8 / 10, "{agreed} of {asked}");
    assert!(differ.is_empty(), "{} of {agreed}:\n{}", differ.len(), differ.join("\n"));
}

fn ours(client: &str, from: &str) -> String {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let servers = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))];
    let input = Input {
        client: client.parse().expect("an address"),
        helo: "helo.w.test",
        sender: from.rsplit_once('@'),
        receiver: "mx.example.org",
        unix: 0,
    };
    runtime.block_on(async {
        let resolver: Arc<Resolver> =
            Resolver::new(&Dns { servers, ..Dns::default() }, None).expect("a resolver");
        let evaluator = Evaluator { resolver, workers: Arc::default() };
        let evaluation = evaluator.evaluate(&input, Duration::from_secs(20), Trace::Left).await;
        evaluation.outcome.name().to_owned()
    })
}

/// What results do, by domain; headers; senders that are approved only with a pass;
/// networks that are approved by domain.
#[test]
fn results_act_as_configured() {
    let host = Host::new();
    host.namespace.ip("addr add 198.18.0.0/16 dev lo");
    let zone = "pass.test. TXT \"v=spf1 ip4:198.18.2.0/24 -all\"\n\
                soft.test. TXT \"v=spf1 ~all\"\nwrong.test. TXT \"v=spf1 nonsense\"\n\
                fail.test. TXT \"v=spf1 -all exp=why.fail.test\"\n\
                why.fail.test. TXT \"%{i} is none of ours\"\nhelo.test. TXT \"v=spf1 -all\"\n\
                bl.test. TXT \"v=spf1 ip4:198.18.2.9 -all\"\n2.0.0.127.bl.test. A 127.0.0.2\n\
                9.2.18.198.bl.test. A 127.0.0.2\n8.2.18.198.bl.test. A 127.0.0.2\n\
                hosts.test. TXT \"v=spf1 include:inner.test ip6:2001:db8::/32 exists:%{i}.x.test -all\"\n\
                inner.test. TXT \"v=spf1 ip4:198.18.3.0/24 ?all\"\n";
    let mut nsd = Some(Nsd::start(&host.namespace, 5301, zone));
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    relay.fault("down.test", false, None, Fault::Drop);
    let dumped = tempfile::tempdir().unwrap();
    fs::set_permissions(dumped.path(), Permissions::from_mode(0o777)).unwrap();
    let template = dumped.path().join("message.").display().to_string();
    let _sink = Sink::start(&host.namespace, 2600, &["-d", &template]);
    host.configure(
        "",
        &format!(
            "[dns]\nservers = [\"127.0.0.1:53\"]\ntimeout_ms = 200\nattempts = 1\n\
             [spf]\nexplanation = true\nsoftfail = \"tag\"\npermerror = \"refuse\"\n\
             temperror = \"defer\"\nexempt = [\"198.18.9.0/24\"]\n\
             [senders]\napproved = [\"*@pass.test\", \"*@soft.test\"]\n\
             approve_requires_spf_pass = true\n\
             [approved]\nspf = [\"hosts.test\"]\n\
             [[reputation.standard.zones]]\nname = \"bl.test\"\ncodes = [\"127.0.0.2\"]\n{}{}{}{}",
            domain("ours.test", "main", ""),
            domain("lenient.test", "main", "spf = { fail = \"tag\", permerror = \"accept\" }"),
            domain("off.test", "main", "spf = { check = false }"),
            backend("main", 2600, "")
        ),
    );
    let daemon = host.start();
    let told = |source: &str, from: &str, rcpt: &str| {
        let source = source.parse().expect("an address");
        let target = "127.0.0.1:25".parse().expect("an address");
        let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
        dialogue.line().expect("a line");
        dialogue.say("EHLO helo.test").unwrap();
        assert!(dialogue.say(&format!("MAIL FROM:<{from}>")).unwrap().starts_with("250 "));
        dialogue.say(&format!("RCPT TO:<{rcpt}>")).unwrap()
    };
    let ours = "bob@ours.test";
    for (source, from, rcpt, starts) in [
        ("198.18.2.1", "a@pass.test", ours, "250 "),
        (
            "198.18.5.1",
            "a@pass.test",
            ours,
            "550 5.7.23 198.18.5.1 for pass.test may not send for this domain (SPF); reference ",
        ),
        (
            "198.18.5.1",
            "a@fail.test",
            ours,
            "550 5.7.23 198.18.5.1 for fail.test may not send for this domain (SPF): 198.18.5.1 is none of ours; reference ",
        ),
        ("198.18.5.1", "a@wrong.test", ours, "550 5.7.23 "),
        ("198.18.5.1", "a@down.test", ours, "451 4.7.24 "),
        ("198.18.5.1", "a@soft.test", ours, "250 "),
        ("198.18.5.1", "a@none.test", ours, "250 "),
        // The null sender is the client's own name.
        ("198.18.5.1", "", ours, "550 5.7.23 198.18.5.1 for helo.test "),
        // By the recipient's domain.
        ("198.18.5.1", "a@fail.test", "bob@lenient.test", "250 "),
        ("198.18.5.1", "a@wrong.test", "bob@lenient.test", "250 "),
        ("198.18.5.1", "a@fail.test", "bob@off.test", "250 "),
        ("198.18.9.1", "a@fail.test", ours, "250 "),
        // Approved senders are excused a bad reputation with a pass only.
        ("198.18.2.9", "a@pass.test", ours, "250 "),
        ("198.18.2.9", "a@none.test", ours, "550 5.7.1 "),
        ("198.18.2.8", "a@soft.test", ours, "550 5.7.1 "),
    ] {
        let came = told(source, from, rcpt);
        assert!(came.starts_with(starts), "{source} {from} {rcpt}: {came}");
    }
    // The field that a tag is.
    let message = |from: &str, rcpt: &str| {
        let target = "127.0.0.1:25".parse().expect("an address");
        let source = "198.18.5.1".parse().expect("an address");
        let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
        dialogue.line().expect("a line");
        for line in ["EHLO helo.test", &format!("MAIL FROM:<{from}>"), &format!("RCPT TO:<{rcpt}>")]
        {
            assert!(dialogue.say(line).unwrap().starts_with("250 "));
        }
        assert!(dialogue.say("DATA").unwrap().starts_with("354 "));
        assert!(dialogue.say("Subject: x\r\n\r\nx\r\n.").unwrap().starts_with("250 "));
    };
    message("a@fail.test", "bob@lenient.test");
    message("a@none.test", "bob@ours.test");
    let texts: Vec<_> = fs::read_dir(dumped.path())
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let tagged: Vec<_> = texts.iter().filter(|text| text.contains("Received-SPF: ")).collect();
    assert_eq!((texts.len(), tagged.len()), (2, 1), "{texts:?}");
    let field = "Received-SPF: fail (mx.example.org: fail.test\n\tdoes not designate 198.18.5.1 as \
                 permitted sender)\n\treceiver=mx.example.org;\n\tclient-ip=198.18.5.1;\n\t\
                 envelope-from=\"a@fail.test\";\n\thelo=helo.test;\n\tidentity=mailfrom;\n\t\
                 mechanism=\"-all\"\nReceived: from helo.test ";
    assert!(tagged[0].replace('\r', "").contains(field), "{}", tagged[0]);
    // The hosts of a domain are approved, and it is said why.
    let config = host.home.path("mxdp.toml").display().to_string();
    let approved = || {
        let found = host.home.json(&["lookup", "-c", &config, "198.18.3.77"]);
        found["class"] == "approved_ip"
    };
    wait_for("the approval", approved);
    let found = host.home.json(&["lookup", "-c", &config, "198.18.3.77"]).to_string();
    assert!(found.contains("approved-spf-hosts.test.txt"), "{found}");
    assert!(daemon.look_up("2001:db8::7".parse().expect("an address"))["class"] == "approved_ip");
    let file = host.home.path("state/approved-spf-hosts.test.txt");
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("198.18.3.0/24 inner.test: ip4:198.18.3.0/24"), "{text}");
    assert!(text.contains("# hosts.test: exists:%{i}.x.test: depends on the message"), "{text}");
    // Name servers that are gone change nothing, and are an alarm.
    drop(nsd.take());
    relay.fault("hosts.test", false, None, Fault::Drop);
    drop(daemon);
    let _daemon = host.start();
    assert!(approved());
    wait_for("the alarm", || {
        let alarms = host.home.json(&["status"])["alarms"].to_string();
        alarms.contains("approved.spf hosts.test") && alarms.contains("stand meanwhile")
    });
}
