//! The command line, the console and the API.

use std::fs;

use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::relays::Sink;

mod access;
mod check;
mod documents;
mod forms;
mod health;
mod lists;
mod search;
mod start;
mod verdicts;

/// Where the console is.
const SITE: &str = "http://127.0.0.1:8025";

/// The port of the backend.
const PORT: u16 = 2600;

/// A host with a console that may change lists, and smtp-sink behind it.
fn host(more: &str) -> (Host, Sink) {
    let host = Host::new();
    for address in ["192.0.2.7/32", "192.0.2.66/32"] {
        host.namespace.ip(&format!("addr add {address} dev lo"));
    }
    let sink = Sink::start(&host.namespace, PORT, &[]);
    host.home.write("blocked.txt", "# by hand\n192.0.2.66\n");
    host.home.write("approved.txt", "198.51.100.0/24\n");
    let rest = format!(
        "[approved]\nfiles = [\"approved.txt\"]\n[blocked]\nfiles = [\"blocked.txt\"]\n\
         [web]\nloopback = \"write\"\n{}{}{more}",
        domain("example.org", "main", ""),
        backend("main", PORT, "")
    );
    host.configure("", &rest);
    (host, sink)
}

/// A text of the repository.
fn repository(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
