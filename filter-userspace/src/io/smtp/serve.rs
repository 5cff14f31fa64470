//! The life of a connection, from its acceptance to its end.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::edge::Edge;
use super::generation::Generation;
use super::handshake::handshake;
use super::handshakes::Peer;
use super::judge::Judge;
use super::stream::Stream;
use crate::io::clock::now;
use crate::io::places::{Place, taken};
use crate::policy::relay::Direction;
use crate::smtp::refusal::Refusal;
use crate::smtp::session::{Client, Session, Settings};

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) edge: Arc<Edge>,
    pub(super) generation: Arc<Generation>,
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) local: SocketAddr,
    /// The direction of its messages.
    pub(super) direction: Direction,
    /// Whether it begins with TLS.
    pub(super) implicit: bool,
    pub(super) client: Client,
    pub(super) settings: Arc<Settings>,
    /// Why it is refused at once, if it is.
    pub(super) refusal: Option<Refusal>,
    /// Its slot; none if it is refused.
    pub(super) place: Option<Place<IpAddr>>,
    /// Whether it is given time to read why.
    pub(super) patient: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        edge,
        generation,
        stream,
        address,
        local,
        direction,
        implicit,
        client,
        settings,
        refusal,
        patient,
        place,
    } = accepted;
    let mut stream = Stream::Plain(stream);
    let mut client_tls = None;
    if implicit && !patient {
        return;
    }
    if implicit {
        let peer = Peer { address: client.address, direction, implicit };
        let shaken = tokio::select! {
            shaken = Box::pin(handshake(stream, &edge, &generation, peer)) => shaken,
            () = taken(place.as_ref()) => return,
        };
        let Some((encrypted, tls)) = shaken else { return };
        stream = encrypted;
        client_tls = Some(tls);
    }
    let mut judge = Judge::new(edge.clone(), generation, direction, client.address);
    if refusal.is_none() {
        judge.begin_asking();
        judge.begin_naming();
    }
    let session = match refusal {
        Some(refusal) => Session::refuse(settings, client, client_tls, refusal, now()),
        None => Session::new(settings, client, client_tls, now()),
    };
    // Every connection holds this while it waits, so it is kept small.
    let mut connection = Box::new(Connection::new(session, judge, stream, (address, local)));
    if !patient {
        return connection.refuse_at_once();
    }
    if !run(&mut connection, &edge, place.as_ref()).await {
        return;
    }
    tokio::select! {
        () = connection.finish() => {}
        // It is not read to its end if others need the descriptor.
        () = taken(place.as_ref()) => {}
    }
}

/// Moves bytes until the session is over; false if a TLS handshake failed.
async fn run(connection: &mut Connection, edge: &Edge, place: Option<&Place<IpAddr>>) -> bool {
    let (mut ending, mut giving_up) = (edge.ending(), edge.giving_up());
    let (mut told, mut given_up) = (false, false);
    let mut works = false;
    let mut due = connection.session.deadline();
    loop {
        connection.act();
        if let Some(place) = place
            && works != connection.session.is_working()
        {
            works = !works;
            place.activity.set_working(works);
        }
        if connection.start_tls && connection.session.to_client().is_empty() {
            let has_begun = tokio::select! {
                has_begun = connection.start_tls() => has_begun,
                () = taken(place) => false,
            };
            if !has_begun {
                return false;
            }
            continue;
        }
        if connection.session.is_closed() && connection.session.to_client().is_empty() {
            return true;
        }
        tokio::select! {
            biased;
            // First, or a client that always has bytes to move would never notice.
            () = taken(place) => connection.session.make_way(now()),
            () = poll_fn(|cx| connection.poll(cx)) => {
                // A byte of a command now and then does not count as progress: the deadline stays.
                let next = connection.session.deadline();
                if std::mem::replace(&mut due, next) != next && let Some(place) = place {
                    place.activity.moved();
                }
            }
            _ = ending.wait_for(|ended| *ended), if !told => {
                told = true;
                connection.session.shut_down(now());
            }
            _ = giving_up.wait_for(|ended| *ended), if !given_up => {
                given_up = true;
                connection.session.give_up(now());
            }
        }
        // Records are passed on before anything else waits: a thousand recipients have a thousand.
        connection.act();
        // Other connections get their turn, however much the client sends.
        tokio::task::yield_now().await;
    }
}
