//! mxdp with its SMTP side, in a namespace of its own.

use crate::daemon::{Daemon, Home};
use crate::netns::Namespace;

/// A namespace and a folder for a daemon with an SMTP side. It listens on
/// 127.0.0.1:25, and if it has a certificate on 127.0.0.1:465.
pub struct Host {
    /// The namespace; everything is on its loopback.
    pub namespace: Namespace,
    /// The daemon's folder.
    pub home: Home,
}

impl Host {
    /// A new host without a configuration.
    #[must_use]
    pub fn new() -> Self {
        Self { namespace: Namespace::new("mxm"), home: Home::new() }
    }

    /// Writes a configuration: `listen` as the rest of that section, and `rest`
    /// behind it.
    pub fn configure(&self, listen: &str, rest: &str) {
        let text = format!(
            "[listen]\nsmtp = [\"127.0.0.1:25\"]\nhostname = \"mx.example.org\"\n{listen}\n{rest}"
        );
        self.home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", &text);
    }

    /// Starts the daemon.
    #[must_use]
    pub fn start(&self) -> Daemon<'_> {
        self.home.start(&self.namespace)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// A backend on a port of 127.0.0.1, with further keys.
#[must_use]
pub fn backend(name: &str, port: u16, keys: &str) -> String {
    format!("[[backend]]\nname = \"{name}\"\nservers = [\"127.0.0.1:{port}\"]\n{keys}\n")
}

/// A domain and its backend, with further keys.
#[must_use]
pub fn domain(name: &str, backend: &str, keys: &str) -> String {
    format!("[[domain]]\nnames = [\"{name}\"]\nbackend = \"{backend}\"\n{keys}\n")
}
