//! What the tests of sessions have in common: a host, mail systems on strings behind it,
//! and clients.

use std::net::{Ipv4Addr, SocketAddr};

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::wrong::client::Client;
use mxdp_tests::wrong::puppet::{Puppet, Strings};

/// A port of loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A mail system on strings.
pub(crate) fn puppet(host: &Host, port: u16, strings: Strings) -> Puppet {
    host.namespace.run(|| Puppet::start(local(port), strings))
}

/// A domain of each name, with a backend of the same name at its port.
pub(crate) fn domains(all: &[(&str, u16, &str)]) -> String {
    let one = |(name, port, keys): &(&str, u16, &str)| {
        domain(name, name, "") + &backend(name, *port, keys)
    };
    all.iter().map(one).collect()
}

/// Starts the daemon, and waits until it is ready.
pub(crate) fn start(host: &Host) -> Daemon<'_> {
    let daemon = host.start();
    let connects = || host.namespace.run(|| Client::connect(local(25))).is_ok();
    wait_for("the listener", connects);
    daemon
}

/// A client that has said EHLO.
pub(crate) fn greeted(namespace: &Namespace) -> Client {
    let mut client = namespace.run(|| Client::connect(local(25))).expect("it accepts");
    assert!(client.hello(), "no greeting");
    client
}

/// The last line of the reply to a command.
pub(crate) fn told(client: &mut Client, line: &str) -> String {
    match client.command(line) {
        Ok((_, reply)) => reply,
        Err(error) => panic!("{line}: {error}"),
    }
}

/// A client whose sender and recipient are accepted.
pub(crate) fn with_recipient(namespace: &Namespace, recipient: &str) -> Client {
    let mut client = greeted(namespace);
    for line in ["MAIL FROM:<a@client.example>".to_owned(), format!("RCPT TO:<{recipient}>")] {
        let reply = told(&mut client, &line);
        assert!(reply.starts_with("250 "), "{line}: {reply}");
    }
    client
}

/// A client that may send a message.
pub(crate) fn in_data(namespace: &Namespace, recipient: &str) -> Client {
    let mut client = with_recipient(namespace, recipient);
    let reply = told(&mut client, "DATA");
    assert!(reply.starts_with("354 "), "{reply}");
    client
}

/// Its alarms.
pub(crate) fn alarms(host: &Host) -> String {
    host.home.json(&["status"])["alarms"].to_string()
}
