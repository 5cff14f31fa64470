//! Access: tokens, clients on this host, pages of other sites, and rates.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lru::LruCache;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::web::{Rights, Web};
use crate::control::server::Peer;

/// A caller and its rights.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: String,
    pub(super) address: IpAddr,
    pub(super) rights: Rights,
    /// The hash of its token, if the token is valid.
    pub(super) token: Option<[u8; 32]>,
    /// Whether a page of another site made the browser send the request: then nothing with
    /// side effects, such as DNS queries, is evaluated.
    pub(super) is_from_elsewhere: bool,
}

impl Caller {
    /// The same for the daemon.
    pub(super) fn peer(&self) -> Peer {
        Peer::Web { who: self.who.clone(), address: self.address }
    }

    /// Whether it still has a right; long responses check again.
    pub(super) fn still_may(&self, web: &Web, needed: Rights) -> bool {
        let rights = match &self.token {
            Some(hash) => web.tokens.iter().find(|token| token.sha256 == *hash).map(|it| it.rights),
            None => Some(web.loopback),
        };
        rights.is_some_and(|rights| rights >= needed)
    }
}

/// Identifies the caller. A token is valid from any address. Without one, a client on this
/// host has the rights of `web.loopback`, provided that it calls this host by its address: a
/// page of another site can make a browser call a name that resolves to it.
pub(super) fn caller(web: &Web, address: IpAddr, headers: &HeaderMap) -> Caller {
    let address = address.to_canonical();
    let stranger = Caller {
        who: "a stranger".to_owned(),
        address,
        rights: Rights::None,
        token: None,
        is_from_elsewhere: is_from_another_site(headers),
    };
    match shown(headers) {
        Shown::Secret(secret) => {
            let hash = digest(&SHA256, secret.as_bytes());
            // Comparing hashes in variable time is safe: nobody can choose a hash.
            match web.tokens.iter().find(|token| token.sha256 == hash.as_ref()) {
                Some(token) => Caller {
                    who: format!("token {}", token.name),
                    rights: token.rights,
                    token: Some(token.sha256),
                    ..stranger
                },
                None => stranger,
            }
        }
        // A client that sends a token gets the rights of the token only.
        Shown::Malformed => stranger,
        Shown::Nothing if address.is_loopback() && is_this_host(headers) => {
            Caller { who: "this host".to_owned(), rights: web.loopback, ..stranger }
        }
        Shown::Nothing => stranger,
    }
}

/// The content of Authorization.
enum Shown {
    /// The field is absent.
    Nothing,
    /// It has no readable secret.
    Malformed,
    Secret(String),
}

/// Reads Authorization: a bearer token (RFC 6750), or the password of a browser's dialogue
/// (RFC 7617) with any user name.
fn shown(headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Shown::Nothing };
    // Of two fields, neither counts.
    if values.next().is_some() {
        return Shown::Malformed;
    }
    let secret = || {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(rest.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(rest).ok()?;
        let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some(password.to_owned())
    };
    secret().filter(|secret| !secret.is_empty()).map_or(Shown::Malformed, Shown::Secret)
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

/// Whether a page of another site made the request, according to the browser (Fetch Metadata;
/// Origin, RFC 6454; Referer, RFC 9110 section 10.1.3). Programs send none of these fields.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    if let Some(site) = text("sec-fetch-site") {
        return site != "same-origin" && site != "none" || is_another(headers, text("origin"));
    }
    is_another(headers, text("origin").or_else(|| text("referer")))
}

/// Whether a URL, if there is one, is on another host than the request.
fn is_another(headers: &HeaderMap, url: Option<&str>) -> bool {
    let Some(url) = url else { return false };
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    own.is_none_or(|own| !host.eq_ignore_ascii_case(own))
}

/// Whether a request that a page of another site made is refused: everything but a link to a
/// page. What is for programs is not a page. Pages evaluate nothing for such a caller.
pub(super) fn is_refused_to_others(
    method: &Method,
    is_for_programs: bool,
    headers: &HeaderMap,
) -> bool {
    let is_read = method == Method::GET || method == Method::HEAD;
    // Old browsers do not send the purpose.
    let mode = headers.get("sec-fetch-mode").map(HeaderValue::as_bytes);
    let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    let is_link = mode.is_none_or(|mode| mode == b"navigate")
        && destination.is_none_or(|destination| destination == b"document");
    !is_read || is_for_programs || !is_link
}

/// Requests per second of one client network, and the largest burst.
const RATE: f64 = 50.0;
const BURST: f64 = 200.0;

/// The number of rates that are kept, with at most 200 bytes each.
const KNOWN: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The key of a rate. Strangers do not slow down health checks or clients with a token that
/// share their address, as all clients of a reverse proxy do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RateOf {
    /// New connections of a client network.
    Connections(IpAddr),
    /// Health checks of a client network.
    Health(IpAddr),
    /// A token, by its hash.
    Token([u8; 32]),
    /// Requests of a client network without a token.
    Stranger(IpAddr),
}

/// The remaining requests of each key.
pub(super) struct Rates(Mutex<LruCache<RateOf, (f64, Instant)>>);

