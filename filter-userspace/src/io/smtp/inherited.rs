//! Sockets that the service manager listens on for this process, so that the ports stay open while
//! one daemon replaces another.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Socket, Type};

/// The sockets that were handed over and are not taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Handed>);

#[derive(Debug)]
struct Handed {
    socket: Socket,
    address: SocketAddr,
    /// Its name in the unit (`FileDescriptorName=`).
    name: String,
}

impl Inherited {
    /// Checks the sockets that were handed over.
    ///
    /// # Errors
    ///
    /// When one of them is not a listening TCP socket, or is an IPv6 socket that accepts IPv4 as
    /// well.
    pub fn new(sockets: Vec<(OwnedFd, String)>) -> Result<Self> {
        let look = |(socket, name): (OwnedFd, String)| {
            let context = format!("the socket {name} of the service manager");
            Handed::new(Socket::from(socket), name).context(context)
        };
        sockets.into_iter().map(look).collect::<Result<_>>().map(Self)
    }

    /// The socket that listens on `address`.
    ///
    /// # Errors
    ///
    /// When the system refuses to make it non-blocking.
    pub(super) fn take(&mut self, address: SocketAddr) -> Result<Option<TcpListener>> {
        let Some(index) = self.0.iter().position(|handed| handed.address == address) else {
            return Ok(None);
        };
        let Handed { socket, .. } = self.0.swap_remove(index);
        socket.set_nonblocking(true).with_context(|| format!("the socket for {address}"))?;
        Ok(Some(socket.into()))
    }

    /// Must be called when every address has its listener.
    ///
    /// # Errors
    ///
    /// When a socket is left: connections to it would wait forever.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let left = self.0.iter().map(|handed| format!("{} ({})", handed.address, handed.name));
        bail!(
            "the service manager listens on {}, and no listen.* of the configuration names it; \
             ListenStream= in mxdp.socket and listen.* must be the same",
            left.collect::<Vec<_>>().join(", ")
        );
    }
}

impl Handed {
    fn new(socket: Socket, name: String) -> Result<Self> {
        let listens = socket.r#type().is_ok_and(|of| of == Type::STREAM)
            && getsockopt(&socket.as_fd(), sockopt::AcceptConn).unwrap_or(false);
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        let Some(address) = address.filter(|_| listens) else {
            bail!("is no listening TCP socket; mxdp.socket needs ListenStream=ADDRESS:PORT");
        };
        if address.is_ipv6() && address.ip().is_unspecified() {
            let only = socket.only_v6().context("IPV6_V6ONLY")?;
            ensure!(
                only,
                "on {address} takes IPv4 as well; mxdp.socket needs BindIPv6Only=ipv6-only, and \
                 ListenStream=0.0.0.0:{} for IPv4",
                address.port()
            );
        }
        Ok(Self { socket, address, name })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use socket2::Domain;

    use super::*;

    fn handed(name: &str, socket: impl Into<OwnedFd>) -> (OwnedFd, String) {
        (socket.into(), name.to_owned())
    }

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn a_socket_is_found_by_its_address_and_once() {
        let (first, second) = (listener(), listener());
        let address = second.local_addr().unwrap();
        let sockets = vec![handed("a", first), handed("b", second)];
        let mut inherited = Inherited::new(sockets).unwrap();
        assert_eq!(inherited.take(address).unwrap().unwrap().local_addr().unwrap(), address);
        assert!(inherited.take(address).unwrap().is_none());
    }

    #[test]
    fn one_that_is_left_is_named() {
        let socket = listener();
        let address = socket.local_addr().unwrap();
        let error = Inherited::new(vec![handed("mx", socket)]).unwrap().finish().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("{address} (mx)")) && text.contains("listen.*"), "{text}");
        Inherited::default().finish().unwrap();
    }

    #[test]
    fn what_is_no_listening_tcp_socket_is_refused() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = format!("{:#}", Inherited::new(vec![handed("u", udp)]).unwrap_err());
        assert!(error.contains("the socket u") && error.contains("ListenStream"), "{error}");
        let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(Inherited::new(vec![handed("s", unbound)]).is_err());
    }

    #[test]
    fn one_for_both_families_is_refused() {
        let both = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        both.set_only_v6(false).unwrap();
        let any: SocketAddr = "[::]:0".parse().unwrap();
        both.bind(&any.into()).unwrap();
        both.listen(1).unwrap();
        let error = format!("{:#}", Inherited::new(vec![handed("both", both)]).unwrap_err());
        assert!(error.contains("BindIPv6Only=ipv6-only"), "{error}");
    }
}
