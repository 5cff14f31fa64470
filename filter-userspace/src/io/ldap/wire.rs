//! The connection to a directory: TCP, TLS or a socket, checked by the [`Guard`].

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::guard::Guard;

/// The size of a read.
const READ: usize = 16 * 1024;

/// The request to start TLS, as message 1 (RFC 4511 section 4.14.1).
const STARTTLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// The longest answer to it.
const ANSWER: usize = 4096;

/// A byte stream to a directory, over any transport.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Connects to the server of a URL; with TLS if there is a configuration for it.
///
/// # Errors
///
/// In words, when it cannot be reached, or TLS fails.
pub(super) async fn connect(
    url: &str,
    starttls: bool,
    tls: Option<ClientConfig>,
) -> Result<Box<dyn Wire>> {
    if let Some(path) = url.strip_prefix("ldapi://") {
        let path = decoded(path).ok_or_else(|| anyhow!("the path of the socket is not UTF-8"))?;
        return Ok(Box::new(UnixStream::connect(path).await.map_err(wrong)?));
    }
    let (host, port) = host_and_port(url)?;
    let mut stream = TcpStream::connect((host, port)).await.map_err(wrong)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    if starttls {
        start_tls(&mut stream).await?;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| anyhow!("{host}: {error}"))?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(wrong)?;
    Ok(Box::new(stream))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn wrong(error: io::Error) -> anyhow::Error {
    anyhow!("I/O error: {error}")
}

/// The host, without the brackets of an IPv6 address, and the port.
fn host_and_port(url: &str) -> Result<(&str, u16)> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let usual = if scheme == "ldaps" { 636 } else { 389 };
    let port = |text: &str| text.parse().map_err(|_| anyhow!("`{text}` is no port"));
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner
                .split_once(']')
                .ok_or_else(|| anyhow!("`{authority}` lacks the bracket that closes it"))?;
            (host, rest.strip_prefix(':').map_or(Ok(usual), port)?)
        }
        None => match authority.rsplit_once(':') {
            Some((host, text)) => (host, port(text)?),
            None => (authority, usual),
        },
    };
    Ok((if host.is_empty() { "localhost" } else { host }, port))
}

/// Text with its `%2F` and the like decoded (RFC 3986 section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Requests TLS from the server, and waits until it agrees.
async fn start_tls(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(STARTTLS).await.map_err(wrong)?;
    let mut answer = Vec::new();
    loop {
        let byte = stream.read_u8().await.map_err(wrong)?;
        answer.push(byte);
        ensure!(answer.len() <= ANSWER, "the answer to STARTTLS is too long");
        // Byte by byte, since TLS begins right behind it.
        if let Some(code) = result(&answer)? {
            ensure!(code == 0, "the server does not start TLS: result code {code}");
            return Ok(());
        }
    }
}

/// The result code of an extended response (RFC 4511 section 4.12), once it has arrived whole.
fn result(message: &[u8]) -> Result<Option<u8>> {
    let malformed = || anyhow!("the answer to STARTTLS is malformed");
    let Some((0x30, contents)) = element(message) else {
        ensure!(message[0] == 0x30, malformed());
        return Ok(None);
    };
    let (tag, id) = element(contents).ok_or_else(malformed)?;
    ensure!(tag == 0x02 && id.len() <= 4, malformed());
    let behind = contents.get(2 + id.len()..).ok_or_else(malformed)?;
    let (tag, response) = element(behind).ok_or_else(malformed)?;
    ensure!(tag == 0x78, malformed());
    match element(response) {
        Some((0x0a, [code])) => Ok(Some(*code)),
        _ => Err(malformed()),
    }
}

/// The tag and the contents of the first element, if it has arrived whole.
fn element(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, length) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match length {
        0..0x80 => (2, usize::from(*length)),
        0x80 | 0x85.. => return None,
        long => {
            let start = 2 + usize::from(long & 0x7f);
            let digits = bytes.get(2..start)?;
            (start, digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)))
        }
    };
    Some((*tag, bytes.get(start..start.checked_add(length)?)?))
}

/// A socket for the library, and a task that moves bytes between it and the server until either
/// ends.
///
/// # Errors
///
/// When there is no socket.
pub(super) fn guarded(
    wire: Box<dyn Wire>,
) -> Result<(StdUnixStream, impl Future<Output = Result<()>>)> {
    let (library, ours) = StdUnixStream::pair().map_err(wrong)?;
    ours.set_nonblocking(true).map_err(wrong)?;
    let ours = UnixStream::from_std(ours).map_err(wrong)?;
    let moving = async move {
        let (mut answers, mut server) = split(wire);
        let (mut requests, mut client) = ours.into_split();
        let asking = async {
            copy(&mut requests, &mut server).await.map_err(wrong)?;
            Ok(())
        };
        let answering = async {
            let (mut guard, mut buffer) = (Guard::default(), vec![0; READ]);
            loop {
                let count = answers.read(&mut buffer).await.map_err(wrong)?;
                if count == 0 {
                    return Ok(());
                }
                guard.look(&buffer[..count]).map_err(|why| anyhow!("{why}"))?;
                client.write_all(&buffer[..count]).await.map_err(wrong)?;
            }
        };
        tokio::select! {
            asked = asking => asked,
            answered = answering => answered,
        }
    };
    Ok((library, moving))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_hosts_and_ports() {
        fn of(url: &str) -> (&str, u16) {
            host_and_port(url).unwrap()
        }
        assert_eq!(of("ldap://a.example"), ("a.example", 389));
        assert_eq!(of("ldaps://a.example/"), ("a.example", 636));
        assert_eq!(of("ldaps://a.example:3269/dc=x"), ("a.example", 3269));
        assert_eq!(of("ldap://[::1]:3890"), ("::1", 3890));
        assert_eq!(of("ldap://[::1]"), ("::1", 389));
        assert!(host_and_port("ldap://a:b").is_err() && host_and_port("ldap://[::1").is_err());
        assert_eq!(decoded("%2Frun%2fx%").as_deref(), Some("/run/x%"));
    }

    #[test]
    fn the_answer_to_starttls_is_read() {
        let answer = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        for end in 1..answer.len() {
            assert_eq!(result(&answer[..end]).unwrap(), None);
        }
        assert_eq!(result(answer).unwrap(), Some(0));
        assert_eq!(
            result(b"\x30\x84\x00\x00\x00\x08\x02\x01\x01\x78\x03\x0a\x01\x34").unwrap(),
            Some(52)
        );
        assert!(result(b"HTTP").is_err());
        assert!(result(b"\x30\x02\x02\x00").is_err());
    }
}
