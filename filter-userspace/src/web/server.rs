//! Connections, with TLS or without, and their limits; and the gate that every request passes.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::access::{self, RateOf, Rates};
use super::error::Rejection;
use super::site::Site;
use super::{assets, endpoints, pages};
use crate::config::web::Rights;
use crate::io::places::{Activity, Bounds, Place, Places, Watched};
use crate::io::ports::CannotListen;
use crate::lists::ClientNetwork;

/// Concurrent connections from other hosts: of all, and of one client network.
const OUTSIDE: Bounds = Bounds { total: 192, each: 32, greedy: usize::MAX };

/// Concurrent connections from this host, which other hosts cannot use up.
const HERE: Bounds = Bounds { total: 64, each: 48, greedy: usize::MAX };

/// How long a TLS handshake, the header of a request and its body may take, each.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long no byte may move while no request is being answered: the client does not read,
/// or keeps an unused connection. A search takes less.
const STILL: Duration = Duration::from_secs(30);

/// The maximum duration of a connection.
const LONGEST: Duration = Duration::from_secs(600);

/// The maximum size of a request's header, in bytes.
const HEADER: usize = 32 * 1024;

/// The maximum size of a request's body, in bytes.
const BODY: usize = 64 * 1024;

/// The bytes of responses that the kernel buffers for a client that does not read them.
const SEND_BUFFER: u32 = 128 * 1024;

/// Sockets that are listened on.
pub struct Listeners {
    sockets: Vec<TcpListener>,
}

/// Listens on every address.
///
/// # Errors
///
/// If one of them is not available.
pub async fn bind(listen: &[SocketAddr]) -> Result<Listeners> {
    let mut sockets = Vec::new();
    for address in listen {
        let socket = TcpListener::bind(address).await;
        let socket = socket.map_err(|error| CannotListen::new("web.listen", *address, error))?;
        sockets.push(socket);
    }
    Ok(Listeners { sockets })
}

impl Listeners {
    /// Serves all of them, as long as the runtime runs.
    pub fn serve(self, site: Site) {
        let site = Arc::new(site);
        let front = Arc::new(Front {
            router: router(site.clone()),
            site,
            rates: Rates::new(),
            outside: Places::new(OUTSIDE),
            here: Places::new(HERE),
        });
        for socket in self.sockets {
            tokio::spawn(accept(socket, front.clone()));
        }
    }
}

/// What all sockets share.
struct Front {
    router: Router,
    site: Arc<Site>,
    /// The rates of new connections.
    rates: Rates,
    outside: Arc<Places<IpAddr>>,
    here: Arc<Places<IpAddr>>,
}

