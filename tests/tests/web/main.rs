//! The web console and the API: access rights, and the console in a browser.

use std::fs;
use std::net::IpAddr;

use mxdp_tests::dialogue::is_dropped;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::clients::{said, swaks};
use mxdp_tests::peers::relays::Sink;

mod browser;
mod interface;
mod outside;

const PORT: u16 = 2600;
const SITE: &str = "http://127.0.0.1:8025";

const LISTS: &str = r#"
[blocked]
addresses = ["192.0.2.66"]
files = ["blocked.txt"]
[known_spam_sources]
addresses = ["192.0.2.67"]
[enforcement]
known_spam_source = "reject"
[countries]
folder = "countries"
[senders]
blocked = ["*@spam.example"]
[web]
loopback = "write"
"#;

/// A host with a page and smtp-sink behind it.
fn host() -> (Host, Sink) {
    let host = Host::new();
    for address in ["192.0.2.7/32", "192.0.2.66/32", "192.0.2.67/32", "192.0.2.99/32"] {
        host.namespace.ip(&format!("addr add {address} dev lo"));
    }
    let sink = Sink::start(&host.namespace, PORT, &[]);
    fs::create_dir(host.home.path("countries")).expect("a folder");
    host.home.write("countries/at.cidr", "192.0.2.0/25\n");
    host.home.write("blocked.txt", "# by hand\n192.0.2.99\n");
    let rest = format!("{LISTS}{}{}", domain("example.org", "main", ""), backend("main", PORT, ""));
    host.configure("", &rest);
    (host, sink)
}

fn send(host: &Host, more: &[&str]) {
    let common = ["--server", "127.0.0.1", "--helo", "client.example", "--to", "bob@example.org"];
    let output = swaks(&host.namespace, &[&common, more].concat());
    // 0 is delivered; 23 and 24 are a refused sender and recipient.
    let code = output.status.code();
    assert!([Some(0), Some(23), Some(24)].contains(&code), "{}", said(&output));
}

fn drops(host: &Host, source: &str) -> bool {
    let source: IpAddr = source.parse().expect("an address");
    is_dropped(&host.namespace, source, "127.0.0.1:25".parse().expect("an address and port"))
}

fn records(host: &Host, kind: &str) -> usize {
    host.home.json_lines(&["traffic", kind, "--all"]).len()
}
