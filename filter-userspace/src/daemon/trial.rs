//! The trial's backend: accepts every message, keeps none, and prints a line for
//! each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::io::ports::CannotListen;
use crate::io::state;
use crate::smtp::address::ForwardPath;
use crate::smtp::command::Command;
use crate::smtp::data::{BareNewlines, Decoder};
use crate::smtp::header::HeaderScan;
use crate::smtp::line::{COMMAND_LINE, Lines};
use crate::store;

/// Connections at once.
const CONNECTIONS: usize = 256;

/// How long a connection may last.
const TIME: Duration = Duration::from_secs(600);

/// Removes everything that is kept across restarts.
pub(super) fn leave_nothing(config: &Config) {
    // The mail log may lie in the state folder, which goes last.
    store::remove(&config.startup.record.folder);
    state::remove_all(&config.startup.state.folder);
}

/// Listens as a backend of the configuration.
pub(super) async fn bind(server: &str) -> Result<TcpListener> {
    let address: SocketAddr = server.parse().with_context(|| {
        format!("expected an address and port for the backend of a trial, found `{server}`")
    })?;
    let listener = TcpListener::bind(address).await;
    Ok(listener.map_err(|error| CannotListen::new("backend.servers", address, error))?)
}

/// Takes mail, until the runtime ends.
pub(super) async fn serve(listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                _ = client.set_nodelay(true);
                tokio::spawn(async move {
                    _ = tokio::time::timeout(TIME, Sink::new(client).run()).await;
                    drop(place);
                });
            }
            // Out of descriptors, for instance: wait for some to be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

struct Sink {
    stream: TcpStream,
    input: Lines,
    sender: String,
    recipients: Vec<String>,
}

impl Sink {
    fn new(stream: TcpStream) -> Self {
        Self { stream, input: Lines::default(), sender: String::new(), recipients: Vec::new() }
    }

    async fn run(mut self) -> std::io::Result<()> {
        self.stream.write_all(b"220 trial ESMTP, nothing is kept\r\n").await?;
        loop {
            let Ok(line) = self.input.next(COMMAND_LINE) else { return Ok(()) };
            let Some(line) = line else {
                if !self.read().await? {
                    return Ok(());
                }
                continue;
            };
            let reply = match Command::parse(&line) {
                Ok(Command::Ehlo(_)) => {
                    "250-trial\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE\r\n"
                }
                Ok(Command::Mail(sender, _)) => {
                    self.sender = sender.to_string();
                    self.recipients.clear();
                    "250 2.1.0 sender accepted\r\n"
                }
                Ok(Command::Rcpt(recipient, _)) => self.recipient(&recipient),
                Ok(Command::Data) => {
                    self.stream.write_all(b"354 go on\r\n").await?;
                    if !self.message().await? {
                        return Ok(());
                    }
                    "250 2.0.0 taken, and thrown away\r\n"
                }
                Ok(Command::Quit) => {
                    return self.stream.write_all(b"221 2.0.0 bye\r\n").await;
                }
                Ok(_) => "250 2.0.0 done\r\n",
                Err(_) => "500 5.5.1 not understood\r\n",
            };
            self.stream.write_all(reply.as_bytes()).await?;
        }
    }

    fn recipient(&mut self, recipient: &ForwardPath) -> &'static str {
        let local = recipient.mailbox().map_or("postmaster", |mailbox| mailbox.local());
        if local == "nobody" {
            return "550 5.1.1 no such recipient: the trial knows everybody but nobody\r\n";
        }
        self.recipients.push(recipient.to_string());
        "250 2.1.5 recipient taken\r\n"
    }

    async fn read(&mut self) -> std::io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).await?;
        self.input.push(&buffer[..count]);
        Ok(count > 0)
    }

    /// Reads a message to its end, and prints its line.
    async fn message(&mut self) -> std::io::Result<bool> {
        let mut decoder = Decoder::data(BareNewlines::Refuse);
        let mut scan = HeaderScan::new();
        let mut size = 0;
        loop {
            let decoded = decoder.decode(self.input.rest(), |piece| {
                size += piece.len();
                scan.look(piece);
            });
            let Ok(decoded) = decoded else { return Ok(false) };
            self.input.consume(decoded.used);
            if decoded.ended {
                break;
            }
            if !self.read().await? {
                return Ok(false);
            }
        }
        let recipients: Vec<_> =
            self.recipients.iter().map(|recipient| format!("<{recipient}>")).collect();
        let subject = scan.facts().subject.unwrap_or_default();
        tracing::info!(
            target: "mxdp::trial",
            "the backend got a message: from <{}> to {}, {size} bytes, subject {subject:?}",
            self.sender,
            recipients.join(" "),
        );
        Ok(true)
    }
}
