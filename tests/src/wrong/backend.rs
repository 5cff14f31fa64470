//! A mail server that follows its script, which is mostly wrong.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::ends::{end_of_data, unstuffed};
use super::script::{Act, Script, Step};

/// A message that came with its end.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The sender, with its parameters.
    pub sender: String,
    /// The recipients.
    pub recipients: Vec<String>,
    /// The message, without dots for transparency.
    pub message: Vec<u8>,
    /// Whether a whole 250 was sent: then it is this backend's to keep.
    pub taken: bool,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    ended: Mutex<Vec<Ended>>,
    commands: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// A mail system on a thread of its own.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Listens in the calling thread's namespace.
    #[must_use]
    pub fn start(address: SocketAddr, script: Script) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        socket.set_reuse_address(true).expect("an option");
        // So small that a stalled reader is felt.
        socket.set_recv_buffer_size(16 * 1024).expect("an option");
        // That is how long accepting may take.
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("an option");
        socket.bind(&address.into()).expect("a free port");
        socket.listen(128).expect("listening");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            ended: Mutex::default(),
            commands: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (listener, ours) = (TcpListener::from(socket), shared.clone());
        let thread = thread::spawn(move || accept(&listener, &ours));
        Self { shared, thread: Some(thread) }
    }

    /// Behaves otherwise from the next connection on.
    pub fn script(&self, script: Script) {
        *lock(&self.shared.script) = script;
    }

    /// The messages that came with their end, so far.
    #[must_use]
    pub fn ended(&self) -> Vec<Ended> {
        lock(&self.shared.ended).clone()
    }

    /// The commands that came, so far.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        lock(&self.shared.commands).clone()
    }

    /// Waits for the connections to end, and returns the messages that arrived with their end.
    #[must_use]
    pub fn finish(mut self) -> Vec<Ended> {
        self.stop();
        self.ended()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Shared) {
    thread::scope(|scope| {
        while !shared.stop.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else { continue };
            scope.spawn(move || {
                _ = stream.set_nodelay(true);
                _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                let script = *lock(&shared.script);
                let talk = Talk { stream, input: Vec::new(), script, shared, message: 1 };
                talk.serve();
            });
        }
    });
}

/// What became of a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The reply itself.
    Reply,
    /// The reply itself, and the connection is over.
    ReplyAndEnd,
    /// Another one.
    Other,
    /// The connection is over.
    End,
}

struct Talk<'a> {
    stream: TcpStream,
    input: Vec<u8>,
    script: Script,
    shared: &'a Shared,
    message: u32,
}

const MORE: &[u8] = b"250 2.0.0 once more\r\n";

