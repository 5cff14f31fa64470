//! Connections, balancers, and frames that carry a SYN in something else.

mod balancers;
mod frames;
mod trusted;
