//! Records of a small world, and what they make of clients.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::flatten::{Networks, flatten};
use super::*;
use crate::dns::{Answer, Failure, Lookup, Query, Record, RecordType};

/// Names with their records: `TXT v=spf1 -all`, `A 192.0.2.1`, `MX 10 host`,
/// `PTR host`, or `fails` for a name server that does.
type World = [(&'static str, &'static str)];

fn record(text: &str) -> Option<(RecordType, Record)> {
    let (kind, data) = text.split_once(' ')?;
    Some(match kind {
        "A" => (RecordType::A, Record::A(data.parse().unwrap())),
        "AAAA" => (RecordType::Aaaa, Record::Aaaa(data.parse().unwrap())),
        "MX" => {
            let (preference, host) = data.split_once(' ').unwrap();
            (RecordType::Mx, Record::Mx(preference.parse().unwrap(), host.to_owned()))
        }
        "PTR" => (RecordType::Ptr, Record::Ptr(data.to_owned())),
        "TXT" => (RecordType::Txt, Record::Txt(data.as_bytes().to_vec())),
        _ => panic!("{text}"),
    })
}

fn answer(world: &[(&str, &str)], query: &Query) -> Lookup {
    let here: Vec<_> = world.iter().filter(|(name, _)| *name == query.name).collect();
    if here.iter().any(|(_, text)| *text == "fails") {
        return Err(Failure::TimedOut);
    }
    let records = here.iter().filter_map(|(_, text)| record(text));
    let records = records.filter(|(kind, _)| *kind == query.kind).map(|(_, record)| record);
    let records = records.collect();
    Ok(Answer { records, exists: !here.is_empty(), ttl: Duration::from_secs(60) })
}

/// Answers what is asked, until it is decided.
fn drive<T>(world: &[(&str, &str)], mut step: impl FnMut(&Known) -> Step<T>) -> T {
    let mut known = Known::default();
    for _ in 0..100 {
        match step(&known) {
            Step::Done(done) => return done,
            Step::Ask(queries) => {
                assert!(!queries.is_empty());
                for query in queries {
                    let lookup = answer(world, &query);
                    known.answers.insert(query, lookup);
                }
            }
        }
    }
    panic!("it asks without end: {}", known.answers.len());
}

fn evaluate(world: &[(&str, &str)], client: &str, sender: &str) -> Evaluation {
    let input = Input {
        client: client.parse().unwrap(),
        helo: "helo.example",
        sender: sender.rsplit_once('@'),
        receiver: "mx.example.org",
        unix: 1_700_000_000,
    };
    drive(world, |known| check(&input, known))
}

fn outcome(record: &'static str, client: &str) -> Outcome {
    let mut world = WORLD.to_vec();
    let text = format!("TXT v=spf1 {record}");
    world.push(("d.example", &text));
    evaluate(&world, client, "bob@d.example").outcome
}

const WORLD: &World = &[
    ("host.example", "A 192.0.2.1"),
    ("host.example", "AAAA 2001:db8::1"),
    ("mail.example", "MX 10 host.example"),
    ("mail.example", "MX 20 other.example"),
    ("other.example", "A 198.51.100.1"),
    ("passes.example", "TXT v=spf1 ip4:192.0.2.0/24 ?all"),
    ("fails.example", "TXT v=spf1 -all"),
    ("says.example", "TXT v=spf1 -all exp=exp.example"),
    ("exp.example", "TXT %{i} is not %{d}, %{s} at %{r}"),
    ("bad.example", "TXT v=spf1 ip4:nonsense"),
    ("twice.example", "TXT v=spf1 +all"),
    ("twice.example", "TXT v=spf1 -all"),
    ("other-text.example", "TXT google-site-verification=x"),
    ("down.example", "fails"),
    ("1.2.0.192.in-addr.arpa", "PTR host.example"),
    ("1.2.0.192.in-addr.arpa", "PTR liar.example"),
    ("liar.example", "A 203.0.113.1"),
    ("_192.0.2.1.list.example", "A 127.0.0.2"),
    ("helo.example", "TXT v=spf1 a:host.example -all"),
    ("xn--bcher-kva.example", "TXT v=spf1 ip4:192.0.2.1 -all"),
];

