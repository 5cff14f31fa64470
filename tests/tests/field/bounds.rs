//! What strangers can make grow, and ordinary senders who must not be counted as hostile.

mod conduct;
mod dns;
mod mail_log;
mod offers;
mod ordinary_day;
mod shares;
mod tenants;
mod waits;
