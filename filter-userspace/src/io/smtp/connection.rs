//! One connection: moves bytes between a session, its client and its backend,
//! and does what the session asks for. It decides nothing.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::backend::Lease;
use super::farewell;
use super::handshake::handshake;
use super::handshakes::Peer;
use super::introduction::ClientFacts;
use super::judge::{Judge, Learning};
use super::room::Room;
use super::stream::Stream;
use crate::dns::HostNames;
use crate::io::clock::now;
use crate::lists::ClientNetwork;
use crate::smtp::session::{Action, BackendName, OpenFailure, Opened, Question, Session};

/// What is read at once.
const READ: usize = 32 * 1024;

type Opening = Pin<Box<dyn Future<Output = Result<(Stream, Opened), OpenFailure>> + Send>>;

pub(super) struct Connection {
    pub(super) session: Session,
    judge: Judge,
    /// None once it has disconnected, even if its message is still with the backend.
    client: Option<Stream>,
    /// Whether TLS may still hold bytes that were written.
    unflushed: bool,
    backend: Option<Stream>,
    backend_unflushed: bool,
    /// Whether it accepts no more bytes.
    backend_write_closed: bool,
    opening: Option<Opening>,
    /// While there is a backend: the memory reserved for a message, and one of the connections to
    /// it that the client's network may have.
    room: Option<(Room, Lease)>,
    /// A question whose answer waits for the network.
    learning: Option<(Question, Learning)>,
    pub(super) start_tls: bool,
    timer: Pin<Box<Sleep>>,
    address: SocketAddr,
    local: SocketAddr,
}

