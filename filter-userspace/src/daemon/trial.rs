//! The trial's listener: something behind the filter that says it was reached.
//!
//! It carries no mail. It greets and closes, so that anyone who tries the filter
//! sees by one connection whether a SYN was admitted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const GREETING: &[u8] = b"220 mxdp trial: this SYN was admitted\r\n\
    421 4.3.2 the trial has no mail system behind it\r\n";

/// Connections at once.
const CONNECTIONS: usize = 256;

/// How long a client may take to read two lines.
const TIME: Duration = Duration::from_secs(5);

/// Listens on `port`: where nothing but loopback is filtered, on 127.0.0.1 alone,
/// and else on every address.
pub(super) async fn bind(interfaces: &[String], port: u16) -> io::Result<TcpListener> {
    let address: IpAddr = if interfaces.iter().all(|interface| interface == "lo") {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    TcpListener::bind(SocketAddr::new(address, port)).await
}

/// Greets whoever connects, until the runtime ends.
pub(super) async fn serve(listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, address)) => {
                tracing::info!(client = %address.ip().to_canonical(), "connected to the trial");
                tokio::spawn(async move {
                    _ = tokio::time::timeout(TIME, greet(client)).await;
                    drop(place);
                });
            }
            // Out of descriptors, for instance: wait for some to be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn greet(mut client: TcpStream) -> io::Result<()> {
    client.write_all(GREETING).await?;
    client.shutdown().await
}