impl Talk<'_> {
    fn serve(mut self) {
        if self.act(Step::Accept).is_some() && self.reply(Step::Accept, "") == Said::End {
            return;
        }
        if self.reply(Step::Greeting, "220 backend.example ESMTP\r\n") != Said::Reply {
            return;
        }
        let (mut sender, mut recipients) = (String::new(), Vec::new());
        while let Some(line) = self.line() {
            lock(&self.shared.commands).push(line.clone());
            let upper = line.to_ascii_uppercase();
            let verb = upper.split([' ', ':']).next().unwrap_or_default();
            let said = match verb {
                "EHLO" => {
                    let pipelining = if self.script.pipelining { "250-PIPELINING\r\n" } else { "" };
                    let offers =
                        format!("250-backend.example\r\n{pipelining}250-DSN\r\n250 8BITMIME\r\n");
                    self.reply(Step::Ehlo, &offers)
                }
                "MAIL" => {
                    sender = line.split_once(':').map_or("", |(_, path)| path).to_owned();
                    recipients = Vec::new();
                    self.reply(Step::Mail, "250 2.1.0 sender ok\r\n")
                }
                "RCPT" => {
                    let said = self.reply(Step::Rcpt, "250 2.1.5 recipient ok\r\n");
                    if said == Said::Reply {
                        recipients.push(line.split_once(':').map_or("", |(_, to)| to).to_owned());
                    }
                    said
                }
                "DATA" => match self.reply(Step::Data, "354 go on\r\n") {
                    Said::Reply => {
                        let envelope =
                            (std::mem::take(&mut sender), std::mem::take(&mut recipients));
                        self.data(envelope)
                    }
                    said => said,
                },
                "RSET" | "NOOP" => self.reply(Step::Accept, "250 2.0.0 ok\r\n"),
                "QUIT" => {
                    _ = self.reply(Step::Quit, "221 2.0.0 bye\r\n");
                    return;
                }
                _ => self.reply(Step::Accept, "500 5.5.1 what?\r\n"),
            };
            if matches!(said, Said::End | Said::ReplyAndEnd) {
                return;
            }
        }
    }

    /// The message, to its end and the reply.
    fn data(&mut self, (sender, recipients): (String, Vec<String>)) -> Said {
        let act = self.act(Step::Body);
        let mut slow = false;
        let mut silent = false;
        if let Some(act) = act {
            if self.input.is_empty() && !self.fill() {
                return Said::End;
            }
            match act {
                Act::Slow => slow = true,
                Act::Twice | Act::Late => _ = self.stream.write_all(MORE),
                Act::EarlyThenStall => {
                    self.wait(Duration::from_millis(500));
                    _ = self.stream.write_all(MORE);
                    self.wait(Duration::from_secs(1));
                    return Said::End;
                }
                Act::Stall => {
                    self.wait(Duration::from_secs(3));
                    return Said::End;
                }
                _ => {
                    let said = self.reply(Step::Body, "");
                    if said != Said::Other && act != Act::Closing {
                        return Said::End;
                    }
                    silent = true;
                }
            }
        }
        let mut searched = 0;
        let (length, used) = loop {
            let from = self.input[..searched].len().saturating_sub(16);
            if let Some((length, used)) = end_of_data(&self.input, from, self.script.lenient) {
                break (length, used);
            }
            searched = self.input.len();
            if slow {
                thread::sleep(Duration::from_millis(5));
            }
            if !self.fill() {
                return Said::End;
            }
        };
        let message = unstuffed(&self.input[..length]);
        self.input.drain(..used);
        let ended = Ended { sender, recipients, message, taken: false };
        let place = {
            let mut all = lock(&self.shared.ended);
            all.push(ended);
            all.len() - 1
        };
        if silent {
            return Said::End;
        }
        thread::sleep(self.script.thinks);
        let said = self.reply(Step::Dot, "250 2.0.0 taken\r\n");
        lock(&self.shared.ended)[place].taken = matches!(said, Said::Reply | Said::ReplyAndEnd);
        self.message += 1;
        said
    }

    fn act(&self, step: Step) -> Option<Act> {
        let before = matches!(step, Step::Accept | Step::Greeting | Step::Ehlo);
        let message = match step {
            // It comes after the message.
            Step::Quit => self.message - 1,
            _ => self.message,
        };
        let fault = self.script.fault?;
        (fault.step == step && (before || fault.message == message)).then_some(fault.act)
    }

    /// Replies as the script has it.
    fn reply(&mut self, step: Step, proper: &str) -> Said {
        let act = match self.act(step) {
            // What has no fault of its own.
            Some(_) if step == Step::Accept && !proper.is_empty() => None,
            act => act,
        };
        let proper = proper.as_bytes();
        match act {
            None => self.say(proper, Said::Reply),
            Some(Act::Close) => Said::End,
            Some(Act::Reset) => self.reset(Said::End),
            Some(Act::Stall | Act::EarlyThenStall) => {
                self.wait_for_end();
                Said::End
            }
            Some(Act::Slow) => {
                for octet in proper {
                    if self.say(&[*octet], Said::Reply) == Said::End {
                        return Said::End;
                    }
                    thread::sleep(Duration::from_millis(3));
                }
                Said::Reply
            }
            Some(Act::Temporary) => self.say(b"451 4.3.0 not now\r\n", Said::Other),
            Some(Act::Permanent) => self.say(b"554 5.7.1 never\r\n", Said::Other),
            Some(Act::Closing) => self.say(b"421 4.3.2 closing\r\n", Said::End),
            Some(Act::Nonsense) => {
                _ = self.stream.write_all(b"\x00\xff\x80 this is no SMTP\r\n\r\n");
                self.wait_for_end();
                Said::End
            }
            Some(Act::Twice) => self.say(&[proper, MORE].concat(), Said::Reply),
            Some(Act::Late) => {
                let said = self.say(proper, Said::Reply);
                thread::sleep(Duration::from_millis(10));
                _ = self.stream.write_all(MORE);
                said
            }
            Some(Act::Half) => {
                _ = self.stream.write_all(&proper[..proper.len() / 2]);
                Said::End
            }
            Some(Act::ThenClose) => self.say(proper, Said::ReplyAndEnd),
            Some(Act::ThenReset) => {
                let said = self.say(proper, Said::ReplyAndEnd);
                self.reset(said)
            }
        }
    }

    fn say(&mut self, bytes: &[u8], said: Said) -> Said {
        if self.stream.write_all(bytes).is_ok() { said } else { Said::End }
    }

    fn reset(&self, said: Said) -> Said {
        // What was sent has left, mostly.
        _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        said
    }

    /// Waits for a while, or until the test ends.
    fn wait(&self, time: Duration) {
        let step = Duration::from_millis(100);
        let mut left = time;
        while !left.is_zero() && !self.shared.stop.load(Ordering::Relaxed) {
            thread::sleep(step);
            left = left.saturating_sub(step);
        }
    }

    /// Reads until the peer has had enough.
    fn wait_for_end(&mut self) {
        while self.fill() {
            self.input.clear();
        }
        _ = self.stream.shutdown(Shutdown::Both);
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.input.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 8192];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    return true;
                }
                Err(error) => {
                    let waits = error.kind() == std::io::ErrorKind::WouldBlock;
                    if !waits || self.shared.stop.load(Ordering::Relaxed) {
                        return false;
                    }
                }
            }
        }
    }
}
