//! What accumulates, and what an operator does in an emergency.

mod attached;
mod blocks;
mod detach;
mod entries;