#[test]
fn what_records_make_of_clients() {
    use Outcome::{Fail, Neutral, PermError, SoftFail, TempError};
    for (record, pass, other) in [
        ("ip4:192.0.2.1 -all", "192.0.2.1", Fail),
        ("ip4:192.0.2.0/24 ~all", "192.0.2.255", SoftFail),
        ("ip4:0.0.0.0/0", "255.255.255.255", Outcome::Pass),
        ("ip6:2001:db8::/32 -all", "2001:db8:ffff::1", Fail),
        ("a:host.example", "192.0.2.1", Neutral),
        ("a:host.example/24 -all", "192.0.2.77", Fail),
        ("a:host.example//64 -all", "2001:db8::ffff", Fail),
        ("mx:mail.example -all", "192.0.2.1", Fail),
        ("mx:mail.example/24 ?all", "192.0.2.200", Neutral),
        ("ptr:host.example -all", "192.0.2.1", Fail),
        ("exists:_%{i}.list.example -all", "192.0.2.1", Fail),
        ("include:passes.example -all", "192.0.2.9", Fail),
        ("-include:fails.example redirect=passes.example", "192.0.2.9", Neutral),
        ("redirect=fails.example ip4:192.0.2.1", "192.0.2.1", Fail),
        ("-ip4:203.0.113.9 a:host.example include:bad.example", "192.0.2.1", Fail),
        ("ip4:192.0.2.1 include:bad.example", "192.0.2.1", PermError),
        ("ip4:192.0.2.1 include:twice.example", "192.0.2.1", PermError),
        ("ip4:192.0.2.1 include:other-text.example", "192.0.2.1", PermError),
        ("ip4:192.0.2.1 redirect=other-text.example", "192.0.2.1", PermError),
        ("ip4:192.0.2.1 include:down.example", "192.0.2.1", TempError),
        ("ip4:192.0.2.1 a:down.example", "192.0.2.1", TempError),
        ("ip4:192.0.2.1 ptr:down.example -all", "192.0.2.1", Fail),
    ] {
        assert_eq!(outcome(record, pass), Outcome::Pass, "{record}");
        assert_eq!(outcome(record, "203.0.113.9"), other, "{record}");
    }
    assert_eq!(outcome("ip4:192.0.2.1 -all", "::ffff:192.0.2.1"), Outcome::Pass);
    assert_eq!(outcome("ip4:192.0.2.1 mx", "192.0.2.9"), Neutral);
}

#[test]
fn domains_without_a_record_say_nothing() {
    for sender in ["a@none.example", "a@example", "a@[192.0.2.1]", "a@x..y", "a@.example", "a@"] {
        assert_eq!(evaluate(WORLD, "192.0.2.1", sender).outcome, Outcome::None, "{sender}");
    }
    let long = format!("a@{}.example", "x".repeat(64));
    assert_eq!(evaluate(WORLD, "192.0.2.1", &long).outcome, Outcome::None);
    assert_eq!(evaluate(WORLD, "192.0.2.1", "a@down.example").outcome, Outcome::TempError);
}

#[test]
fn the_null_sender_is_the_clients_own_name() {
    let evaluation = evaluate(WORLD, "192.0.2.1", "");
    assert_eq!((evaluation.identity, evaluation.outcome), (Identity::Helo, Outcome::Pass));
    assert_eq!(evaluate(WORLD, "192.0.2.2", "").outcome, Outcome::Fail);
}

#[test]
fn international_domains_are_asked_about_by_their_a_labels() {
    assert_eq!(evaluate(WORLD, "192.0.2.1", "a@bücher.example").outcome, Outcome::Pass);
}

/// RFC 8616 section 4.
#[test]
fn a_local_part_that_is_not_ascii_matches_nothing() {
    let world = |text| [("d.example", text), ("bob.d.example", "A 127.0.0.2")];
    let exists = "TXT v=spf1 exists:%{l}.d.example -all";
    assert_eq!(evaluate(&world(exists), "192.0.2.1", "bob@d.example").outcome, Outcome::Pass);
    assert_eq!(evaluate(&world(exists), "192.0.2.1", "bøb@d.example").outcome, Outcome::Fail);
    let redirect = "TXT v=spf1 redirect=%{l}.d.example";
    assert_eq!(
        evaluate(&world(redirect), "192.0.2.1", "bøb@d.example").outcome,
        Outcome::PermError
    );
}

