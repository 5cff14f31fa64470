//! The extensions that clients are offered, with backends that lack some of them.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::mail::Host;
use mxdp_tests::wrong::client::Client;
use mxdp_tests::wrong::puppet::{Puppet, Strings};

use crate::stage::{domains, greeted, puppet, start, told};

/// What EHLO is answered.
fn offered(client: &mut Client) -> Vec<String> {
    client.send(b"EHLO c.example\r\n").expect("sent");
    let lines = client.reply_lines().expect("a reply");
    lines.iter().skip(1).map(|line| line[4..].to_owned()).collect()
}

fn last_lines(puppet: &Puppet, verb: &str) -> String {
    let lines = puppet.lines();
    lines.iter().rev().find(|line| line.starts_with(verb)).cloned().unwrap_or_default()
}

/// One backend's limits are its own recipients': what mxdp announces is its own maximum,
/// what it does itself or can bridge, and what any backend has. RFC 1870 section 4, RFC
/// 6152, RFC 6531, RFC 3461, RFC 2920, RFC 3030.
#[test]
fn the_poorest_backend_speaks_for_its_own_recipients_only() {
    let host = Host::new();
    host.configure("", &domains(&[("poor.example", 2600, ""), ("rich.example", 2601, "")]));
    let poor = puppet(&host, 2600, Strings::default().offer("SIZE 1000"));
    let extensions = ["SIZE 0", "8BITMIME", "SMTPUTF8", "DSN", "PIPELINING"];
    let rich = puppet(&host, 2601, Strings { offers: extensions.to_vec(), ..Strings::default() });
    let _daemon = start(&host);
    wait_for("a look at both", || {
        [&poor, &rich].iter().all(|one| one.lines().iter().any(|line| line == "QUIT"))
    });
    let mut client = greeted(&host.namespace);
    let offers = offered(&mut client);
    for extension in [
        "PIPELINING",
        "SIZE 52428800",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
    ] {
        assert!(offers.iter().any(|offer| offer == extension), "{extension}: {offers:?}");
    }
    // (parameters of MAIL, what the poor one's recipient is told, what the rich one hears)
    for (parameters, reply, heard) in [
        ("SIZE=1000", "250 ", " SIZE=1000"),
        ("SIZE=1001", "552 5.3.4 <bob@poor.example>: 1001 ", " SIZE=1001"),
        ("BODY=8BITMIME", "250 ", " BODY=8BITMIME"),
        // Many say it wherever it is offered: what does not need it goes on without.
        ("SMTPUTF8", "250 ", " SMTPUTF8"),
        ("RET=HDRS ENVID=X", "250 ", " RET=HDRS ENVID=X"),
    ] {
        let mut client = greeted(&host.namespace);
        let mail = format!("MAIL FROM:<a@client.example> {parameters}");
        for (domain, reply) in [("poor.example", reply), ("rich.example", "250 ")] {
            assert!(told(&mut client, &mail).starts_with("250 "), "{parameters}");
            let came = told(&mut client, &format!("RCPT TO:<bob@{domain}>"));
            assert!(came.starts_with(reply), "{parameters} at {domain}: {came}");
            told(&mut client, "RSET");
        }
        assert_eq!(last_lines(&rich, "MAIL"), format!("MAIL FROM:<a@client.example>{heard}"));
        if reply == "250 " {
            let size = if parameters.starts_with("SIZE") { heard } else { "" };
            let line = format!("MAIL FROM:<a@client.example>{size}");
            assert_eq!(last_lines(&poor, "MAIL"), line, "the poor one is asked for nothing more");
        }
    }
    // What needs it is seen in the addresses, and in the header as it comes.
    let mut client = greeted(&host.namespace);
    told(&mut client, "MAIL FROM:<a@client.example> SMTPUTF8");
    for (recipient, reply) in
        [("j\u{fc}rgen@poor.example", "553 5.6.7 "), ("bob@poor.example", "250 ")]
    {
        let came = told(&mut client, &format!("RCPT TO:<{recipient}>"));
        assert!(came.starts_with(reply), "{recipient}: {came}");
    }
    assert!(told(&mut client, "DATA").starts_with("354 "));
    let came = told(&mut client, "Subject: s\r\n\r\n\u{fc}\r\n.");
    assert!(came.starts_with("250 "), "only the header counts: {came}");
    told(&mut client, "MAIL FROM:<a@client.example> SMTPUTF8");
    told(&mut client, "RCPT TO:<bob@poor.example>");
    assert!(told(&mut client, "DATA").starts_with("354 "));
    let came = told(&mut client, "Subject: \u{fc}\r\n\r\nx\r\n.");
    assert!(came.starts_with("553 5.6.7 "), "{came}");
    assert_eq!(poor.messages().len(), 1, "and it never gets the end");
    // `explain` gives the same result, and reads addresses as sessions read them.
    for (rcpt, size, reason) in [
        ("bob@poor.example", "1001", "declared_size"),
        ("j\u{fc}rgen@poor.example", "1", "no_smtputf8"),
        ("<bob@RICH.example.>", "1001", ""),
    ] {
        let arguments =
            ["explain", "--live", "--ip", "192.0.2.1", "--from", "a@client.example", "--rcpt"];
        let explained = host.home.json(&[&arguments[..], &[rcpt, "--size", size]].concat());
        let stages = explained["stages"].as_array().expect("stages");
        let decides = stages.iter().find(|stage| stage["passes"] == false);
        assert_eq!(
            decides.map_or("", |stage| stage["reason"].as_str().unwrap_or_default()),
            reason,
            "{rcpt}: {explained}"
        );
    }
    // A recipient that its own backend takes is not lost by another's limit.
    let mut client = greeted(&host.namespace);
    told(&mut client, "MAIL FROM:<a@client.example> SIZE=2000");
    assert!(told(&mut client, "RCPT TO:<bob@poor.example>").starts_with("552 5.3.4 "));
    assert!(told(&mut client, "RCPT TO:<bob@rich.example>").starts_with("250 "));
    assert!(told(&mut client, "DATA").starts_with("354 "));
    let body = "0123456789\r\n".repeat(150);
    assert!(told(&mut client, &format!("Subject: s\r\n\r\n{body}.")).starts_with("250 "));
    assert_eq!(rich.messages().len(), 1);
    // What was not declared is seen as it comes.
    let mut client = greeted(&host.namespace);
    told(&mut client, "MAIL FROM:<a@client.example>");
    assert!(told(&mut client, "RCPT TO:<bob@poor.example>").starts_with("250 "));
    assert!(told(&mut client, "DATA").starts_with("354 "));
    let reply = told(&mut client, &format!("Subject: s\r\n\r\n{body}."));
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    assert_eq!(poor.messages().len(), 1, "and it never gets the end");
}

