//! A host with mxdp and a mail system whose words a test chooses, and a host with many
//! addresses that sends to it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Daemon, Home};
use crate::dialogue::{Dialogue, is_dropped};
use crate::netns::{Namespace, Pair};

/// What a mail system says to a command, by the command and the MAIL before it; none is
/// 250.
pub type Words = fn(command: &str, mail: &str) -> Option<String>;

/// A mail server whose replies a test chooses. It accepts every command without a reply of its own.
pub struct MailSystem {
    ends: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl MailSystem {
    /// Starts one on a port of 127.0.0.1.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, words: Words) -> Self {
        let listener = namespace.run(|| TcpListener::bind(("127.0.0.1", port)).expect("a port"));
        listener.set_nonblocking(true).expect("an option");
        let (ends, heard) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ended, hears) = (Arc::clone(&ends), Arc::clone(&heard));
        let listener = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).expect("an option");
                        let hears = Arc::clone(&hears);
                        thread::spawn(move || serve(&stream, words, &hears));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { ends, listener: Some(listener), heard }
    }

    /// The commands of all connections.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MailSystem {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            _ = listener.join();
        }
    }
}

/// Serves a connection to its end; a connection that breaks is not an error.
fn serve(stream: &TcpStream, words: Words, heard: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines();
    let (mut mail, mut in_message) = (String::new(), false);
    let say = |text: &str| (&*stream).write_all(format!("{text}\r\n").as_bytes());
    if say("220 backend.example ESMTP").is_err() {
        return;
    }
    while let Some(Ok(line)) = lines.next() {
        if in_message && line != "." {
            continue;
        }
        let command = line.to_ascii_uppercase();
        if line != "." {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        }
        if command.starts_with("MAIL") {
            mail.clone_from(&line);
        }
        let usual = match command.get(..4).unwrap_or(".") {
            "EHLO" => {
                "250-backend.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n\
                       250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 60000000"
            }
            "DATA" => "354 go on",
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        let reply = words(&line, &mail).unwrap_or_else(|| usual.to_owned());
        in_message = reply.starts_with("354");
        if say(&reply).is_err() || command == "QUIT" {
            return;
        }
    }
}

/// A host with mxdp, and one with many addresses that sends to it.
pub struct Edge {
    /// Both hosts.
    pub pair: Pair,
    /// The daemon's folder.
    pub home: Home,
    /// The addresses that the sending host was given.
    given: Mutex<BTreeSet<String>>,
}

/// Where mxdp listens.
pub const TARGET: &str = "10.77.0.1:25";

impl Edge {
    /// mxdp with a mail system on 127.0.0.1:2600 for `example.org`, and further
    /// configuration; nothing runs yet.
    #[must_use]
    pub fn new(rest: &str) -> Self {
        let (pair, home) = (Pair::new(), Home::new());
        home.configure(
            "interfaces = [\"e0\"]\nmode = \"native\"",
            &format!(
                "[listen]\nsmtp = [\"{TARGET}\"]\nhostname = \"mx.example.org\"\n{rest}\n\
                 [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
                 [[backend]]\nname = \"main\"\nservers = [\"127.0.0.1:2600\"]\n"
            ),
        );
        Self { pair, home, given: Mutex::default() }
    }

    /// Starts the daemon.
    #[must_use]
    pub fn start(&self) -> Daemon<'_> {
        self.home.start(&self.pair.edge)
    }

    /// A connection from an address, which the sending host is given, to a port; the
    /// greeting has come.
    ///
    /// # Panics
    ///
    /// When it is missing.
    #[must_use]
    pub fn connect(&self, source: &str, port: u16) -> Dialogue {
        self.give(source);
        let target = SocketAddr::new(target().ip(), port);
        let mut dialogue = Dialogue::open(&self.pair.client, address(source), target)
            .unwrap_or_else(|error| panic!("{source}: {error}"));
        let greeting = dialogue.line().unwrap_or_else(|error| panic!("{source}: {error}"));
        assert!(greeting.starts_with("220 "), "{source}: {greeting}");
        dialogue
    }

    /// A connection from an address that has said EHLO.
    #[must_use]
    pub fn open(&self, source: &str) -> Dialogue {
        let mut dialogue = self.connect(source, target().port());
        let told = dialogue.told("EHLO client.example");
        assert!(told.starts_with("250 "), "{told}");
        dialogue
    }

    /// Gives the sending host an address, unless it has it.
    fn give(&self, source: &str) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(source.to_owned()) && source != "10.77.0.2" {
            self.pair.add_client_address(source);
        }
    }

    /// Whether the SYNs of an address are dropped.
    #[must_use]
    pub fn is_dropped(&self, source: &str) -> bool {
        self.give(source);
        is_dropped(&self.pair.client, address(source), target())
    }

    /// The reason of the temporary block of an address.
    #[must_use]
    pub fn block(&self, source: &str) -> Option<String> {
        let blocks = self.home.json(&["temp", "list"]);
        let prefix = format!("{source}/");
        let blocks = blocks.as_array().cloned().unwrap_or_default();
        let mut blocks = blocks.iter();
        let block =
            blocks.find(|one| one["prefix"].as_str().is_some_and(|at| at.starts_with(&prefix)))?;
        block["reason"].as_str().map(str::to_owned)
    }

    /// Every temporary block.
    #[must_use]
    pub fn blocks(&self) -> Vec<Value> {
        self.home.json(&["temp", "list"]).as_array().cloned().unwrap_or_default()
    }

    /// How often recipients were refused for a reason.
    #[must_use]
    pub fn refused(&self, reason: &str) -> u64 {
        let status = self.home.json(&["status"]);
        let refused = status["smtp"]["refused"].as_array().cloned().unwrap_or_default();
        let found = refused.iter().find(|one| one["reason"] == reason);
        found.map_or(0, |one| one["recipients"].as_u64().expect("a number"))
    }

    /// Every entry of the mail log.
    #[must_use]
    pub fn entries(&self, kind: &str) -> Vec<Value> {
        self.home.json_lines(&["traffic", kind, "--all"])
    }
}

/// What a message says to the recipients' replies and at its end, sent in one transaction.
#[derive(Debug, Default)]
pub struct Told {
    /// The reply to MAIL.
    pub mail: String,
    /// The replies to RCPT.
    pub recipients: Vec<String>,
    /// The reply to DATA, or to the end of the message where it came to that.
    pub end: String,
}

/// Sends a message to recipients in one transaction, by a group of commands as RFC 2920
/// has them; whatever stood open is reset before.
pub fn send(dialogue: &mut Dialogue, sender: &str, recipients: &[&str]) -> Told {
    let mut group = format!("RSET\r\nMAIL FROM:<{sender}>\r\n");
    for recipient in recipients {
        group.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
    }
    group.push_str("DATA\r\n");
    dialogue.send(group.as_bytes());
    _ = reply(dialogue);
    let mail = reply(dialogue);
    let recipients = recipients.iter().map(|_| reply(dialogue)).collect();
    let mut end = reply(dialogue);
    if end.starts_with("354") {
        dialogue.send(b"Subject: x\r\n\r\nx\r\n.\r\n");
        end = reply(dialogue);
    }
    Told { mail, recipients, end }
}

/// The last line of the next reply, or the reason why it is missing.
pub fn reply(dialogue: &mut Dialogue) -> String {
    loop {
        match dialogue.line() {
            Ok(line) if line.as_bytes().get(3) == Some(&b'-') => {}
            Ok(line) => return line,
            Err(error) => return error,
        }
    }
}

fn target() -> SocketAddr {
    TARGET.parse().expect("an address and port")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