#[test]
fn limits_hold_at_their_edge() {
    let texts = |count: usize, term: &str| format!("TXT v=spf1 {}-all", term.repeat(count));
    let with = |text: &str| {
        let mut world = WORLD.to_vec();
        world.push(("d.example", text));
        evaluate(&world, "203.0.113.1", "a@d.example").outcome
    };
    assert_eq!(with(&texts(10, "a:host.example ")), Outcome::Fail);
    assert_eq!(with(&texts(11, "a:host.example ")), Outcome::PermError);
    assert_eq!(with(&texts(2, "a:nothing.example ")), Outcome::Fail);
    assert_eq!(with(&texts(3, "a:nothing.example ")), Outcome::PermError);
    assert_eq!(with(&texts(50, "ip4:192.0.2.1 ")), Outcome::Fail);
    // Empty answers count once a term: here none of the hosts has an IPv6 address.
    let mut v4_only = vec![("d.example", "TXT v=spf1 mx -all")];
    v4_only.extend((0..5).map(|_| ("d.example", "MX 10 other.example")));
    v4_only.extend([("d.example", "MX 10 x.example"), ("d.example", "MX 10 y.example")]);
    v4_only.push(("d.example", "MX 10 z.example"));
    assert_eq!(evaluate(&v4_only, "2001:db8::9", "a@d.example").outcome, Outcome::Fail);
    // A loop ends.
    assert_eq!(with("TXT v=spf1 include:d.example -all"), Outcome::PermError);
    assert_eq!(with("TXT v=spf1 redirect=d.example"), Outcome::PermError);
    for (count, expected) in [(10, Outcome::Fail), (11, Outcome::PermError)] {
        let mut world = vec![("d.example", "TXT v=spf1 mx -all")];
        world.resize(count + 1, ("d.example", "MX 10 host.example"));
        world.push(("host.example", "A 192.0.2.1"));
        assert_eq!(evaluate(&world, "203.0.113.1", "a@d.example").outcome, expected);
    }
}

#[test]
fn a_fail_may_be_explained() {
    let explained = |sender| evaluate(WORLD, "203.0.113.9", sender).explanation;
    assert_eq!(
        explained("bob@says.example").unwrap(),
        "203.0.113.9 is not says.example, bob@says.example at mx.example.org"
    );
    assert_eq!(explained("bob@fails.example"), None);
    for explanation in ["TXT %{", "TXT caf\u{e9}", "TXT a\u{7}b", "fails", "A 192.0.2.1"] {
        let world = [("d.example", "TXT v=spf1 -all exp=e.example"), ("e.example", explanation)];
        let evaluation = evaluate(&world, "203.0.113.9", "a@d.example");
        assert_eq!((evaluation.outcome, evaluation.explanation), (Outcome::Fail, None));
    }
}

#[test]
fn without_time_what_is_missing_is_a_temporary_error() {
    let input = Input {
        client: "192.0.2.1".parse().unwrap(),
        helo: "h",
        sender: Some(("a", "passes.example")),
        receiver: "r",
        unix: 0,
    };
    let known = Known { out_of_time: true, ..Known::default() };
    let Step::Done(evaluation) = check(&input, &known) else { panic!("it asks") };
    assert_eq!(evaluation.outcome, Outcome::TempError);
}

#[test]
fn the_trace_shows_how_it_came_about() {
    let mut world = WORLD.to_vec();
    world.push(("d.example", "TXT v=spf1 include:passes.example -all"));
    assert_eq!(
        evaluate(&world, "203.0.113.9", "a@d.example").tree(),
        "d.example: v=spf1 include:passes.example -all\n\
         \u{20}   passes.example: v=spf1 ip4:192.0.2.0/24 ?all\n\
         \u{20}     ip4:192.0.2.0/24: does not match\n\
         \u{20}     ?all: matches, neutral\n\
         \u{20} include:passes.example: does not match\n\
         \u{20} -all: matches, fail\n"
    );
}

#[test]
fn the_field_can_be_broken_by_nobody() {
    let input = Input {
        client: "192.0.2.1".parse().unwrap(),
        helo: "a\r\nX: \"b\\",
        sender: Some(("\"x\u{e4}\" y", "d.example")),
        receiver: "mx.example.org",
        unix: 0,
    };
    let world = [("d.example", "TXT v=spf1 -all")];
    let evaluation = drive(&world, |known| check(&input, known));
    assert_eq!(
        evaluation.received_spf(&input),
        "Received-SPF: fail (mx.example.org: d.example\r\n\
         \tdoes not designate 192.0.2.1 as permitted sender)\r\n\
         \treceiver=mx.example.org;\r\n\
         \tclient-ip=192.0.2.1;\r\n\
         \tenvelope-from=\"\\\"x?\\\" y@d.example\";\r\n\
         \thelo=\"a??X: \\\"b\\\\\";\r\n\
         \tidentity=mailfrom;\r\n\
         \tmechanism=\"-all\"\r\n"
    );
}

