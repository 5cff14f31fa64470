//! What accumulates, and what an operator does in an emergency.

mod attached;
mod blocks;
mod console_clients;
mod detach;
mod ending;
mod entries;
mod mail_log;
mod rule_sets;
