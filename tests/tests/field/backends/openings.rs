//! The dialogue up to the first recipient: what is about a client, and what about the
//! server.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::Host;
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::wrong::puppet::Strings;

use crate::stage::{alarms, domains, greeted, local, puppet, start, told};

const PORT: u16 = 2600;

/// What a client of this address is told at its first recipient.
fn told_at_rcpt(namespace: &Namespace, source: &str) -> String {
    let source = source.parse().expect("an address");
    let mut client = Dialogue::open(namespace, source, local(25)).expect("a connection");
    assert!(client.line().expect("a greeting").starts_with("220 "));
    client.told("EHLO client.example");
    client.told("MAIL FROM:<a@client.example>");
    let reply = client.told("RCPT TO:<bob@example.org>");
    client.told("QUIT");
    reply
}

/// What a mail system has against one client, once it knows who that is, is passed on to
/// that client, and takes nothing from the others. Postfix XCLIENT_README; PROXY protocol
/// section 2.
#[test]
fn a_client_that_the_backend_refuses_is_told_so_and_no_other() {
    for (keys, proxied) in [
        ("client_address = \"xclient\"", false),
        ("client_address = \"proxy\"", true),
        ("client_address = \"proxy_v1\"", true),
    ] {
        let host = Host::new();
        for address in ["192.0.2.66/32", "192.0.2.67/32", "192.0.2.7/32"] {
            host.namespace.ip(&format!("addr add {address} dev lo"));
        }
        let master = if proxied {
            "127.0.0.1:2601 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy"
        } else {
            "127.0.0.1:2601 inet n - n - - smtpd"
        };
        let options = Options {
            port: PORT,
            domains: &["example.org"],
            recipients: &["bob@example.org"],
            main: "smtpd_delay_reject = no\nsmtpd_client_restrictions = check_client_access \
                inline:{ {192.0.2.66 = REJECT} {192.0.2.67 = DEFER} }\n",
            master,
            ..Options::default()
        };
        let postfix = Postfix::start(&host.namespace, &options);
        host.configure("", &domains(&[("example.org", 2601, keys)]));
        let _daemon = start(&host);
        for _ in 0..3 {
            let refused = told_at_rcpt(&host.namespace, "192.0.2.66");
            assert!(
                refused.starts_with("554 5.7.1 ") && refused.contains("192.0.2.66"),
                "{refused}"
            );
            let deferred = told_at_rcpt(&host.namespace, "192.0.2.67");
            assert!(deferred.starts_with("450 4.7.1 "), "{keys}: {deferred}");
            assert_eq!(alarms(&host), "[]", "{keys}");
            let accepted = told_at_rcpt(&host.namespace, "192.0.2.7");
            assert!(accepted.starts_with("250 "), "{keys}: {accepted}\n{}", postfix.log());
        }
    }
}

/// The same for every code; a refusal of the command or of the server is not passed on.
#[test]
fn what_is_about_the_server_is_not_told_to_the_client() {
    let host = Host::new();
    let xclient = |strings: Strings| strings.offer("XCLIENT NAME ADDR PORT PROTO HELO");
    let keys = "client_address = \"xclient\"\nreply_timeout = 2";
    host.configure(
        "",
        &domains(&[
            ("example.org", PORT, keys),
            ("proxy.example", 2601, "client_address = \"proxy_v1\"\nreply_timeout = 2"),
            ("plain.example", 2602, "reply_timeout = 2"),
        ]),
    );
    let good = xclient(Strings::default());
    let puppets = [
        puppet(&host, PORT, good.clone()),
        puppet(&host, 2601, Strings { proxied: true, ..Strings::default() }),
        puppet(&host, 2602, Strings::default()),
    ];
    let _daemon = start(&host);
    let rcpt = |domain: &str| {
        let mut client = greeted(&host.namespace);
        told(&mut client, "MAIL FROM:<a@client.example>");
        told(&mut client, &format!("RCPT TO:<bob@{domain}>"))
    };
    // How often a server was found to be down.
    let downs = |server: &str| {
        let log = host.home.log();
        log.lines().filter(|line| line.contains(server) && line.contains("is down: ")).count()
    };
    let at = |to, reply: &str| xclient(Strings::default()).reply(to, reply);
    // (the server's reply, the client's reply, whether the server is down then)
    for (strings, reply, down) in [
        (at("XCLIENT", "450 4.7.1 later, you\r\n"), "450 4.7.1 later, you", false),
        (at("XCLIENT", "521 5.7.1 not you\r\n"), "521 5.7.1 not you", false),
        (at("XCLIENT", "504 5.5.2 bad name\r\n"), "504 5.5.2 bad name", false),
        (at("XCLIENT", "550-5.7.1 not\r\n550 5.7.1 you\r\n"), "550 5.7.1 you", false),
        (at("XCLIENT", "421 4.7.0 too many of yours\r\n"), "451 4.7.0 too many of yours", false),
        // The connection ends as soon as the client is named.
        (at("XCLIENT", "CLOSE"), "451 4.4.1 ", false),
        (at("XCLIENT", "nonsense\r\n"), "451 4.4.1 ", false),
        (at("XCLIENT", "501 5.5.4 bad syntax\r\n"), "451 4.4.1 ", true),
        (good.clone(), "250 ", false),
        (at("XCLIENT", "503 5.5.1 not now\r\n"), "451 4.4.1 ", true),
        (good.clone(), "250 ", false),
        (at("CONNECT", "554 5.3.2 not in service\r\n"), "451 4.4.1 ", true),
        (good, "250 ", false),
        (Strings::default(), "451 4.3.5 ", true),
    ] {
        let shown = format!("{:?}", strings.replies);
        puppets[0].pull(strings);
        let before = downs("127.0.0.1:2600");
        let came = rcpt("example.org");
        assert!(came.starts_with(reply), "{shown}: {came}");
        assert_eq!(downs("127.0.0.1:2600") > before, down, "{shown}: {}", host.home.log());
    }
    let proxied = || Strings { proxied: true, ..Strings::default() };
    let bad_name = "550 5.7.1 bad name\r\n";
    for (strings, reply) in [
        (proxied().reply("PROXY", "554 5.7.1 not you\r\n"), "554 5.7.1 not you"),
        (proxied().reply("PROXY", "421 4.7.0 too many\r\n"), "451 4.7.0 too many"),
        (proxied(), "250 "),
        (
            proxied().reply("EHLO C.EXAMPLE", bad_name).reply("HELO C.EXAMPLE", bad_name),
            "550 5.7.1 bad name",
        ),
        (proxied().reply("EHLO C.EXAMPLE", "CLOSE"), "451 4.4.1 "),
    ] {
        let shown = format!("{:?}", strings.replies);
        puppets[1].pull(strings);
        let came = rcpt("proxy.example");
        assert!(came.starts_with(reply), "{shown}: {came}");
        assert_eq!(downs("127.0.0.1:2601"), 0, "{shown}: {}", host.home.log());
    }
    // A server that accepts no client is down, whichever client is named.
    puppets[1].pull(proxied().reply("PROXY", "CLOSE"));
    assert!(rcpt("proxy.example").starts_with("451 4.4.1 "));
    assert_eq!(downs("127.0.0.1:2601"), 1, "{}", host.home.log());
    puppets[1].pull(proxied());
    assert!(rcpt("proxy.example").starts_with("250 "));
    // A server that knows only HELO is served by HELO (RFC 5321 section 3.2).
    for code in ["500 5.5.1", "501 5.5.4", "502 5.5.1", "504 5.5.1", "550 5.0.0"] {
        puppets[2].pull(Strings::default().reply("EHLO", format!("{code} what?\r\n")));
        assert!(rcpt("plain.example").starts_with("250 "), "{code}");
        assert!(puppets[2].lines().iter().any(|line| line == "HELO mx.example.org"));
    }
    puppets[2].pull(
        Strings::default().reply("EHLO", "502 5.5.1 no\r\n").reply("HELO", "502 5.5.1 no\r\n"),
    );
    assert!(rcpt("plain.example").starts_with("451 4.4.1 "));
    puppets[2].pull(Strings::default());
    assert!(rcpt("plain.example").starts_with("250 "));
    wait_for("no alarm for it", || !alarms(&host).contains("127.0.0.1:2602"));
}