impl Connection {
    /// A connection from one address to another, whose session is to begin.
    pub(super) fn new(
        session: Session,
        judge: Judge,
        client: Stream,
        (address, local): (SocketAddr, SocketAddr),
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::from_std(session.deadline())));
        Self {
            session,
            judge,
            client: Some(client),
            unflushed: false,
            backend: None,
            backend_unflushed: false,
            backend_write_closed: false,
            opening: None,
            room: None,
            learning: None,
            start_tls: false,
            timer,
            address,
            local,
        }
    }

    /// Carries out the session's actions, as far as that needs no waiting.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.session.action() {
            match action {
                Action::Ask(question) => self.answer(question),
                Action::Open(backend) => self.open(&backend),
                Action::CloseBackend { politely } => {
                    self.opening = None;
                    self.room = None;
                    if let Some(stream) = self.backend.take()
                        && politely
                    {
                        stream.say_at_once(b"QUIT\r\n");
                    }
                }
                Action::StartTls => self.start_tls = true,
                Action::Record(attempt) => self.judge.record(*attempt, &self.session),
            }
        }
        self.judge.note_open(self.session.accepted());
    }

    fn answer(&mut self, question: Question) {
        match self.judge.answer(&question, &self.session) {
            Ok(answer) => self.session.answer(answer, now()),
            Err(need) => {
                let learning = self.judge.learning(need, &question);
                self.learning = Some((question, learning));
            }
        }
    }

    fn open(&mut self, backend: &BackendName) {
        let generation = self.judge.generation().clone();
        let facts = ClientFacts {
            address: self.address,
            local: self.local,
            helo: self.session.helo().to_owned(),
            extended: self.session.is_extended(),
            names: HostNames::default(),
        };
        let names = self.judge.names_in_time();
        let Some(pool) = generation.pool(backend).cloned() else {
            return self.session.opened(Err(OpenFailure::Down), now());
        };
        // The former reservations are released, whatever the result is.
        self.room = None;
        let Some(lease) = pool.lease(ClientNetwork::of(self.address.ip()), self.judge.most_links())
        else {
            return self.session.opened(Err(OpenFailure::TooMany), now());
        };
        // A message may use all the memory that a session may have, so none begins without enough
        // memory.
        let Some(room) = self.judge.edge().room(self.address.ip()) else {
            return self.session.opened(Err(OpenFailure::NoRoom), now());
        };
        self.room = Some((room, lease));
        self.opening = Some(Box::pin(async move {
            let names = match pool.wants_names() {
                true => names.await,
                false => HostNames::default(),
            };
            let facts = ClientFacts { names, ..facts };
            pool.open(&generation.settings.hostname, Some(&facts)).await
        }));
    }

    /// Begins TLS; returns whether it succeeded.
    pub(super) async fn start_tls(&mut self) -> bool {
        self.start_tls = false;
        let generation = self.judge.generation().clone();
        let Some(stream) = self.client.take() else { return false };
        let edge = self.judge.edge().clone();
        let address = self.address.ip().to_canonical();
        let peer = Peer { address, direction: self.judge.direction(), implicit: false };
        let shaken = Box::pin(handshake(stream, &edge, &generation, peer)).await;
        let Some((stream, tls)) = shaken else { return false };
        self.client = Some(stream);
        self.session.tls_started(tls, now());
        true
    }

    /// Moves what can be moved; ready when anything was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let moved = [
            self.poll_learning(cx),
            self.poll_opening(cx),
            self.poll_client_write(cx),
            // Bytes that it sent before it is told more are not a reply to that.
            self.poll_backend_read(cx),
            self.poll_backend_write(cx),
            self.poll_client_read(cx),
            self.poll_time(cx),
        ];
        if moved.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_learning(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((_, learning)) = &mut self.learning else { return false };
        let Poll::Ready(learnt) = learning.as_mut().poll(cx) else { return false };
        self.judge.learn(learnt);
        if let Some((question, _)) = self.learning.take() {
            self.answer(question);
        }
        true
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(opening) = &mut self.opening else { return false };
        let Poll::Ready(result) = opening.as_mut().poll(cx) else { return false };
        self.opening = None;
        if result.is_err() {
            self.room = None;
        }
        let result = result.map(|(stream, opened)| {
            self.backend = Some(stream);
            self.backend_unflushed = false;
            self.backend_write_closed = false;
            opened
        });
        // The name goes into the Received field of the messages that follow.
        if let Some(name) = self.judge.names().as_ref().and_then(HostNames::name) {
            self.session.client_named(name);
        }
        self.session.opened(result, now());
        true
    }

    fn poll_client_write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(client) = &mut self.client else {
            // Nobody receives it.
            let out = self.session.to_client();
            let unheard = out.len();
            out.sent(unheard);
            return unheard > 0;
        };
        let out = self.session.to_client();
        match client.poll_send(out.bytes(), &mut self.unflushed, cx) {
            Poll::Ready(Ok(count)) => {
                out.sent(count);
                self.session.client_took(now());
            }
            Poll::Ready(Err(_)) => self.lose_client(),
            Poll::Pending => return false,
        }
        true
    }

    fn poll_backend_write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.backend_write_closed {
            return false;
        }
        let (Some(backend), Some(out)) = (&mut self.backend, self.session.to_backend()) else {
            return false;
        };
        match backend.poll_send(out.bytes(), &mut self.backend_unflushed, cx) {
            Poll::Ready(Ok(count)) => {
                out.sent(count);
                self.session.backend_took(now());
                true
            }
            // Its remaining bytes are read, and its end is seen there. What was not sent stays
            // unsent: the session believes no reply that arrives before.
            Poll::Ready(Err(_)) => {
                self.backend_write_closed = true;
                false
            }
            Poll::Pending => false,
        }
    }

    fn poll_backend_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(backend) = &mut self.backend else { return false };
        if self.backend_unflushed {
            // A reply can only refer to bytes that TLS has released. An error is seen when writing.
            _ = backend.poll_send(&[], &mut self.backend_unflushed, cx);
        }
        self.session.backend_holds_back(self.backend_unflushed);
        let mut space = [MaybeUninit::uninit(); 4096];
        match poll_bytes(backend, &mut space, cx) {
            Poll::Ready(Ok(bytes)) if !bytes.filled().is_empty() => {
                // A client is not read while its message is with the backend; a reply that nobody
                // receives is not recorded as sent (RFC 1047).
                if self.client.take_if(|client| client.is_reset()).is_some() {
                    self.session.client_lost(now());
                }
                self.session.backend_bytes(bytes.filled(), now());
                true
            }
            Poll::Ready(_) => {
                self.backend = None;
                self.session.backend_end(now());
                true
            }
            Poll::Pending => false,
        }
    }

    fn poll_client_read(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.session.wants_client() {
            return false;
        }
        let Some(client) = &mut self.client else { return false };
        let mut space = [MaybeUninit::uninit(); READ];
        match poll_bytes(client, &mut space, cx) {
            Poll::Ready(Ok(bytes)) if !bytes.filled().is_empty() => {
                self.session.client_bytes(bytes.filled(), now());
            }
            Poll::Ready(Ok(_)) => self.session.client_end(now()),
            Poll::Ready(Err(_)) => self.lose_client(),
            Poll::Pending => return false,
        }
        true
    }

    /// The client can neither be read nor written to any more.
    fn lose_client(&mut self) {
        self.client = None;
        self.session.client_lost(now());
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = Instant::from_std(self.session.deadline());
        // A later deadline is checked when the timer fires: resetting the timer for every byte
        // would cost too much.
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = now();
        if Instant::from_std(now.monotonic) >= deadline {
            self.session.time(now);
        }
        self.timer.as_mut().reset(Instant::from_std(self.session.deadline()));
        true
    }

    /// Sends the reply, if that needs no waiting, and records it.
    pub(super) fn refuse_at_once(&mut self) {
        self.act();
        if let Some(client) = &self.client {
            client.say_at_once(self.session.to_client().bytes());
        }
    }

    /// Closes the client's connection so that it can read the last reply.
    pub(super) async fn finish(&mut self) {
        self.act();
        let Some(client) = &mut self.client else { return };
        let most = self.judge.generation().settings.message_size;
        farewell::part(client, self.session.lingers(), most).await;
    }
}

/// Reads available bytes into `space`; no bytes are the end of the stream.
fn poll_bytes<'a>(
    stream: &mut Stream,
    space: &'a mut [MaybeUninit<u8>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<ReadBuf<'a>>> {
    let mut bytes = ReadBuf::uninit(space);
    Pin::new(stream).poll_read(cx, &mut bytes).map_ok(|()| bytes)
}
