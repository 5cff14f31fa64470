//! What comes from outside, as messages for the daemon's thread.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::message::Message;
use crate::control::server::{self, ControlSocket, Desk, Incoming};
use crate::io::smtp::Block;

/// Serves the control socket, and sends on what is asked there and by the console.
pub(super) async fn forward_requests(
    socket: ControlSocket,
    messages: mpsc::Sender<Message>,
    desk: Desk,
    mut incoming: mpsc::Receiver<Incoming>,
) {
    let server = async {
        if let Err(error) = server::serve(&socket, desk, server::Limits::default()).await {
            tracing::error!("the control socket is not served: {error}");
        }
    };
    let forward = async move {
        loop {
            let request = tokio::select! {
                request = incoming.recv() => request,
                // The daemon has ended: `incoming` goes, and the server with it,
                // once its clients have their last answers.
                () = messages.closed() => return,
            };
            let Some(request) = request else { return };
            if messages.send(Message::Request(request)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(server, forward);
}

/// SIGINT and SIGTERM end the daemon, SIGHUP reloads.
pub(super) fn forward_signals(messages: &mpsc::Sender<Message>) -> io::Result<()> {
    let stops = [(SignalKind::interrupt(), "SIGINT"), (SignalKind::terminate(), "SIGTERM")];
    for (kind, name) in stops {
        let mut signals = signal(kind)?;
        let messages = messages.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                _ = messages.send(Message::Stop(name)).await;
            }
        });
    }
    let mut hang_ups = signal(SignalKind::hangup())?;
    let messages = messages.clone();
    tokio::spawn(async move {
        while hang_ups.recv().await.is_some() {
            _ = messages.send(Message::Reload("SIGHUP")).await;
        }
    });
    Ok(())
}

/// A message each second.
pub(super) async fn forward_ticks(messages: mpsc::Sender<Message>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        if messages.send(Message::Tick).await.is_err() {
            return;
        }
    }
}

/// The temporary blocks that the SMTP side asks for.
pub(super) async fn forward_blocks(
    mut asked: mpsc::Receiver<Block>,
    messages: mpsc::Sender<Message>,
) {
    while let Some(block) = asked.recv().await {
        if messages.send(Message::Block(block)).await.is_err() {
            return;
        }
    }
}
