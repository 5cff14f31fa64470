//! What strangers can make grow, and ordinary senders who must not be counted as hostile.

mod offers;
mod waits;
