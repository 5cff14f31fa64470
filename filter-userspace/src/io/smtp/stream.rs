//! A connection, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection to a client or a backend.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The TCP connection, for the start of TLS.
    pub(super) fn into_plain(self) -> Option<TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// The local address and the peer's.
    pub(super) fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        Some((stream.local_addr().ok()?, stream.peer_addr().ok()?))
    }

    /// Whether the peer has reset the connection, so that it receives nothing any more; true only
    /// once.
    pub(super) fn is_reset(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        !matches!(stream.take_error(), Ok(None))
    }

    /// Sends a few last bytes if that is possible without waiting.
    pub(super) fn say_at_once(&self, bytes: &[u8]) {
        if let Self::Plain(stream) = self {
            _ = stream.try_write(bytes);
        }
    }

    /// Writes pending bytes and flushes TLS; `unflushed` tells whether TLS still holds some.
    pub(super) fn poll_send(
        &mut self,
        bytes: &[u8],
        unflushed: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if !bytes.is_empty() {
            let written = Pin::new(&mut *self).poll_write(cx, bytes);
            if let Poll::Ready(Ok(0)) = written {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *unflushed |= written.is_ready() && matches!(self, Self::Tls(_));
            return written;
        }
        if *unflushed {
            *unflushed = match Pin::new(self).poll_flush(cx) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => true,
            };
        }
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
