//! `[[backend]]`: the mail systems that mail is passed to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, clean};
use crate::config::values::{read_path, read_required, read_seconds};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Backends", sections: &["backend"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("backend");

keys! {
    /// The name of the backend
    live NAME = "name";
    /// The servers of the backend. The first one that is up is used; all are checked once a
    /// minute, and those that are down every ten seconds
    live SERVERS = "servers";
    /// How the backend learns the client's address: Postfix's XCLIENT, or a PROXY header of
    /// version 2 (`proxy`) or version 1 (`proxy_v1`). A backend that does not offer XCLIENT
    /// when it should gets no mail
    live CLIENT_ADDRESS = "client_address";
    /// TLS towards the backend. `opportunistic` uses what is offered and checks no certificate;
    /// `verified` needs a certificate that is valid for the server's name
    live TLS = "tls";
    /// The certificates that `verified` trusts, in PEM
    live CA = "ca";
    /// Time limit to connect to a server
    live CONNECT_TIMEOUT = "connect_timeout";
    /// Time limit for a reply, and for the TLS handshake
    live REPLY_TIMEOUT = "reply_timeout";
    /// Time limit for the backend to accept bytes of a message
    live DATA_TIMEOUT = "data_timeout";
    /// Time limit for the reply to a message
    live FINAL_TIMEOUT = "final_timeout";
}

/// A mail system behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers, `host:port`, in the order in which they are tried.
    pub servers: Vec<String>,
    /// TLS towards it.
    pub tls: BackendTls,
    /// Certificates that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// How it learns the client's address.
    pub client_address: ClientAddress,
    /// The time to connect to a server.
    pub connect_timeout: Duration,
    /// The time for a reply, and for TLS.
    pub reply_timeout: Duration,
    /// The time in which it must take bytes of a message.
    pub data_timeout: Duration,
    /// The time for the reply to a message.
    pub final_timeout: Duration,
}

/// TLS towards a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendTls {
    /// None.
    #[default]
    None,
    /// Where it is offered; whoever shows a certificate is believed.
    Opportunistic,
    /// Always, with a certificate that is valid for the server's name.
    Verified,
}

/// How a backend learns the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// It does not.
    #[default]
    None,
    /// XCLIENT, of Postfix.
    Xclient,
    /// A PROXY header, version 2.
    Proxy,
    /// A PROXY header, version 1.
    ProxyV1,
}

/// Reads a `[[backend]]`.
pub(in crate::config) fn read<'a>(section: Section<'a>, folder: &Path) -> (Backend, Section<'a>) {
    section.describe(SERVERS, "array of host:port", "required");
    section.describe(CA, "", "the system's");
    let servers = section.strings(SERVERS);
    for server in &servers {
        let port = server.value.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
            let message =
                format!("`{}` is not a host and port, such as 192.0.2.1:25", clean(server.value));
            section.error(&server.span, SERVERS, message);
        }
    }
    section.needs_some(SERVERS, "name at least one, such as [\"192.0.2.1:25\"]");
    let backend = Backend {
        name: read_required(&section, NAME).into(),
        servers: servers.iter().map(|server| server.value.to_owned()).collect(),
        tls: section.choice(
            TLS,
            &[
                ("none", BackendTls::None),
                ("opportunistic", BackendTls::Opportunistic),
                ("verified", BackendTls::Verified),
            ],
            BackendTls::None,
        ),
        ca: read_path(&section, CA, folder),
        client_address: section.choice(
            CLIENT_ADDRESS,
            &[
                ("none", ClientAddress::None),
                ("xclient", ClientAddress::Xclient),
                ("proxy", ClientAddress::Proxy),
                ("proxy_v1", ClientAddress::ProxyV1),
            ],
            ClientAddress::None,
        ),
        connect_timeout: read_seconds(&section, CONNECT_TIMEOUT, 5),
        reply_timeout: read_seconds(&section, REPLY_TIMEOUT, 60),
        data_timeout: read_seconds(&section, DATA_TIMEOUT, 180),
        final_timeout: read_seconds(&section, FINAL_TIMEOUT, 600),
    };
    (backend, section)
}
