//! The TLS handshake with a client.

use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::edge::Edge;
use super::generation::Generation;
use super::handshakes::{Cause, Peer};
use super::stream::Stream;
use super::tls::ServerTls;
use crate::smtp::session::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Does a handshake with a client; a failure is counted and recorded. A client that connects to a
/// TLS port and closes without a byte, as monitors and balancers do, is only counted.
pub(super) async fn handshake(
    stream: Stream,
    edge: &Edge,
    generation: &Generation,
    peer: Peer,
) -> Option<(Stream, Tls)> {
    let (tls, plain) = (generation.tls.as_ref()?, stream.into_plain()?);
    let shake = async {
        if peer.implicit && !matches!(plain.peek(&mut [0]).await, Ok(1)) {
            return None;
        }
        Some(TlsAcceptor::from(tls.config.clone()).accept(plain).await)
    };
    let stream = match timeout(HANDSHAKE, shake).await {
        Ok(Some(Ok(stream))) => stream,
        Ok(None) => {
            edge.handshakes.count(Cause::NothingSent);
            return None;
        }
        Ok(Some(Err(error))) => {
            edge.handshake_failed(peer, Cause::of(&error), &error.to_string());
            return None;
        }
        Err(_) => {
            let why = format!("not finished within {} s", HANDSHAKE.as_secs());
            edge.handshake_failed(peer, Cause::TimedOut, &why);
            return None;
        }
    };
    let certificate = match tls.chain(stream.get_ref().1) {
        Some(chain) => {
            let tls = tls.clone();
            edge.workers.run(peer.address, move || tls.verify(&chain)).await.flatten()
        }
        None => None,
    };
    let described = ServerTls::describe(stream.get_ref().1, certificate);
    Some((Stream::Tls(Box::new(stream.into())), described))
}
