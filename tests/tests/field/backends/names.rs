//! What the mail system behind learns of the client's name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::dns::Nsd;
use mxdp_tests::peers::dns_relay::{DnsRelay, Fault};
use mxdp_tests::peers::postfix::{Options, Postfix};

/// What stands in for somebody says all that is known of them: the client's name is
/// looked up and confirmed, as the mail system would (docker-mailserver#2691, Postfix
/// XCLIENT_README).
#[test]
fn the_client_has_its_name_behind_the_proxy() {
    let host = Host::new();
    host.namespace.ip("addr add 198.51.100.0/24 dev lo");
    let long = format!("{0}.{0}.{0}.long.test", "n".repeat(60));
    let zone = format!(
        "7.100.51.198.in-addr.arpa. PTR liar.test.\n7.100.51.198.in-addr.arpa. PTR mail.partner.test.\n\
         mail.partner.test. A 198.51.100.7\nliar.test. A 203.0.113.9\n\
         8.100.51.198.in-addr.arpa. PTR liar.test.\n\
         9.100.51.198.in-addr.arpa. PTR {long}.\n{long}. A 198.51.100.9\n\
         11.100.51.198.in-addr.arpa. PTR mail.down.test.\n\
         13.100.51.198.in-addr.arpa. PTR 192.0.2.1.\n14.100.51.198.in-addr.arpa. PTR a\\032b.test.\n"
    );
    let _nsd = Nsd::start(&host.namespace, 5301, &zone);
    let relay = DnsRelay::start(&host.namespace, 53, &[("", 5301)]);
    relay.fault("down.test", true, None, Fault::Code(2));
    relay.fault("12.100.51.198.in-addr.arpa", false, None, Fault::Drop);
    let options = Options {
        port: 2600,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        main: "smtpd_recipient_restrictions = reject_unauth_destination, \
               reject_unknown_client_hostname\nunknown_client_reject_code = 550\nmynetworks =\n",
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    let dns = "[dns]\nservers = [\"127.0.0.1:53\"]\ntimeout_ms = 5000\nattempts = 1\n";
    let rest =
        domain("example.org", "main", "") + &backend("main", 2600, "client_address = \"xclient\"");
    host.configure("", &format!("{dns}{rest}"));
    let _daemon = host.start();
    let send = |number: u8, helo: &str| {
        let source = IpAddr::V4(Ipv4Addr::new(198, 51, 100, number));
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
        let mut dialogue = Dialogue::open(&host.namespace, source, target).expect("a connection");
        dialogue.line().expect("a greeting");
        dialogue.told(&format!("EHLO {helo}"));
        dialogue.told("MAIL FROM:<a@b.example>");
        let told = dialogue.told("RCPT TO:<bob@example.org>");
        if told.starts_with("250 ") {
            assert!(dialogue.told("DATA").starts_with("354 "));
            let text = format!("Subject: {number}\r\n\r\nx\r\n.");
            assert!(dialogue.told(&text).starts_with("250 "));
        }
        told
    };
    // The second name is confirmed.
    let told = send(7, "client.example");
    assert!(told.starts_with("250 "), "{told}");
    // No name, one that is not confirmed, and what is no name: for good, as Postfix is
    // configured. It is about this client, and the mail system stays up.
    for number in [8, 10, 13, 14] {
        let told = send(number, "client.example");
        assert!(told.starts_with("550 ") && told.contains("cannot find your hostname"), "{told}");
    }
    // Name servers that fail, or are late: for now.
    for number in [11, 12] {
        let told = send(number, "client.example");
        assert!(told.starts_with("450 ") && told.contains("cannot find your hostname"), "{told}");
    }
    // Long names fit into no single command (RFC 5321 section 4.5.3.1.4).
    let helo = format!("{0}.{0}.{0}.{0}.example", "h".repeat(60));
    let told = send(9, &helo);
    assert!(told.starts_with("250 "), "{told}");
    let messages = postfix.wait_for(2);
    let of = |subject: &str| {
        let texts = messages.iter().map(|message| String::from_utf8_lossy(message).into_owned());
        let mut texts = texts.filter(|text| text.contains(&format!("Subject: {subject}\n")));
        texts.next().expect("the message").replace("\n\t", " ")
    };
    let message = of("7");
    let (behind, ours) = (
        "Received: from client.example (mail.partner.test [198.51.100.7])",
        "Received: from client.example (mail.partner.test [198.51.100.7]) by mx.example.org (mxdp)",
    );
    assert!(message.matches(behind).count() == 2 && message.contains(ours), "{message}");
    let message = of("9");
    assert!(message.contains(&format!("from {helo} ({long} [198.51.100.9])")), "{message}");
    wait_for("Postfix's log", || postfix.log().contains("client=mail.partner.test[198.51.100.7]"));
    let status = host.home.json(&["status"]);
    assert!(!status["alarms"].to_string().contains("backend"), "{}", status["alarms"]);
}

/// What a mail system finds wrong in what it is told of a client is withheld from it, and
/// takes neither the mail system from the others nor the client's mail: Postfix with
/// `inet_protocols = ipv4` answers `501 Bad ADDR syntax` to an IPv6 client's address (Postfix
/// XCLIENT_README).
#[test]
fn a_client_of_ipv6_is_served_by_a_mail_system_of_ipv4() {
    let host = Host::new();
    let options = Options {
        port: 2600,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    let rest =
        domain("example.org", "main", "") + &backend("main", 2600, "client_address = \"xclient\"");
    let listen =
        "[listen]\nsmtp = [\"127.0.0.1:25\", \"[::1]:25\"]\nhostname = \"mx.example.org\"\n";
    host.home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", &format!("{listen}{rest}"));
    let _daemon = host.start();
    for address in [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)] {
        let target = SocketAddr::new(address, 25);
        let mut dialogue = Dialogue::open(&host.namespace, address, target).expect("a connection");
        dialogue.line().expect("a greeting");
        dialogue.told("EHLO client.example");
        dialogue.told("MAIL FROM:<a@b.example>");
        let told = dialogue.told("RCPT TO:<bob@example.org>");
        assert!(told.starts_with("250 "), "{address}: {told}");
        assert!(dialogue.told("DATA").starts_with("354 "));
        let told = dialogue.told(&format!("Subject: {address}\r\n\r\nx\r\n."));
        assert!(told.starts_with("250 "), "{address}: {told}");
    }
    let messages = postfix.wait_for(2);
    let texts: Vec<_> = messages.iter().map(|text| String::from_utf8_lossy(text)).collect();
    let of_ipv6 = texts.iter().find(|text| text.contains("Subject: ::1\n")).expect("its message");
    // Ours has the address; Postfix knows it as nobody's, which is no network that it trusts.
    assert!(of_ipv6.contains("[IPv6:::1])\n\tby mx.example.org (mxdp)"), "{of_ipv6}");
    assert!(of_ipv6.contains("(unknown [unknown])"), "{of_ipv6}");
    assert!(host.home.log().contains("does not accept the client address ::1 by XCLIENT"));
    let status = host.home.json(&["status"]);
    assert!(!status["alarms"].to_string().contains("backend"), "{}", status["alarms"]);
}
