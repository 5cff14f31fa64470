//! The kernel's rings: events and log lines, each read by a thread of its own.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use filter_common::abi::Event;
use nix::poll::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;

use super::message::Message;
use crate::io::kernel::read_event;

/// Events that are sent in one message.
const EVENT_BATCH: usize = 256;

/// Reads the ring of events, on a thread of its own, until the daemon ends.
pub(super) fn forward_events(mut events: RingBuf<MapData>, messages: &mpsc::Sender<Message>) {
    while !messages.is_closed() {
        wait_until_readable(events.as_fd());
        let mut batch: Vec<Event> = Vec::new();
        while batch.len() < EVENT_BATCH
            && let Some(item) = events.next()
        {
            batch.extend(read_event(&item));
        }
        // Waiting here fills the ring, which is bounded and counted.
        if !batch.is_empty() && messages.blocking_send(Message::Events(batch)).is_err() {
            return;
        }
    }
}

/// Writes the program's own log lines, on a thread of its own.
pub(super) fn write_log(
    mut log: aya_log::EbpfLogger<&'static dyn log::Log>,
    messages: &mpsc::Sender<Message>,
) {
    while !messages.is_closed() {
        wait_until_readable(log.as_fd());
        log.flush();
    }
}

/// Returns when the kernel has written to a ring, or after half a second.
fn wait_until_readable(ring: BorrowedFd<'_>) {
    let mut polled = [PollFd::new(ring, PollFlags::POLLIN)];
    if poll(&mut polled, 500_u16).is_err() {
        // A signal, or no memory: try again, and not in a hot loop.
        thread::sleep(Duration::from_millis(10));
    }
}