async fn accept(socket: TcpListener, front: Arc<Front>) {
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the console cannot accept connections at the moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let client = ClientNetwork::of(peer.ip()).first();
        let is_here = client.is_loopback();
        if !is_here && !front.rates.permit(RateOf::Connections(client), 1.0) {
            continue;
        }
        _ = stream.set_nodelay(true);
        _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER as usize);
        // There is always a slot: an idle connection ends for it.
        let place = if is_here { &front.here } else { &front.outside }.enter(client);
        let front = front.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = timeout(LONGEST, serve(stream, peer, &front, &place)) => {}
                () = place.taken() => {}
                () = place.activity.stands_still(STILL) => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, front: &Front, place: &Place<IpAddr>) {
    let stream = Watched::new(stream, place.activity.clone());
    let tls = front.site.rules().tls.clone();
    match tls.map(TlsAcceptor::from) {
        None => converse(stream, peer, front, place).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await {
                converse(stream, peer, front, place).await;
            }
        }
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, front: &Front, place: &Place<IpAddr>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = Client { address: peer.ip(), activity: place.activity.clone() };
    let router = front.router.clone().layer(axum::Extension(client));
    let mut rules = front.site.rules.clone();
    rules.mark_unchanged();
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEADER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let mut ends = false;
    let outcome = loop {
        tokio::select! {
            outcome = served.as_mut() => break outcome,
            changed = rules.changed(), if !ends => {
                // A reload changed the rights or the certificate: the current request is the
                // last of this connection.
                ends = true;
                if changed.is_ok() {
                    served.as_mut().graceful_shutdown();
                }
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection to the console broke");
    }
}

/// The address of a client, and the activity of its connection.
#[derive(Clone)]
struct Client {
    address: IpAddr,
    activity: Arc<Activity>,
}

/// The state of the gate.
#[derive(Clone)]
struct Gate {
    site: Arc<Site>,
    rates: Arc<Rates>,
}

fn router(site: Arc<Site>) -> Router {
    let gate = Gate { site: site.clone(), rates: Arc::new(Rates::new()) };
    Router::new()
        .merge(endpoints::routes())
        .merge(assets::routes())
        .merge(pages::routes())
        .fallback(pages::not_found)
        .layer(axum::extract::DefaultBodyLimit::max(BODY))
        .with_state(site)
        .layer(middleware::from_fn_with_state(gate, pass))
}

/// Every request passes this.
async fn pass(
    State(gate): State<Gate>,
    axum::Extension(client): axum::Extension<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = match admit(&gate, client.address, &mut request) {
        Ok(()) => whole(request).await,
        Err(rejection) => Err(rejection),
    };
    let mut response = match admitted {
        Ok(request) => {
            client.activity.set_working(true);
            let response = next.run(request).await;
            client.activity.set_working(false);
            response
        }
        Err((rejection, true)) => pages::rejected(rejection),
        Err((rejection, false)) => rejection.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The header fields of every response: no other site may use it, and it loads nothing from
/// other hosts.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Why a request is rejected, and whether a person reads it.
type Rejected = (Rejection, bool);

/// The request with its whole body, which must arrive in time.
async fn whole(request: Request) -> Result<Request, Rejected> {
    let (parts, body) = request.into_parts();
    let collect = async {
        let mut bytes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            // Nobody reads the response to a client that broke off.
            let piece = piece.map_err(|_| Rejection::TooSlow)?;
            if bytes.len() + piece.len() > BODY {
                return Err(Rejection::TooLarge);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    let collected = timeout(PATIENCE, collect).await.unwrap_or(Err(Rejection::TooSlow));
    let bytes = collected.map_err(|rejection| (rejection, false))?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn admit(gate: &Gate, address: IpAddr, request: &mut Request) -> Result<(), Rejected> {
    let rules = gate.site.rules();
    let caller = access::caller(&rules.web, address, request.headers());
    let path = request.uri().path();
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_read_by_people = accepts.is_some_and(|accept| accept.contains("text/html"));
    let reject = |rejection| Err((rejection, is_read_by_people));
    let client = ClientNetwork::of(caller.address).first();
    // A wrong token costs more than a request without one.
    let is_guess = caller.token.is_none() && request.headers().contains_key(header::AUTHORIZATION);
    let whose = match caller.token {
        Some(hash) => RateOf::Token(hash),
        None if !is_guess && endpoints::is_open(path) => RateOf::Health(client),
        None => RateOf::Stranger(client),
    };
    if !gate.rates.permit(whose, if is_guess { 20.0 } else { 1.0 }) {
        return reject(Rejection::TooMany);
    }
    let needed = endpoints::rights(request.method(), path);
    if caller.rights < needed {
        let has_token = caller.token.is_some();
        return reject(if has_token { Rejection::NoRight } else { Rejection::NoToken });
    }
    if needed > Rights::None
        && caller.is_from_elsewhere
        && access::is_refused_to_others(
            request.method(),
            endpoints::is_for_programs(path),
            request.headers(),
        )
    {
        return reject(Rejection::AnotherSite);
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::Method;
    use hyper::service::Service as _;
    use serde_json::Value;

    use super::*;
    use crate::config::web::{Token, Web};
    use crate::control::protocol::{Failure, FailureKind};
    use crate::web::endpoints::ENDPOINTS;
    use crate::web::pages::PAGES;
    use crate::web::sha256_hex;
    use crate::web::site::answering;

    type Fields = &'static [(&'static str, &'static str)];

    const READER: (&str, &str) = ("authorization", "Bearer reader");
    const WRITER: (&str, &str) = ("authorization", "Bearer writer");

    /// A console in front of a daemon that fails every request, for a client outside.
    struct Console {
        router: Router,
        address: IpAddr,
    }

    impl Console {
        fn new(address: IpAddr, loopback: Rights) -> Self {
            let token = |name: &str, rights| {
                let digits = sha256_hex(name);
                let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
                Token { name: name.to_owned(), rights, sha256: std::array::from_fn(byte) }
            };
            let tokens = vec![token("reader", Rights::Read), token("writer", Rights::Write)];
            let web = Web { certificate: None, loopback, tokens };
            let site = answering(&web, |incoming| {
                let message = "no daemon".to_owned();
                incoming.answer::<()>(Err(Failure { kind: FailureKind::System, message }));
            });
            let activity = Places::new(OUTSIDE).enter(address).activity.clone();
            let client = Client { address, activity };
            let router = router(Arc::new(site)).layer(axum::Extension(client));
            Self { router, address }
        }

        /// The status of a reply; `passes` if neither rights nor the method stop it.
        async fn ask(&self, method: &Method, path: &str, fields: &[(&str, &str)]) -> &'static str {
            let path = path.replace("{list}", "blocked").replace("{id}", "7");
            let mut request = Request::builder().method(method).uri(&path).header("host", "[::1]");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let service = TowerToHyperService::new(self.router.clone());
            let response = service.call(request.body(Body::empty()).unwrap()).await.unwrap();
            match response.status().as_u16() {
                401 => "no token",
                403 => "forbidden",
                404 => "no such path",
                405 => "no such method",
                429 => panic!("too many requests of {}", self.address),
                _ => "passes",
            }
        }
    }

    /// Every row of both tables and every asset, with the right that it must need.
    fn rows() -> Vec<(Method, &'static str, Rights, bool)> {
        let programs = ENDPOINTS.iter().map(|row| {
            let rights = match (row.path, &row.method) {
                ("/healthz" | "/readyz", _) => Rights::None,
                (_, &Method::GET) => Rights::Read,
                _ => Rights::Write,
            };
            (row.method.clone(), row.path, rights, true)
        });
        let pages = PAGES.iter().map(|page| (Method::GET, page.path, Rights::Read, false));
        let act = [(Method::POST, "/act", Rights::Write, false)];
        let assets = ["/style.css", "/script.js", "/icon.svg", "/favicon.ico"];
        let assets = assets.map(|path| (Method::GET, path, Rights::Read, false));
        programs.chain(pages).chain(act).chain(assets).collect()
    }

    fn outside() -> Console {
        Console::new(IpAddr::from([192, 0, 2, 1]), Rights::Write)
    }

    #[tokio::test]
    async fn each_row_needs_its_right_and_no_other() {
        let console = outside();
        for (method, path, rights, _) in rows() {
            let at = format!("{method} {path}");
            let expected = if rights == Rights::None { "passes" } else { "no token" };
            assert_eq!(console.ask(&method, path, &[]).await, expected, "{at}");
            let expected = if rights == Rights::Write { "forbidden" } else { "passes" };
            assert_eq!(console.ask(&method, path, &[READER]).await, expected, "{at}");
            assert_eq!(console.ask(&method, path, &[WRITER]).await, "passes", "{at}");
        }
    }

    #[tokio::test]
    async fn this_host_has_the_rights_of_the_configuration_alone() {
        let here = IpAddr::from([127, 0, 0, 1]);
        for given in [Rights::None, Rights::Read, Rights::Write] {
            let console = Console::new(here, given);
            for (method, path, rights, _) in rows() {
                let passes = console.ask(&method, path, &[]).await == "passes";
                assert_eq!(passes, given >= rights, "{given:?}: {method} {path}");
            }
        }
    }

    /// A method that a row does not have, and a path without a row, are closed.
    #[tokio::test]
    async fn what_is_in_no_row_is_closed() {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let mut known: BTreeMap<&str, Vec<Method>> = BTreeMap::new();
        for (method, path, ..) in rows() {
            known.entry(path).or_default().push(method);
        }
        for forgotten in ["/forgotten", "/api/v1/forgotten", "/api/v1", "/api/v2/status"] {
            known.insert(forgotten, Vec::new());
        }
        for (path, has) in known {
            let console = outside();
            let is_open = ["/healthz", "/readyz"].contains(&path);
            for method in methods.iter().filter(|method| !has.contains(method)) {
                let at = format!("{method} {path}");
                let expected = if is_open { "no such method" } else { "no token" };
                assert_eq!(console.ask(method, path, &[]).await, expected, "{at}");
                if !is_open && *method != Method::GET {
                    assert_eq!(console.ask(method, path, &[READER]).await, "forbidden", "{at}");
                }
                let expected = if has.is_empty() { "no such path" } else { "no such method" };
                assert_eq!(console.ask(method, path, &[WRITER]).await, expected, "{at}");
            }
        }
    }

    /// A page of another site can make a browser that knows the token follow a link to a page,
    /// and nothing else.
    #[tokio::test]
    async fn another_site_can_only_link_to_pages() {
        let cross = ("sec-fetch-site", "cross-site");
        let link: Fields = &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let script: Fields = &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")];
        for (method, path, rights, is_program) in rows() {
            let at = format!("{method} {path}");
            let console = outside();
            for (fields, may) in [(link, method == Method::GET && !is_program), (script, false)] {
                let fields: Vec<_> = [WRITER, cross].into_iter().chain(fields.to_vec()).collect();
                let expected = if may || rights == Rights::None { "passes" } else { "forbidden" };
                assert_eq!(console.ask(&method, path, &fields).await, expected, "{at}");
            }
            let other = [WRITER, ("origin", "https://evil.example")];
            let expected = if is_program && rights > Rights::None || method != Method::GET {
                "forbidden"
            } else {
                "passes"
            };
            assert_eq!(console.ask(&method, path, &other).await, expected, "{at}");
        }
    }

    /// The committed description has every route, and every path in it answers.
    #[tokio::test]
    async fn the_description_has_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let text = std::fs::read_to_string(path).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let described = document["paths"].as_object().unwrap();
        let mut count = 0;
        for (path, methods) in described {
            let console = outside();
            for method in ["get", "post", "put", "patch", "delete"] {
                let is_described = methods.get(method).is_some();
                let known = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let expected = if is_described { "passes" } else { "no such method" };
                assert_eq!(console.ask(&known, path, &[WRITER]).await, expected, "{method} {path}");
                count += usize::from(is_described);
            }
        }
        assert_eq!(count, ENDPOINTS.len());
    }
}