impl Rates {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(KNOWN)))
    }

    /// Whether another request of this cost is permitted.
    pub(super) fn permit(&self, whose: RateOf, cost: f64) -> bool {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, then) = known.get_or_insert_mut(whose, || (BURST, now));
        *left = (*left + now.duration_since(*then).as_secs_f64() * RATE).min(BURST);
        *then = now;
        let permitted = *left >= cost;
        if permitted {
            *left -= cost;
        }
        permitted
    }
}

/// Creates a token: 32 random bytes as text.
///
/// # Errors
///
/// If the system has no randomness.
pub fn new_token() -> Result<String, String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no randomness".to_owned())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The SHA-256 of a token in hexadecimal digits, as in the configuration.
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
        Web { certificate: None, loopback, tokens: vec![token] }
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

    /// A field that cannot be read is a wrong token, and not none: it never has the rights of
    /// loopback.
    #[test]
    fn a_malformed_authorization_gives_no_rights() {
        let web = web(Rights::Write);
        let here = IpAddr::from([127, 0, 0, 1]);
        let of = |values: &[&[u8]]| {
            let mut headers = headers(&[("host", "localhost")]);
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            }
            caller(&web, here, &headers).rights
        };
        assert_eq!(of(&[]), Rights::Write);
        for value in [
            &b""[..],
            b" ",
            b"x",
            b"Bearer",
            b"Bearer ",
            b"Bearer\tsecret",
            b"Basic",
            b"Basic !!!",
            b"Basic c2VjcmV0",
            b"Basic Og==",
            b"Digest secret",
            b"\xff\xfe secret",
            b"Bearer \xff",
        ] {
            assert_eq!(of(&[value]), Rights::None, "{}", value.escape_ascii());
        }
        assert_eq!(of(&[b"Bearer secret", b"Bearer secret"]), Rights::None);
    }

    /// An empty secret has a hash too, which somebody may have put into a configuration.
    #[test]
    fn an_empty_secret_is_nobodys() {
        let mut web = web(Rights::None);
        web.tokens[0].sha256 = digest(&SHA256, b"").as_ref().try_into().unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        for value in ["Bearer ", "Basic Og=="] {
            let headers = headers(&[("host", "localhost"), ("authorization", value)]);
            assert_eq!(caller(&web, here, &headers).rights, Rights::None, "{value}");
        }
    }

    #[test]
    fn long_answers_end_with_the_token_that_asked() {
        let mut web = web(Rights::None);
        let headers = headers(&[("host", "192.0.2.9"), ("authorization", "Bearer secret")]);
        let asked = caller(&web, IpAddr::from([192, 0, 2, 1]), &headers);
        assert!(asked.still_may(&web, Rights::Write));
        web.tokens[0].rights = Rights::Read;
        assert!(!asked.still_may(&web, Rights::Write) && asked.still_may(&web, Rights::Read));
        web.tokens.clear();
        assert!(!asked.still_may(&web, Rights::Read));
    }

    #[test]
    fn other_sites_have_nothing_evaluated_or_changed() {
        let host = ("host", "127.0.0.1:8025");
        let of = |parts: &[(&'static str, &str)]| is_from_another_site(&headers(parts));
        assert!(!of(&[host]));
        assert!(!of(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!of(&[host, ("sec-fetch-site", "none")]));
        assert!(of(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(of(&[host, ("sec-fetch-site", "same-site")]));
        assert!(!of(&[host, ("origin", "http://127.0.0.1:8025")]));
        assert!(of(&[host, ("origin", "http://127.0.0.1:80")]));
        assert!(of(&[host, ("origin", "null")]));
        assert!(of(&[host, ("sec-fetch-site", "none"), ("origin", "https://evil.example")]));
        assert!(!of(&[host, ("referer", "http://127.0.0.1:8025/check?ip=192.0.2.1")]));
        assert!(of(&[host, ("referer", "https://evil.example/127.0.0.1:8025")]));
        assert!(of(&[host, ("referer", "https://evil.example?http://127.0.0.1:8025/")]));

        let refused = |method: Method, path: &str, parts: &[(&'static str, &str)]| {
            is_refused_to_others(&method, path.starts_with("/api/"), &headers(parts))
        };
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let frame = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        let image = [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
        assert!(!refused(Method::GET, "/record/1", &link));
        assert!(!refused(Method::GET, "/record/1", &[]));
        assert!(refused(Method::GET, "/check", &frame));
        assert!(refused(Method::GET, "/check", &image));
        assert!(refused(Method::GET, "/api/v1/explain", &link));
        assert!(refused(Method::GET, "/api/v1/explain", &[]));
        assert!(refused(Method::POST, "/act", &link));
    }

    #[test]
    fn a_client_network_has_a_rate() {
        let rates = Rates::new();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let permitted = (0..1_000).filter(|_| rates.permit(RateOf::Stranger(one), 1.0)).count();
        assert!((200..300).contains(&permitted), "{permitted}");
        for other in [RateOf::Stranger(two), RateOf::Health(one), RateOf::Token([0; 32])] {
            assert!(rates.permit(other, 1.0), "{other:?}");
        }
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
