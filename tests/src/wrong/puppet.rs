//! A mail server that replies to each command as a test tells it, byte by byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How a puppet behaves.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    /// Whether each connection begins with a PROXY header of version 1.
    pub proxied: bool,
    /// The lines of its reply to EHLO after the first.
    pub offers: Vec<&'static str>,
    /// Replies in place of the usual ones: what the line begins with, in upper case, and
    /// the bytes. The greeting is the reply to `CONNECT` (and behind a PROXY header to
    /// that), the reply to a message that to `.`. A reply that ends with `CLOSE` closes
    /// the connection instead of saying that. The first that fits counts.
    pub replies: Vec<(&'static str, Vec<u8>)>,
}

impl Strings {
    /// The same, with one more reply.
    #[must_use]
    pub fn reply(mut self, to: &'static str, reply: impl AsRef<[u8]>) -> Self {
        self.replies.push((to, reply.as_ref().to_vec()));
        self
    }

    /// The same, with one more line in its reply to EHLO.
    #[must_use]
    pub fn offer(mut self, extension: &'static str) -> Self {
        self.offers.push(extension);
        self
    }
}

#[derive(Debug, Default)]
struct Shared {
    strings: Mutex<Strings>,
    lines: Mutex<Vec<String>>,
    messages: Mutex<Vec<Vec<u8>>>,
    stop: AtomicBool,
}

/// A mail system on threads of its own.
#[derive(Debug)]
pub struct Puppet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Puppet {
    /// Listens in the calling thread's namespace.
    #[must_use]
    pub fn start(address: SocketAddr, strings: Strings) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let shared = Arc::new(Shared { strings: Mutex::new(strings), ..Shared::default() });
        let ours = shared.clone();
        listener.set_nonblocking(true).expect("an option");
        let thread = thread::spawn(move || {
            while !ours.stop.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let shared = ours.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Behaves otherwise from the next connection on.
    pub fn pull(&self, strings: Strings) {
        *lock(&self.shared.strings) = strings;
    }

    /// Every line that came outside of messages.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.lines).clone()
    }

    /// Every message that came with its end, with its dots for transparency.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.messages).clone()
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    _ = stream.set_nodelay(true);
    _ = stream.set_read_timeout(Some(Duration::from_secs(300)));
    let strings = lock(&shared.strings).clone();
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    let mut say = |to: &str, usual: &str| {
        let upper = to.to_ascii_uppercase();
        let own = strings.replies.iter().find(|(start, _)| upper.starts_with(start));
        let reply = own.map_or(usual.as_bytes(), |(_, reply)| reply);
        let rest = reply.strip_suffix(b"CLOSE");
        let said = writer.write_all(rest.unwrap_or(reply)).is_ok();
        if rest.is_some() {
            _ = writer.shutdown(Shutdown::Both);
        }
        said && rest.is_none()
    };
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut bytes = Vec::new();
        match reader.read_until(b'\n', &mut bytes) {
            Ok(1..) if bytes.ends_with(b"\n") => {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                lock(&shared.lines).push(text.clone());
                Some(text)
            }
            _ => None,
        }
    };
    let greeting = match strings.proxied {
        true => line(&mut reader),
        false => Some("CONNECT".to_owned()),
    };
    if !greeting.is_some_and(|to| say(&to, "220 puppet.example ESMTP\r\n")) {
        return;
    }
    while let Some(text) = line(&mut reader) {
        let upper = text.to_ascii_uppercase();
        let verb = upper.split([' ', ':']).next().unwrap_or_default();
        let usual = usual(verb, &strings.offers);
        if !say(&text, &usual) || verb == "QUIT" {
            return;
        }
        let refuses = strings.replies.iter().any(|(to, reply)| *to == "DATA" && reply[0] != b'3');
        if verb != "DATA" || refuses {
            continue;
        }
        let mut message = Vec::new();
        while !message.ends_with(b"\r\n.\r\n") && message != b".\r\n" {
            match reader.read_until(b'\n', &mut message) {
                Ok(1..) => {}
                _ => return,
            }
        }
        lock(&shared.messages).push(message);
        if !say(".", "250 2.0.0 queued\r\n") {
            return;
        }
    }
}

/// What a backend without faults replies to a command.
fn usual(verb: &str, offers: &[&'static str]) -> String {
    match verb {
        "EHLO" => {
            let offers = offers.iter().map(|offer| format!("250-{offer}\r\n"));
            format!("250-puppet.example\r\n{}250 HELP\r\n", offers.collect::<String>())
        }
        "MAIL" => "250 2.1.0 ok\r\n".to_owned(),
        "RCPT" => "250 2.1.5 ok\r\n".to_owned(),
        "DATA" => "354 go on\r\n".to_owned(),
        "HELO" | "RSET" | "NOOP" => "250 2.0.0 ok\r\n".to_owned(),
        "QUIT" => "221 2.0.0 bye\r\n".to_owned(),
        "XCLIENT" => "220 puppet.example ESMTP\r\n".to_owned(),
        _ => "500 5.5.1 no such command\r\n".to_owned(),
    }
}
