//! Connections: how many, how long, with TLS or without; and what every request
//! passes before it is answered.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
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
use super::{api, assets, metrics, openapi, pages};
use crate::config::web::{Rights, Web};
use crate::io::networks::network;
use crate::io::places::{Activity, Bounds, Place, Places, Watched};
use crate::io::ports::CannotListen;

/// Connections at once from other hosts: of all, and of one client network.
const OUTSIDE: Bounds = Bounds { total: 192, each: 32, greedy: usize::MAX };

/// Connections at once from this host, which others cannot take.
const HERE: Bounds = Bounds { total: 64, each: 48, greedy: usize::MAX };

/// How long a client may take for TLS, for the header of a request, and for its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long no byte may move, while no request is being answered: a client that does not
/// read, or keeps a connection for nothing. A search takes less.
const STILL: Duration = Duration::from_secs(30);

/// How long a connection lasts.
const LONGEST: Duration = Duration::from_secs(600);

/// The most bytes of a request's header.
const HEADER: usize = 32 * 1024;

/// The most bytes of a request's body.
const BODY: usize = 64 * 1024;

/// What the kernel may hold of answers that a client does not read.
const SEND_BUFFER: u32 = 128 * 1024;

/// Sockets that are listened on.
pub struct Listeners {
    sockets: Vec<TcpListener>,
}

/// Listens on every address.
///
/// # Errors
///
/// When one cannot be had.
pub async fn bind(web: &Web) -> Result<Listeners> {
    let mut sockets = Vec::new();
    for address in &web.listen {
        let socket = TcpListener::bind(address).await;
        let socket = socket.map_err(|error| CannotListen::new("web.listen", *address, error))?;
        sockets.push(socket);
    }
    Ok(Listeners { sockets })
}

impl Listeners {
    /// Serves all of them, as long as the runtime goes on.
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

/// What stands in front of all sockets.
struct Front {
    router: Router,
    site: Arc<Site>,
    /// Of new connections.
    rates: Rates,
    outside: Arc<Places<IpAddr>>,
    here: Arc<Places<IpAddr>>,
}

async fn accept(socket: TcpListener, front: Arc<Front>) {
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the console accepts nobody at the moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let client = network(peer.ip());
        let is_here = client.is_loopback();
        if !is_here && !front.rates.permit(RateOf::Connections(client), 1.0) {
            continue;
        }
        _ = stream.set_nodelay(true);
        _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER as usize);
        // A place is always given: a connection that stands still ends for it.
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
                // A reload changed who may do what, or the certificate: the request that is
                // being answered is the last of this connection.
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

/// Where a client is, and what its connection does.
#[derive(Clone)]
struct Client {
    address: IpAddr,
    activity: Arc<Activity>,
}

/// What the gate needs.
#[derive(Clone)]
struct Gate {
    site: Arc<Site>,
    rates: Arc<Rates>,
}

fn router(site: Arc<Site>) -> Router {
    let gate = Gate { site: site.clone(), rates: Arc::new(Rates::new()) };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(metrics::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::document))
        .merge(assets::routes())
        .nest("/api/v1", api::routes())
        .merge(pages::routes())
        .fallback(pages::not_found)
        .layer(axum::extract::DefaultBodyLimit::max(BODY))
        .with_state(site)
        .layer(middleware::from_fn_with_state(gate, pass))
}

/// The paths that answer without a token, off loopback too: they report only that mxdp is there.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The checks that every request passes.
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

/// What every answer says: nothing of it is for other sites, and nothing of other
/// hosts is in it.
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

/// The request with all of its body, which has to come within its time.
async fn whole(request: Request) -> Result<Request, Rejected> {
    let (parts, body) = request.into_parts();
    let collect = async {
        let mut bytes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            // Of a client that broke off nobody reads the answer.
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
    let client = network(caller.address);
    // Guessing tokens is dearer than asking.
    let is_guess = caller.token.is_none() && request.headers().contains_key(header::AUTHORIZATION);
    let whose = match caller.token {
        Some(hash) => RateOf::Token(hash),
        None if !is_guess && OPEN.contains(&path) => RateOf::Health(client),
        None => RateOf::Stranger(client),
    };
    if !gate.rates.permit(whose, if is_guess { 20.0 } else { 1.0 }) {
        return reject(Rejection::TooMany);
    }
    if !OPEN.contains(&path) {
        let is_read = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        let needed = if is_read { Rights::Read } else { Rights::Write };
        if caller.rights < needed {
            return reject(if caller.token.is_some() {
                Rejection::NoRight
            } else {
                Rejection::NoToken
            });
        }
        if caller.is_from_elsewhere
            && access::is_refused_to_others(request.method(), path, request.headers())
        {
            return reject(Rejection::AnotherSite);
        }
    }
    request.extensions_mut().insert(caller);
    Ok(())
}
