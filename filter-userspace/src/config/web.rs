//! The page and the interface: where they are served, and to whom.

use std::net::SocketAddr;
use std::path::Path;

use super::section::{Section, clean, code};
use super::smtp::Certificate;
use super::values::{self, sockets};

/// Where the page is, unless the configuration says otherwise.
pub(super) const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);

/// The page and the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// TLS; without it HTTP is plain.
    pub certificate: Option<Certificate>,
    /// What clients on this host may do without a token.
    pub loopback: Rights,
    /// Who may do what.
    pub tokens: Vec<Token>,
}

impl Web {
    /// Whether no client may do anything but ask for health.
    #[must_use]
    pub fn lets_nobody_in(&self) -> bool {
        self.loopback == Rights::None && self.tokens.iter().all(|it| it.rights == Rights::None)
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Nothing but asking for health.
    #[default]
    None,
    /// To look.
    Read,
    /// To change lists too.
    Write,
}

/// A token: a secret that a client shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is, for the record of changes.
    pub name: String,
    /// What it permits.
    pub rights: Rights,
    /// The SHA-256 of the secret; the secret itself is nowhere.
    pub sha256: [u8; 32],
}

/// Reads `[web]`; none without it.
pub(super) fn web(section: Section<'_>, folder: &Path) -> Option<Web> {
    let wanted = section.is_there();
    section.describe("listen", "", &code(format_args!("[\"{DEFAULT}\"]")));
    let mut listen = sockets(&section, "listen");
    if section.has("listen") {
        section.needs_some("listen", "name an address, such as \"127.0.0.1:8025\"");
    }
    if listen.is_empty() {
        listen.push(DEFAULT);
    }
    let path = |key| values::path(&section, key, folder);
    let certificate = match (path("chain"), path("key")) {
        (Some(chain), Some(key)) => Some(Certificate { chain, key, line: section.line() }),
        (chain, _) => {
            // One of a wrong type has its own error, and is there.
            if section.has("chain") != section.has("key") {
                let (there, missing) =
                    if chain.is_some() { ("chain", "key") } else { ("key", "chain") };
                section.wrong(there, format!("and `web.{missing}` go together"));
            }
            None
        }
    };
    let rights = [("none", Rights::None), ("read", Rights::Read), ("write", Rights::Write)];
    let loopback = section.choice("loopback", &rights, Rights::None);
    let tokens: Vec<_> =
        section.sections("tokens").into_iter().filter_map(|one| token(one, &rights)).collect();
    let plain = section.boolean("plain", false);
    if let Some(outside) = listen.iter().find(|address| !address.ip().is_loopback()) {
        if !section.has("tokens") {
            let message = format!(
                "{outside} is not on loopback, where nobody is let in without a token: \
                 `mxdp token NAME` makes one for [[web.tokens]]"
            );
            section.missing("listen", message);
        }
        if !section.has("chain") && !section.has("key") && !plain {
            let message = format!(
                "{outside} is not on loopback, and tokens would be sent in the clear: set \
                 `web.chain` and `web.key`, or `web.plain = true` behind a proxy that does TLS"
            );
            section.missing("listen", message);
        }
    }
    section.finish();
    wanted.then_some(Web { listen, certificate, loopback, tokens })
}

fn token(section: Section<'_>, rights: &[(&'static str, Rights)]) -> Option<Token> {
    section.describe("name", "text", "required");
    section.describe("sha256", "64 hexadecimal digits", "required");
    let name = section.string("name").map(|text| clean(text.value).to_owned());
    let name = name.filter(|name| !name.is_empty());
    if name.is_none() && (section.is_text("name") || !section.has("name")) {
        section.missing("name", "says whose token it is, such as \"anna\"");
    }
    let rights = section.choice("rights", rights, Rights::Read);
    let hash = section.string("sha256");
    let sha256 = hash.as_ref().and_then(|text| hex(text.value));
    if sha256.is_none() && (hash.is_some() || !section.has("sha256")) {
        let message = "is 64 hexadecimal digits, as `mxdp token NAME` prints them";
        section.missing("sha256", message);
    }
    section.finish();
    Some(Token { name: name?, rights, sha256: sha256? })
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
