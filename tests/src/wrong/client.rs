//! A client that sends a message as it should, or vanishes on the way.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// How long a client waits for a reply at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// The longest that a reply, or the end of the connection, took.
    pub longest: Duration,
}

impl Client {
    /// Connects, and does not wait for the greeting.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::begin(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Connects from another address of loopback for each number: what is counted of one
    /// client is not counted of the next.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn connect_as(number: u16, address: SocketAddr) -> io::Result<Self> {
        let [high, low] = number.to_be_bytes();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 1, high, low], 0)).into())?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        Self::begin(socket.into())
    }

    fn begin(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), longest: Duration::ZERO })
    }

    /// Sends.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply: its code and its last line.
    ///
    /// # Errors
    ///
    /// Those of the connection; `UnexpectedEof` at its end.
    pub fn reply(&mut self) -> io::Result<(u16, String)> {
        let start = Instant::now();
        let reply = loop {
            let line = self.line();
            let line = match line {
                Ok(line) => line,
                Err(error) => break Err(error),
            };
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|code| code.parse().ok());
                break code.map(|code| (code, line)).ok_or(ErrorKind::InvalidData.into());
            }
        };
        self.longest = self.longest.max(start.elapsed());
        reply
    }

    /// Every line of the next reply.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn reply_lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if is_last {
                return Ok(lines);
            }
        }
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn command(&mut self, line: &str) -> io::Result<(u16, String)> {
        // What was said before the connection broke is still to be read.
        _ = self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Reads to the end of the connection: everything that is still said.
    pub fn rest(&mut self) -> Vec<(u16, String)> {
        let mut replies = Vec::new();
        while let Ok(reply) = self.reply() {
            replies.push(reply);
        }
        replies
    }

    /// Resets the connection.
    pub fn reset(self) {
        _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// The socket, to send bytes that are not SMTP.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// Where a client stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// When it has connected.
    Connect,
    /// Behind EHLO, without reading its reply; so are the next ones.
    Ehlo,
    /// Behind MAIL.
    Mail,
    /// Behind RCPT.
    Rcpt,
    /// Behind DATA; with BDAT before the first chunk.
    Data,
    /// Within the message, or within its first chunk.
    Body,
    /// Behind the message's last CRLF; with BDAT between two chunks.
    BeforeEnd,
    /// Behind CR LF dot; with BDAT when only `BDAT 0 LAST` is missing.
    Dot,
    /// Behind CR LF dot CR; with BDAT within the last chunk.
    DotCr,
    /// Behind the end of the message.
    End,
}

impl Place {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Ehlo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Body,
        Self::BeforeEnd,
        Self::Dot,
        Self::DotCr,
        Self::End,
    ];
}

/// How a client stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It closes.
    Close,
    /// It resets the connection.
    Reset,
    /// It sends no more, and waits to be closed.
    Stall,
}

/// A message and how it is sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The sender's address.
    pub sender: String,
    /// The recipients' addresses.
    pub recipients: Vec<String>,
    /// The message.
    pub message: Vec<u8>,
    /// Whether by BDAT.
    pub chunks: bool,
    /// Whether commands go out before the replies to those before them; by BDAT
    /// the message does too. Such a client does not stop.
    pub pipelined: bool,
    /// Where and how the client stops.
    pub stop: Option<(Place, Way)>,
}

/// What a client knows of its message.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Whether the end of the message was sent, or tried.
    pub ended: bool,
    /// The reply to the end.
    pub told: Option<u16>,
    /// For each recipient that was named: the reply.
    pub recipients: Vec<(String, Option<u16>)>,
}

impl Sent {
    /// Whether the client was told that its message is accepted.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.told.is_some_and(|code| code / 100 == 2)
    }
}

/// The connection is over, one way or another.
struct Over;

impl Client {
    /// Waits for the greeting and sends EHLO; whether there was a reply.
    pub fn hello(&mut self) -> bool {
        matches!(self.reply(), Ok((220, _)))
            && matches!(self.command("EHLO c.example"), Ok((250, _)))
    }

    /// Sends a message after EHLO; `None` if the connection has ended.
    pub fn mail(mut self, mail: &Mail, sent: &mut Sent) -> Option<Self> {
        let outcome =
            if mail.pipelined { self.pipelined(mail, sent) } else { self.try_mail(mail, sent) };
        if outcome.is_ok() {
            return Some(self);
        }
        match mail.stop {
            Some((_, Way::Stall)) if sent.ended => {
                // It reads late, but it reads.
                thread::sleep(Duration::from_secs(3));
                sent.told = self.reply().ok().map(|(code, _)| code);
            }
            Some((_, Way::Stall)) => _ = self.rest(),
            Some((_, Way::Reset)) => {
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option");
            }
            _ => {}
        }
        None
    }

