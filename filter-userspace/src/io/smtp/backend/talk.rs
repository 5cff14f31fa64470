//! A dialogue with a server, one command at a time.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::io::smtp::introduction::{ClientFacts, withhold, xclient};
use crate::io::smtp::stream::Stream;
use crate::smtp::reply::{Replies, Reply};

/// Why a dialogue failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server does not answer, or not correctly.
    Down(String),
    /// It answers, but lacks what the configuration requires.
    Unfit(String),
    /// It was told the client's address and refuses it: that does not concern the server.
    Refused(Reply),
    /// It was told the client's address, and the dialogue failed: the cause may be either.
    Doubtful(String),
    /// TLS failed; without it, the dialogue might succeed.
    Tls(String),
}

impl Failed {
    /// The same failure as a failure of TLS.
    pub(super) fn at_tls(self) -> Self {
        let text = match self {
            Self::Refused(reply) => format!("{} {}", reply.code, reply.text()),
            Self::Down(text) | Self::Unfit(text) | Self::Doubtful(text) | Self::Tls(text) => text,
        };
        Self::Tls(format!("TLS: {}", text.strip_prefix("TLS: ").unwrap_or(&text)))
    }
}

pub(super) async fn connect(server: &str, time: Duration) -> Result<Stream, Failed> {
    let stream = match timeout(time, TcpStream::connect(server)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(down(format!("cannot connect: {error}"))),
        Err(_) => return Err(down(format!("no connection within {} s", time.as_secs()))),
    };
    _ = stream.set_nodelay(true);
    Ok(Stream::Plain(stream))
}

pub(super) fn down(text: String) -> Failed {
    Failed::Down(text)
}

/// A dialogue, one command at a time.
pub(super) struct Talk {
    pub(super) stream: Stream,
    pub(super) replies: Replies,
    pub(super) time: Duration,
    /// Whether the server has been told the client's address.
    pub(super) for_client: bool,
}

impl Talk {
    /// A failure that is not a refusal.
    fn failed(&self, text: String) -> Failed {
        if self.for_client { Failed::Doubtful(text) } else { Failed::Down(text) }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        match timeout(self.time, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(format!("cannot write: {error}"))),
            Err(_) => Err(self.failed("takes nothing".to_owned())),
        }
    }

    async fn reply(&mut self) -> Result<Reply, Failed> {
        let read = async {
            let mut buffer = [0; 4096];
            loop {
                match self.replies.take() {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(_) => return Err("sent an invalid SMTP reply".to_owned()),
                }
                match self.stream.read(&mut buffer).await {
                    Ok(0) => return Err("closes the connection".to_owned()),
                    Ok(count) => self.replies.push(&buffer[..count]),
                    Err(error) => return Err(format!("cannot read: {error}")),
                }
            }
        };
        let reply = timeout(self.time, read).await;
        reply
            .unwrap_or_else(|_| Err("does not answer".to_owned()))
            .map_err(|text| self.failed(text))
    }

    pub(super) async fn expect(&mut self, code: u16, step: &str) -> Result<Reply, Failed> {
        let reply = self.reply().await?;
        self.judge(reply, code, step)
    }

    fn judge(&self, reply: Reply, code: u16, step: &str) -> Result<Reply, Failed> {
        if reply.code == code && self.replies.is_empty() {
            Ok(reply)
        } else if self.for_client && reply.code >= 400 {
            Err(Failed::Refused(reply))
        } else {
            Err(self.failed(format!("{step}: {} {}", reply.code, reply.text())))
        }
    }

    pub(super) async fn command(&mut self, line: &str, code: u16) -> Result<Reply, Failed> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        let verb = line.split(' ').next().unwrap_or(line);
        self.expect(code, verb).await
    }

    /// Sends the client's address to the server, and returns the attributes that it rejects:
    /// Postfix with `inet_protocols = ipv4` rejects IPv6 addresses, and it does not accept every
    /// name that DNS returns.
    pub(super) async fn introduce(
        &mut self,
        client: &ClientFacts,
        named: &str,
    ) -> Result<Vec<&'static str>, Failed> {
        self.for_client = true;
        let mut withheld = Vec::new();
        while let Some(reply) = self.xclient(&xclient(client, named, &withheld)).await? {
            if !withhold(&mut withheld, &reply) {
                return Err(down(format!("XCLIENT: {reply}")));
            }
        }
        Ok(withheld)
    }

    /// Sends XCLIENT commands; returns the server's reply if it rejects an attribute.
    async fn xclient(&mut self, lines: &[String]) -> Result<Option<String>, Failed> {
        for line in lines {
            self.send(format!("{line}\r\n").as_bytes()).await?;
            let reply = self.reply().await?;
            let text = || format!("{} {}", reply.code, reply.text());
            match reply.code {
                501 => return Ok(Some(text())),
                // These codes concern the command, which is ours; all others concern the client
                // (Postfix, XCLIENT_README).
                500 | 502 | 503 => return Err(down(format!("XCLIENT: {}", text()))),
                _ => _ = self.judge(reply, 220, "XCLIENT")?,
            }
        }
        Ok(None)
    }

    /// The lines of its reply to EHLO; none if it supports only HELO (RFC 5321 section 3.2).
    pub(super) async fn ehlo(&mut self, name: &str) -> Result<Vec<String>, Failed> {
        self.send(format!("EHLO {name}\r\n").as_bytes()).await?;
        let reply = self.reply().await?;
        if matches!(reply.code, 500..=502 | 504 | 550) && self.replies.is_empty() {
            match self.command(&format!("HELO {name}"), 250).await {
                Ok(_) => return Ok(Vec::new()),
                Err(Failed::Refused(_)) => {}
                Err(failed) if self.for_client => return Err(failed),
                Err(_) => {}
            }
        }
        Ok(self.judge(reply, 250, "EHLO")?.lines)
    }
}
