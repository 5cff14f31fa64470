//! Connections: how many, how long, with TLS or without; and what every request
//! passes before it is answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::access::{self, Rates};
use super::error::Turned;
use super::{Site, api, assets, metrics, openapi, pages};
use crate::config::web::{Rights, Web};
use crate::io::smtp::with_certificate;

/// Connections at once; those beyond wait.
const CONNECTIONS: usize = 256;

/// How long a client may take for TLS, and for the header of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection lasts.
const LONGEST: Duration = Duration::from_secs(600);

/// The most bytes of a request's header.
const HEADER: usize = 32 * 1024;

/// The most bytes of a request's body.
const BODY: usize = 64 * 1024;

/// Sockets that are listened on.
pub struct Listeners {
    sockets: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
}

/// Listens on every address.
///
/// # Errors
///
/// When one cannot be had, or a certificate cannot be loaded.
pub async fn bind(web: &Web) -> Result<Listeners> {
    let tls = web.certificate.as_ref().map(with_certificate).transpose();
    let tls = tls.map_err(|error| anyhow::anyhow!("web.chain: {error}"))?;
    let mut sockets = Vec::new();
    for address in &web.listen {
        let socket = TcpListener::bind(address).await;
        sockets.push(socket.with_context(|| format!("web.listen: cannot listen on {address}"))?);
    }
    Ok(Listeners { sockets, tls })
}

impl Listeners {
    /// Serves all of them, as long as the runtime goes on.
    pub fn serve(self, site: Site) {
        let router = router(Arc::new(site));
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        for socket in self.sockets {
            tokio::spawn(accept(socket, self.tls.clone(), router.clone(), slots.clone()));
        }
    }
}

async fn accept(
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    slots: Arc<Semaphore>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        // A slot first: who finds none waits in the kernel's backlog.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the page accepts nobody at the moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        _ = stream.set_nodelay(true);
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let work = async move {
                match acceptor {
                    None => converse(stream, peer, router).await,
                    Some(acceptor) => {
                        let shaken = tokio::time::timeout(PATIENCE, acceptor.accept(stream));
                        if let Ok(Ok(stream)) = shaken.await {
                            converse(stream, peer, router).await;
                        }
                    }
                }
            };
            _ = tokio::time::timeout(LONGEST, work).await;
            drop(slot);
        });
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(axum::Extension(Address(peer.ip())));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEADER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the page broke");
    }
}

/// Where a client is.
#[derive(Clone, Copy)]
struct Address(IpAddr);

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

/// What answers without a token, off loopback too: it says nothing but that it is there.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// What every request passes.
async fn pass(
    State(gate): State<Gate>,
    axum::Extension(Address(address)): axum::Extension<Address>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&gate, address, &mut request) {
        Ok(()) => next.run(request).await,
        Err(turned) => turned.into_response(),
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

fn admit(gate: &Gate, address: IpAddr, request: &mut Request) -> Result<(), Turned> {
    let caller = access::caller(&gate.site.web, address, request.headers());
    // Guessing tokens is dearer than asking.
    let is_guess = !caller.has_token && request.headers().contains_key(header::AUTHORIZATION);
    if !gate.rates.permit(caller.address, if is_guess { 20.0 } else { 1.0 }) {
        return Err(Turned::TooMany);
    }
    if !OPEN.contains(&request.uri().path()) {
        let is_read = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        let needed = if is_read { Rights::Read } else { Rights::Write };
        if caller.rights < needed {
            return Err(if caller.has_token { Turned::NoRight } else { Turned::NoToken });
        }
        if access::is_from_another_site(request.method(), request.headers()) {
            return Err(Turned::AnotherSite);
        }
    }
    request.extensions_mut().insert(caller);
    Ok(())
}
