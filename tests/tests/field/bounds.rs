//! Limits of what strangers can make grow, and ordinary senders that must not count as hostile.

mod conduct;
mod dns;
mod mail_log;
mod offers;
mod ordinary_day;
mod shares;
mod tenants;
mod waits;