fn flat(record: &str) -> Result<Networks, String> {
    let mut world = WORLD.to_vec();
    let text = format!("TXT v=spf1 {record}");
    world.push(("d.example", &text));
    drive(&world, |known| flatten("d.example", known))
}

#[test]
fn networks_are_listed_with_their_origin() {
    let listed = |record| -> Vec<String> {
        flat(record).unwrap().networks.keys().map(ToString::to_string).collect()
    };
    assert_eq!(listed("ip4:192.0.2.1 a:host.example -all"), ["192.0.2.1/32", "2001:db8::1/128"]);
    assert_eq!(
        listed("mx:mail.example/24 ~all"),
        ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::1/128"]
    );
    assert_eq!(listed("include:passes.example redirect=helo.example").len(), 3);
    // What an earlier term takes away is not listed.
    assert_eq!(listed("-ip4:192.0.2.0/25 ip4:192.0.2.0/24"), ["192.0.2.128/25"]);
    assert_eq!(listed("?a:host.example ip4:192.0.2.0/31"), ["192.0.2.0/32"]);
    assert_eq!(listed("-ip4:192.0.0.0/16 ip4:192.0.2.0/24"), Vec::<String>::new());
    assert_eq!(listed("-exists:%{i}.x.example ip4:192.0.2.1"), Vec::<String>::new());
    assert_eq!(listed("exists:%{i}.x.example ip4:192.0.2.1"), ["192.0.2.1/32"]);
    assert_eq!(listed("-all ip4:192.0.2.1"), Vec::<String>::new());
    assert_eq!(listed("ip4:192.0.2.1 +all"), ["192.0.2.1/32"]);
    assert_eq!(listed("ip4:0.0.0.0/1 ip4:10.0.0.0/8"), ["10.0.0.0/8"]);
    let found = flat("include:passes.example ptr -all").unwrap();
    assert_eq!(
        found.networks.into_values().collect::<Vec<_>>(),
        ["passes.example: ip4:192.0.2.0/24"]
    );
    assert_eq!(found.notes, ["d.example: ptr: depends on the message"]);
    assert_eq!(found.ttl, Duration::from_secs(60));
    for wrong in ["include:none.example", "nonsense", "a:down.example", "include:d.example"] {
        assert!(flat(wrong).is_err(), "{wrong}");
    }
}

fn borrowed(world: &[(String, String)]) -> Vec<(&str, &str)> {
    world.iter().map(|(name, record)| (name.as_str(), record.as_str())).collect()
}

/// Ten records in each other are within RFC 7208 section 4.6.4, and yet too many terms.
#[test]
fn an_evaluation_has_a_bound_as_a_whole() {
    let terms = |count: usize| " ip4:203.0.113.7".repeat(count);
    let nested = |count: usize| -> Vec<(String, String)> {
        let record = |number: usize| {
            let text = format!("TXT v=spf1 include:n{}.example{}", number + 1, terms(count));
            (format!("n{number}.example"), text)
        };
        let last = ("n10.example".to_owned(), format!("TXT v=spf1{}", terms(count)));
        (0..10).map(record).chain([last]).collect()
    };
    let of = |world: &[(String, String)]| evaluate(&borrowed(world), "192.0.2.1", "a@n0.example");
    assert_eq!(of(&nested(100)).outcome, Outcome::Neutral);
    let evaluation = of(&nested(990));
    assert_eq!(evaluation.outcome, Outcome::PermError);
    let problem = evaluation.problem.unwrap();
    assert!(problem.contains("more than"), "{problem}");
    // Texts that are no record weigh as much, and so do addresses.
    let text = ("n0.example".to_owned(), "TXT v=spf1 include:n1.example -all".to_owned());
    let other = ("n1.example".to_owned(), format!("TXT {}", "x".repeat(70_000)));
    let evaluation = of(&[text, ("n1.example".to_owned(), "TXT v=spf1".to_owned()), other]);
    assert_eq!(evaluation.outcome, Outcome::PermError);
    // What is kept of others' words is short, and the trace is for those that explain.
    let long = ("n0.example".to_owned(), format!("TXT v=spf1 x={}%", "y".repeat(20_000)));
    assert!(of(&[long]).problem.unwrap().len() < 1000);
    let world = nested(3);
    let input = Input {
        client: "192.0.2.1".parse().unwrap(),
        helo: "h",
        sender: Some(("a", "n0.example")),
        receiver: "r",
        unix: 0,
    };
    let mut known = Known::untraced();
    loop {
        match check(&input, &known) {
            Step::Done(evaluation) => {
                assert!(evaluation.trace.is_empty());
                break;
            }
            Step::Ask(queries) => {
                for query in queries {
                    let lookup = answer(&borrowed(&world), &query);
                    known.answers.insert(query, lookup);
                }
            }
        }
    }
    // Each record is read once, though the evaluation began again with each answer.
    assert_eq!(known.parsed.borrow().len(), 11);
}

