//! `[web]`: where the web console and the API are served, and to whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::Serialize;

use super::tls::Certificate;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, clean, code};
use crate::config::values::{read_path, read_sockets};

/// Where the web console is served, unless the configuration says otherwise.
pub(in crate::config) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "The web console and the API", sections: &["web"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("web");

keys! {
    /// Where the web console and the API are served, if there is a section `[web]`. An address
    /// off loopback needs tokens and TLS
    restart LISTEN = "listen";
    /// What clients on this host may do without a token. By default nothing: `mxdp token NAME`
    /// makes a token for each user of the console. Behind a reverse proxy on this host, and
    /// where its users are not trusted, leave it at `none`
    live LOOPBACK = "loopback";
    /// Tokens, a `[[web.tokens]]` each: secrets that give a client access from anywhere. A
    /// reload activates new, changed and removed tokens, for open connections too
    live TOKENS = "tokens";
    /// TLS for the web console and the API: the certificate with its chain, in PEM. A renewed
    /// one is loaded when its file changes
    live CHAIN = "chain";
    /// The private key, in PEM; it goes with `web.chain`
    live KEY = "key";
    /// Permits `web.listen` off loopback without TLS, for use behind a proxy that does TLS
    live PLAIN = "plain";
}

/// The keys of `[[web.tokens]]`.
mod token {
    use crate::config::section::key::keys;

    keys! {
        /// The owner of the token, for the audit trail. `mxdp token NAME` prints the whole
        /// `[[web.tokens]]` table
        live NAME = "name";
        /// What the token permits
        live RIGHTS = "rights";
        /// The SHA-256 of the token
        live SHA256 = "sha256";
    }
}

/// The web console and the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// TLS; without it HTTP is plain.
    pub certificate: Option<Certificate>,
    /// What clients on this host may do without a token.
    pub loopback: Rights,
    /// Who may do what.
    pub tokens: Vec<Token>,
}

/// What of the web console is fixed at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WebStartup {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
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
pub(in crate::config) fn read(section: Section<'_>, folder: &Path) -> Option<(WebStartup, Web)> {
    let is_there = section.is_there();
    let (listen, certificate) = (read_listen(&section), read_certificate(&section, folder));
    let rights = [("none", Rights::None), ("read", Rights::Read), ("write", Rights::Write)];
    let loopback = section.choice(LOOPBACK, &rights, Rights::None);
    let tokens: Vec<_> =
        section.sections(TOKENS).into_iter().filter_map(|one| read_token(one, &rights)).collect();
    let plain = section.boolean(PLAIN, false);
    check_outside(&section, &listen, plain);
    section.finish();
    is_there.then_some((WebStartup { listen }, Web { certificate, loopback, tokens }))
}

fn read_listen(section: &Section<'_>) -> Vec<SocketAddr> {
    section.describe(LISTEN, "", &code(format_args!("[\"{DEFAULT_LISTEN}\"]")));
    let mut listen = read_sockets(section, LISTEN);
    if section.has(LISTEN) {
        section.needs_some(LISTEN, "name an address, such as \"127.0.0.1:8025\"");
    }
    if listen.is_empty() {
        listen.push(DEFAULT_LISTEN);
    }
    listen
}

fn read_certificate(section: &Section<'_>, folder: &Path) -> Option<Certificate> {
    let path = |key| read_path(section, key, folder);
    match (path(CHAIN), path(KEY)) {
        (Some(chain), Some(key)) => Some(Certificate { chain, key, line: section.line() }),
        (chain, _) => {
            // One of a wrong type has its own error, and is there.
            if section.has(CHAIN) != section.has(KEY) {
                let (there, missing) = if chain.is_some() { (CHAIN, KEY) } else { (KEY, CHAIN) };
                section.wrong(there, format!("and `{}` go together", section.name(missing)));
            }
            None
        }
    }
}

/// Whoever is not on this host needs a token, and tokens need TLS.
fn check_outside(section: &Section<'_>, listen: &[SocketAddr], plain: bool) {
    if let Some(outside) = listen.iter().find(|address| !address.ip().is_loopback()) {
        if !section.has(TOKENS) {
            let message = format!(
                "{outside} is not on loopback, where nobody is let in without a token: \
                 `mxdp token NAME` makes one for [[web.tokens]]"
            );
            section.missing(LISTEN, message);
        }
        if !section.has(CHAIN) && !section.has(KEY) && !plain {
            let message = format!(
                "{outside} is not on loopback, and tokens would be sent in the clear: set \
                 `web.chain` and `web.key`, or `web.plain = true` behind a proxy that does TLS"
            );
            section.missing(LISTEN, message);
        }
    }
}

fn read_token(section: Section<'_>, rights: &[(&'static str, Rights)]) -> Option<Token> {
    section.describe(token::NAME, "string", "required");
    section.describe(token::SHA256, "64 hexadecimal digits", "required");
    let name = section.string(token::NAME).map(|text| clean(text.value).to_owned());
    let name = name.filter(|name| !name.is_empty());
    if name.is_none() && (section.is_text(token::NAME) || !section.has(token::NAME)) {
        section.missing(token::NAME, "says whose token it is, such as \"anna\"");
    }
    let rights = section.choice(token::RIGHTS, rights, Rights::Read);
    let hash = section.string(token::SHA256);
    let sha256 = hash.as_ref().and_then(|text| parse_hex(text.value));
    if sha256.is_none() && (hash.is_some() || !section.has(token::SHA256)) {
        let message = "is 64 hexadecimal digits, as `mxdp token NAME` prints them";
        section.missing(token::SHA256, message);
    }
    section.finish();
    Some(Token { name: name?, rights, sha256: sha256? })
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
