//! What accumulates, and what an operator does in an emergency.

mod blocks;
mod detach;