    fn try_mail(&mut self, mail: &Mail, sent: &mut Sent) -> Result<(), Over> {
        let stops = |place| mail.stop.is_some_and(|(at, _)| at == place);
        let ask = |client: &mut Self, line: &str, place| {
            if stops(place) {
                _ = client.send(format!("{line}\r\n").as_bytes());
                return Err(Over);
            }
            client.command(line).map(|(code, _)| code).map_err(|_| Over)
        };
        if ask(self, &format!("MAIL FROM:<{}>", mail.sender), Place::Mail)? != 250 {
            return self.rset();
        }
        let mut any = false;
        for recipient in &mail.recipients {
            sent.recipients.push((recipient.clone(), None));
            let code = ask(self, &format!("RCPT TO:<{recipient}>"), Place::Rcpt)?;
            if let Some(last) = sent.recipients.last_mut() {
                last.1 = Some(code);
            }
            any |= code == 250;
        }
        if !any {
            return self.rset();
        }
        if mail.chunks {
            return self.chunks(mail, sent);
        }
        if ask(self, "DATA", Place::Data)? != 354 {
            return self.rset();
        }
        let wire = stuffed(&mail.message);
        let ends: [(Place, usize); 5] = [
            (Place::Body, wire.len() / 2),
            (Place::BeforeEnd, wire.len() - 3),
            (Place::Dot, wire.len() - 2),
            (Place::DotCr, wire.len() - 1),
            (Place::End, wire.len()),
        ];
        let part = ends.iter().find(|(place, _)| stops(*place));
        let length = part.map_or(wire.len(), |(_, length)| *length);
        sent.ended = length == wire.len();
        _ = self.send(&wire[..length]);
        if part.is_some() {
            return Err(Over);
        }
        let (code, _) = self.reply().map_err(|_| Over)?;
        sent.told = Some(code);
        Ok(())
    }

    /// The message in chunks.
    fn chunks(&mut self, mail: &Mail, sent: &mut Sent) -> Result<(), Over> {
        let stops = |place| mail.stop.is_some_and(|(at, _)| at == place);
        if stops(Place::Data) {
            return Err(Over);
        }
        let whole = &mail.message;
        let pieces = chunks(whole, stops(Place::Dot));
        let count = pieces.len();
        for (index, piece) in pieces.into_iter().enumerate() {
            let is_last = index + 1 == count;
            if index == 1 && stops(Place::BeforeEnd) || is_last && stops(Place::Dot) {
                return Err(Over);
            }
            let last = if is_last { " LAST" } else { "" };
            let mut wire = format!("BDAT {}{last}\r\n", piece.len()).into_bytes();
            let cut = index == 0 && stops(Place::Body) || is_last && stops(Place::DotCr);
            if cut && !piece.is_empty() {
                wire.extend_from_slice(&piece[..piece.len() - 1]);
                _ = self.send(&wire);
                return Err(Over);
            }
            wire.extend_from_slice(piece);
            sent.ended |= is_last;
            _ = self.send(&wire);
            if is_last && (stops(Place::End) || stops(Place::DotCr)) {
                return Err(Over);
            }
            let (code, _) = self.reply().map_err(|_| Over)?;
            if is_last {
                sent.told = Some(code);
            } else if code != 250 {
                return self.rset();
            }
        }
        Ok(())
    }

    /// The same in as few segments as may be.
    fn pipelined(&mut self, mail: &Mail, sent: &mut Sent) -> Result<(), Over> {
        let mut wire = format!("MAIL FROM:<{}>\r\n", mail.sender).into_bytes();
        for recipient in &mail.recipients {
            sent.recipients.push((recipient.clone(), None));
            wire.extend_from_slice(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        }
        let pieces = if mail.chunks { chunks(&mail.message, false) } else { Vec::new() };
        for (index, piece) in pieces.iter().enumerate() {
            let last = if index + 1 == pieces.len() { " LAST" } else { "" };
            wire.extend_from_slice(format!("BDAT {}{last}\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
        }
        if !mail.chunks {
            wire.extend_from_slice(b"DATA\r\n");
        }
        sent.ended = mail.chunks;
        _ = self.send(&wire);
        let code = |client: &mut Self| client.reply().map(|(code, _)| code).map_err(|_| Over);
        code(self)?;
        for recipient in &mut sent.recipients {
            recipient.1 = Some(code(self)?);
        }
        for index in 0..pieces.len() {
            let code = code(self)?;
            sent.told = (index + 1 == pieces.len()).then_some(code);
        }
        if !mail.chunks {
            if code(self)? != 354 {
                return self.rset();
            }
            sent.ended = true;
            _ = self.send(&stuffed(&mail.message));
            sent.told = Some(code(self)?);
        }
        Ok(())
    }

    fn rset(&mut self) -> Result<(), Over> {
        match self.command("RSET") {
            Ok((250, _)) => Ok(()),
            _ => Err(Over),
        }
    }
}

/// A message in chunks; the last of them is empty where asked, and in every other
/// message.
fn chunks(message: &[u8], last_is_empty: bool) -> Vec<&[u8]> {
    let mut pieces: Vec<_> = message.chunks(message.len() / 3 + 1).collect();
    if last_is_empty || message.len().is_multiple_of(2) {
        pieces.push(&[]);
    }
    pieces
}

/// A message as DATA has it, with its end.
#[must_use]
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