/// Opportunistic TLS is TLS where it works; where a server offers it and then cannot, mail
/// goes on without. RFC 7435 section 3; `verified` does not.
#[test]
fn where_opportunistic_tls_fails_mail_goes_on_in_plain_text() {
    let host = Host::new();
    host.configure(
        "",
        &domains(&[
            ("example.org", PORT, "tls = \"opportunistic\"\nreply_timeout = 2"),
            (
                "proxy.example",
                2601,
                "tls = \"opportunistic\"\nclient_address = \"proxy_v1\"\nreply_timeout = 2",
            ),
            ("strict.example", 2602, "tls = \"verified\"\nreply_timeout = 2"),
        ]),
    );
    let offers = |proxied| Strings { proxied, ..Strings::default() }.offer("STARTTLS");
    let puppets = [
        puppet(&host, PORT, offers(false)),
        puppet(&host, 2601, offers(true)),
        puppet(&host, 2602, offers(false)),
    ];
    let _daemon = start(&host);
    for reply in [
        "454 4.7.0 TLS not available\r\n",
        "421 4.7.0 TLS broken\r\nCLOSE",
        "500 5.5.1 no\r\n",
        "502 5.5.1 no\r\n",
        "503 5.5.1 no\r\n",
        "554 5.7.3 no\r\n",
        "CLOSE",
        "nonsense\r\n",
        // The handshake fails: it is closed, or what comes is not TLS.
        "220 2.0.0 go\r\nCLOSE",
        "220 2.0.0 go\r\n250 injected\r\n",
        "220 2.0.0 go\r\n",
    ] {
        for (puppet, proxied) in puppets.iter().zip([false, true, false]) {
            puppet.pull(offers(proxied).reply("STARTTLS", reply));
        }
        for domain in ["example.org", "proxy.example"] {
            let mut client = greeted(&host.namespace);
            told(&mut client, "MAIL FROM:<a@client.example>");
            let came = told(&mut client, &format!("RCPT TO:<bob@{domain}>"));
            assert!(came.starts_with("250 "), "{reply:?} at {domain}: {came}");
        }
        let mut client = greeted(&host.namespace);
        told(&mut client, "MAIL FROM:<a@client.example>");
        let came = told(&mut client, "RCPT TO:<bob@strict.example>");
        assert!(came.starts_with("451 4.4.1 "), "{reply:?}: {came}");
    }
    // It is up, and what was given up is said as long as it lasts.
    let said = "127.0.0.1:2600: messages go without TLS: TLS: ";
    wait_for("an alarm", || alarms(&host).contains(said));
    let now = alarms(&host);
    assert_eq!(now.matches("127.0.0.1:2600").count(), now.matches(said).count(), "{now}");
    wait_for("an alarm", || alarms(&host).contains("127.0.0.1:2602"));
    let warned = host.home.log().matches("its mail continues in plain text").count();
    assert_eq!(warned, 2, "once for each server: {}", host.home.log());
}