/// What no backend has, and nobody can bridge, is not offered: a client that knows does
/// better than one that is refused. RFC 6531 section 3.2.
#[test]
fn what_no_backend_has_and_nobody_can_bridge_is_not_offered() {
    let host = Host::new();
    host.configure("", &domains(&[("poor.example", 2600, "")]));
    let poor = puppet(&host, 2600, Strings::default());
    let _daemon = start(&host);
    wait_for("a look at it", || poor.lines().iter().any(|line| line == "QUIT"));
    let mut client = greeted(&host.namespace);
    let offers = offered(&mut client);
    for extension in ["SMTPUTF8", "DSN"] {
        assert!(!offers.iter().any(|offer| offer == extension), "{extension}: {offers:?}");
    }
}

/// Clients send parameters that were not offered; a lasting 555 loses mail for it, where
/// leaving the parameter out does not. mailpit#407, chatmail/core#7223.
#[test]
fn parameters_that_can_be_bridged_are_accepted_unoffered() {
    let host = Host::new();
    host.configure("", &domains(&[("poor.example", 2600, "")]));
    let poor = puppet(&host, 2600, Strings::default());
    let _daemon = start(&host);
    wait_for("a look at it", || poor.lines().iter().any(|line| line == "QUIT"));
    for hello in ["EHLO c.example", "HELO c.example"] {
        let mut client = greeted(&host.namespace);
        told(&mut client, hello);
        for (mail, rcpt) in [
            ("BODY=8BITMIME", ""),
            ("BODY=7BIT SIZE=100", ""),
            ("RET=FULL ENVID=QQ314159", "NOTIFY=DELAY,FAILURE"),
            ("", "NOTIFY=SUCCESS ORCPT=rfc822;bob@poor.example"),
            ("", "NOTIFY=NEVER"),
        ] {
            let mail = format!("MAIL FROM:<a@client.example> {mail}");
            assert!(told(&mut client, &mail).starts_with("250 "), "{mail}");
            let rcpt = format!("RCPT TO:<bob@poor.example> {rcpt}");
            assert!(told(&mut client, &rcpt).starts_with("250 "), "{rcpt}");
            assert_eq!(last_lines(&poor, "MAIL"), "MAIL FROM:<a@client.example>");
            assert_eq!(last_lines(&poor, "RCPT"), "RCPT TO:<bob@poor.example>");
            assert!(told(&mut client, "DATA").starts_with("354 "));
            let reply = told(&mut client, "Subject: gr\u{fc}\u{df}e\r\n\r\nx\r\n.");
            assert!(reply.starts_with("250 "), "{reply}");
        }
        // Parameters that are unknown or that mxdp cannot support stay refused.
        for parameter in ["AUTH=<>", "X-UNKNOWN=1", "MT-PRIORITY=3", "HOLDFOR=60"] {
            let reply = told(&mut client, &format!("MAIL FROM:<a@client.example> {parameter}"));
            assert!(reply.starts_with("555 5.5.4 "), "{parameter}: {reply}");
        }
        let reply = told(&mut client, "MAIL FROM:<a@client.example> BODY=BINARYMIME");
        assert!(reply.starts_with("501 "), "{reply}");
    }
    let sent = poor.messages();
    assert_eq!(sent.len(), 10);
    let has_umlauts =
        |message: &Vec<u8>| String::from_utf8_lossy(message).contains("gr\u{fc}\u{df}e");
    assert!(sent.iter().all(has_umlauts), "the message itself is as it was");
}
