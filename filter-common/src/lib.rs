//! The words that mxdp's kernel program and its daemon share.
//!
//! What lives here is pure and `no_std`: the layout of every map and event
//! ([`abi`]), the bounds on hostile input ([`limits`]), the frame parser over a
//! bounded reader ([`frame`]), the lists' classes ([`class`]) and the verdict
//! over a lookup trait ([`verdict`]). The kernel program gives these functions
//! packet pointers and maps; the tests give them slices and tables. Both run
//! the same code, so a vector that passes here means something there.
//!
//! This crate imports nothing but `core` and holds no unsafe code.
#![no_std]

pub mod abi;
pub mod class;
pub mod frame;
pub mod limits;
pub mod ranges;
pub mod reason;
pub mod verdict;

pub use class::{Class, ClassSet, Enforcement};
pub use frame::{Address, Family, Frame, Syn};
pub use reason::{Disposition, Reason};
