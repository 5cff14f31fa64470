//! Who may do what: tokens, clients on this host, and other sites' pages.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lru::LruCache;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::web::{Rights, Web};
use crate::control::server::Peer;

/// Who asks, and what it may do.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: String,
    pub(super) address: IpAddr,
    pub(super) rights: Rights,
    /// Whether it showed a token that is right.
    pub(super) has_token: bool,
}

impl Caller {
    /// As the daemon knows it.
    pub(super) fn peer(&self) -> Peer {
        Peer::Web { who: self.who.clone(), address: self.address }
    }
}

/// Says who asks. A token counts wherever it comes from; without one, clients of this
/// host may do what the configuration permits, if they mean this host by its address
/// (a page of another site can make a browser ask a name that leads here).
pub(super) fn caller(web: &Web, address: IpAddr, headers: &HeaderMap) -> Caller {
    let address = address.to_canonical();
    if let Some(secret) = secret(headers) {
        let hash = digest(&SHA256, secret.as_bytes());
        // Hashes of a secret that nobody can steer towards one of these.
        let token = web.tokens.iter().find(|token| token.sha256 == hash.as_ref());
        return match token {
            Some(token) => Caller {
                who: format!("token {}", token.name),
                address,
                rights: token.rights,
                has_token: true,
            },
            None => Caller::stranger(address),
        };
    }
    if address.is_loopback() && is_this_host(headers) {
        let who = "this host".to_owned();
        return Caller { who, address, rights: web.loopback, has_token: false };
    }
    Caller::stranger(address)
}

impl Caller {
    fn stranger(address: IpAddr) -> Self {
        Self { who: "a stranger".to_owned(), address, rights: Rights::None, has_token: false }
    }
}

/// What stands in Authorization: a bearer token (RFC 6750), or the password of a
/// browser's own dialogue (RFC 7617), whatever the name.
fn secret(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(String::new());
    }
    let decoded = STANDARD.decode(rest.trim()).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// Whether Host is an address or `localhost`.
fn is_this_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Whether a request that changes something was made by a page of another site, as
/// browsers say it (Fetch Metadata; Origin, RFC 6454). What is no browser says neither.
pub(super) fn is_from_another_site(method: &Method, headers: &HeaderMap) -> bool {
    if method == Method::GET || method == Method::HEAD || method == Method::OPTIONS {
        return false;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return true;
    }
    let Some(origin) = text("origin") else { return false };
    let origin = origin.split_once("://").map_or(origin, |(_, host)| host);
    text("host").is_none_or(|host| !origin.eq_ignore_ascii_case(host))
}

/// Requests a second of one address, and how many may come at once.
const RATE: f64 = 50.0;
const BURST: f64 = 200.0;

/// The addresses whose rates are known.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// How many requests each address may still make.
pub(super) struct Rates(Mutex<LruCache<IpAddr, (f64, Instant)>>);

impl Rates {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(ADDRESSES)))
    }

    /// Whether another request is permitted, which costs so much.
    pub(super) fn permit(&self, address: IpAddr, cost: f64) -> bool {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, then) = known.get_or_insert_mut(address, || (BURST, now));
        *left = (*left + now.duration_since(*then).as_secs_f64() * RATE).min(BURST);
        *then = now;
        let permitted = *left >= cost;
        if permitted {
            *left -= cost;
        }
        permitted
    }
}

/// A new token: 32 random bytes as text.
///
/// # Errors
///
/// If the system has no randomness.
pub fn new_token() -> Result<String, String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no randomness".to_owned())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The SHA-256 of a token, in hexadecimal digits, as the configuration has it.
#[must_use]
pub fn sha256_hex(token: &str) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, token.as_bytes()).as_ref().iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::web::Token;

    fn headers(parts: &[(&'static str, &str)]) -> HeaderMap {
        let parts = parts
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
        parts.collect()
    }

    fn web(loopback: Rights) -> Web {
        let sha256 = digest(&SHA256, b"secret").as_ref().try_into().unwrap();
        let token = Token { name: "anna".to_owned(), rights: Rights::Write, sha256 };
        Web { listen: Vec::new(), certificate: None, loopback, tokens: vec![token] }
    }

    #[test]
    fn tokens_give_their_rights_and_nothing_else_does() {
        let web = web(Rights::Read);
        let outside = IpAddr::from([192, 0, 2, 1]);
        for (value, rights) in [
            ("Bearer secret", Rights::Write),
            ("bearer secret", Rights::Write),
            // anyone:secret
            ("Basic YW55b25lOnNlY3JldA==", Rights::Write),
            ("Bearer Secret", Rights::None),
            ("Bearer ", Rights::None),
            ("Basic secret", Rights::None),
            ("Digest secret", Rights::None),
            ("secret", Rights::None),
        ] {
            let headers = headers(&[("authorization", value), ("host", "192.0.2.9")]);
            assert_eq!(caller(&web, outside, &headers).rights, rights, "{value}");
        }
        assert_eq!(caller(&web, outside, &headers(&[("host", "192.0.2.9")])).rights, Rights::None);
    }

    #[test]
    fn this_host_is_trusted_by_its_address_alone() {
        let web = web(Rights::Read);
        let here = IpAddr::from([127, 0, 0, 1]);
        for (host, rights) in [
            ("localhost:8025", Rights::Read),
            ("127.0.0.1:8025", Rights::Read),
            ("[::1]:8025", Rights::Read),
            ("evil.example:8025", Rights::None),
            ("localhost.evil.example", Rights::None),
            ("", Rights::None),
        ] {
            assert_eq!(caller(&web, here, &headers(&[("host", host)])).rights, rights, "{host}");
        }
        assert_eq!(caller(&web, here, &HeaderMap::new()).rights, Rights::None);
        // A wrong token is worth less than none.
        let wrong = headers(&[("host", "localhost"), ("authorization", "Bearer x")]);
        assert_eq!(caller(&web, here, &wrong).rights, Rights::None);
    }

    #[test]
    fn other_sites_change_nothing() {
        let of =
            |parts: &[(&'static str, &str)]| is_from_another_site(&Method::POST, &headers(parts));
        let host = ("host", "127.0.0.1:8025");
        assert!(!of(&[host]));
        assert!(!of(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(of(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(of(&[host, ("sec-fetch-site", "same-site")]));
        assert!(!of(&[host, ("origin", "http://127.0.0.1:8025")]));
        assert!(of(&[host, ("origin", "http://127.0.0.1:80")]));
        assert!(of(&[host, ("origin", "null")]));
        assert!(!is_from_another_site(&Method::GET, &headers(&[("sec-fetch-site", "cross-site")])));
    }

    #[test]
    fn an_address_has_a_rate() {
        let rates = Rates::new();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let permitted = (0..1_000).filter(|_| rates.permit(one, 1.0)).count();
        assert!((200..300).contains(&permitted), "{permitted}");
        assert!(rates.permit(two, 1.0));
    }

    #[test]
    fn a_new_token_is_long_and_its_hash_fits() {
        let token = new_token().unwrap();
        assert_eq!(token.len(), 43);
        assert_ne!(token, new_token().unwrap());
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(""), empty);
    }
}