/// Addresses taken out of a large network leave very many parts: that ends, and soon.
#[test]
fn networks_taken_apart_have_a_bound() {
    let hosts = |number: usize| -> String {
        let host = |index: usize| format!(" ip6:2001:db8:{number}:{:x}::{index:x}", index * 7);
        (0..600).map(host).collect()
    };
    let mut world: Vec<_> = (0..3)
        .map(|number| (format!("x{number}.example"), format!("TXT v=spf1{}", hosts(number))))
        .collect();
    let record = "TXT v=spf1 -include:x0.example -include:x1.example -include:x2.example \
                  ip6:2001::/16 ip6:2001:db8::/32 -all";
    world.push(("d.example".to_owned(), record.to_owned()));
    let start = std::time::Instant::now();
    let found = drive(&borrowed(&world), |known| flatten("d.example", known));
    assert_eq!(found.unwrap_err(), "d.example: more than 4096 networks");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

fn term() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "ip4:192.0.2.0/25",
        "ip4:192.0.2.64/26",
        "ip4:198.51.100.1",
        "ip6:2001:db8::/64",
        "a:host.example",
        "a:host.example/28",
        "mx:mail.example",
        "include:passes.example",
        "include:fails.example",
        "exists:_%{i}.list.example",
        "ptr:host.example",
        "a:down.example",
        "include:bad.example",
        "a:none.example",
        "redirect=helo.example",
        "all",
        "exp=exp.example",
    ]);
    let qualifier = prop::sample::select(vec!["", "+", "-", "~", "?"]);
    prop_oneof![
        9 => (qualifier, known).prop_map(|(qualifier, term)| {
            if term.contains('=') { term.to_owned() } else { format!("{qualifier}{term}") }
        }),
        1 => "[ -~]{0,30}",
    ]
}

proptest! {
    #[test]
    fn every_record_comes_to_an_end(
        terms in prop::collection::vec(term(), 0..14),
        client in prop::sample::select(vec!["192.0.2.1", "192.0.2.200", "2001:db8::1", "10.0.0.1"]),
    ) {
        let mut world = WORLD.to_vec();
        let text = format!("TXT v=spf1 {}", terms.join(" "));
        world.push(("d.example", &text));
        let evaluation = evaluate(&world, client, "bob@d.example");
        prop_assert!(evaluation.tree().lines().count() >= 1);
    }

    /// Whatever is listed would pass.
    #[test]
    fn listed_networks_pass(terms in prop::collection::vec(term(), 0..9)) {
        let Ok(found) = flat(&terms.join(" ")) else { return Ok(()) };
        let mut world = WORLD.to_vec();
        let text = format!("TXT v=spf1 {}", terms.join(" "));
        world.push(("d.example", &text));
        for network in found.networks.keys() {
            let last = match network {
                IpNet::V4(network) => IpAddr::V4(network.broadcast()),
                IpNet::V6(network) => IpAddr::V6(network.broadcast()),
            };
            for address in [network.network(), last] {
                let evaluation = evaluate(&world, &address.to_string(), "bob@d.example");
                // Terms that no list can have may fail or not resolve before.
                let passes = matches!(
                    evaluation.outcome,
                    Outcome::Pass | Outcome::TempError | Outcome::PermError
                );
                prop_assert!(passes, "{address}: {}", evaluation.tree());
            }
        }
    }
}
