//! A client's connections, as a transcript leads them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::netns::{Namespace, connect};

/// How long a connection is waited for that is to be dropped.
const DROPPED: Duration = Duration::from_millis(400);

/// How long one is waited for that is to be admitted.
const ADMITTED: Duration = Duration::from_secs(5);

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

/// A connection to the server.
pub struct Dialogue {
    wire: Wire,
    came: Vec<u8>,
}

/// Whether a SYN is left unanswered.
#[must_use]
pub fn is_dropped(namespace: &Namespace, source: IpAddr, target: SocketAddr) -> bool {
    let connected = namespace.run(|| connect(source, target, DROPPED));
    matches!(connected, Err(error) if [ErrorKind::TimedOut, ErrorKind::WouldBlock].contains(&error.kind()))
}

impl Dialogue {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When that fails, and why.
    pub fn open(namespace: &Namespace, source: IpAddr, target: SocketAddr) -> Result<Self, String> {
        let socket = namespace.run(|| connect(source, target, ADMITTED));
        let socket = socket.map_err(|error| format!("no connection: {error}"))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { wire: Wire::Plain(stream), came: Vec::new() })
    }

    /// Sends; a peer that has gone away is not an error.
    pub fn send(&mut self, bytes: &[u8]) {
        _ = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Gone => Ok(()),
        };
    }

    /// Sends as much as the socket accepts at once, and returns its length.
    ///
    /// # Panics
    ///
    /// When the connection is not a plain one.
    pub fn send_what_fits(&mut self, bytes: &[u8]) -> usize {
        let Wire::Plain(stream) = &mut self.wire else { panic!("no plain connection") };
        stream.set_nonblocking(true).expect("an option");
        let mut sent = 0;
        while let Ok(count @ 1..) = stream.write(&bytes[sent..]) {
            sent += count;
        }
        stream.set_nonblocking(false).expect("an option");
        sent
    }

    /// Sends a line, and gives the last line of the reply.
    ///
    /// # Errors
    ///
    /// What came instead.
    pub fn say(&mut self, line: &str) -> Result<String, String> {
        self.send(format!("{line}\r\n").as_bytes());
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// The same, where nothing else may come.
    ///
    /// # Panics
    ///
    /// When something else comes.
    pub fn told(&mut self, line: &str) -> String {
        self.say(line).unwrap_or_else(|came| panic!("{line}: {came}"))
    }

    /// The next line, without its CRLF.
    ///
    /// # Errors
    ///
    /// What came instead.
    pub fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.came.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.came.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                return match line.strip_suffix("\r\n") {
                    Some(line) => Ok(line.to_owned()),
                    None => Err(format!("a line without CRLF: {line:?}")),
                };
            }
            if self.read()? == 0 {
                return Err("-- closed --".to_owned());
            }
        }
    }

    /// Whether the next line starts like this; the line is not consumed.
    ///
    /// # Errors
    ///
    /// What came instead of a line.
    pub fn next_starts_with(&mut self, start: &str) -> Result<bool, String> {
        while !self.came.contains(&b'\n') {
            if self.read()? == 0 {
                return Err("-- closed --".to_owned());
            }
        }
        Ok(self.came.starts_with(start.as_bytes()))
    }

    /// Whether the server closes without another word.
    ///
    /// # Errors
    ///
    /// Its reply or action instead.
    pub fn closed(&mut self) -> Result<(), String> {
        if self.came.is_empty() && self.read()? == 0 {
            return Ok(());
        }
        self.line().and_then(|line| Err(format!("S: {line}")))
    }

    /// Closes.
    pub fn hang_up(&mut self) {
        self.wire = Wire::Gone;
    }

    /// The TLS handshake. The server must be `mx.example.org` by the authority in
    /// `folder`.
    ///
    /// # Errors
    ///
    /// When it fails, and why.
    pub fn handshake(
        &mut self,
        folder: &Path,
        certificate: Option<&str>,
        old: bool,
    ) -> Result<(), String> {
        if !self.came.is_empty() {
            return Err(format!("bytes before TLS: {:?}", String::from_utf8_lossy(&self.came)));
        }
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err("no plain connection".to_owned());
        };
        let config = client(folder, certificate, old);
        let name = ServerName::try_from("mx.example.org").map_err(|error| error.to_string())?;
        let connection =
            ClientConnection::new(config, name).map_err(|error| format!("TLS: {error}"))?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| format!("TLS: {error}"))?;
        }
        self.wire = Wire::Tls(Box::new(stream));
        Ok(())
    }

    fn read(&mut self) -> Result<usize, String> {
        let mut buffer = [0; 4096];
        let result = loop {
            let result = match &mut self.wire {
                Wire::Plain(stream) => stream.read(&mut buffer),
                Wire::Tls(stream) => stream.read(&mut buffer),
                Wire::Gone => Ok(0),
            };
            // A read with a time-out is interrupted where the machine was held up, too.
            if !result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
                break result;
            }
        };
        match result {
            Ok(count) => {
                self.came.extend_from_slice(&buffer[..count]);
                Ok(count)
            }
            Err(error) => match error.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => Err("-- nothing --".to_owned()),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Ok(0),
                _ => Err(error.to_string()),
            },
        }
    }
}

fn client(folder: &Path, certificate: Option<&str>, old: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(folder.join("authority.pem"));
    roots.add(authority.expect("the authority")).expect("an authority");
    let versions: &[_] = if old { &[&rustls::version::TLS12] } else { rustls::DEFAULT_VERSIONS };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::from_pem_file(folder.join(format!("{name}.pem")));
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")));
            let (chain, key) = (chain.expect("a certificate"), key.expect("a key"));
            builder.with_client_auth_cert(vec![chain], key).expect("a client certificate")
        }
    };
    Arc::new(config)
}
