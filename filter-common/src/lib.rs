//! The types and functions that mxdp's kernel program and its daemon share.
//!
//! Everything here is pure and `no_std`: the layout of every map and event ([`abi`]), the bounds on
//! hostile input ([`limits`]), the frame parser over a bounded reader ([`frame`]), the lists'
//! classes ([`class`]) and the verdict over a lookup trait ([`verdict`]). The kernel program passes
//! packet pointers and maps to these functions; the tests pass slices and tables. Both run the same
//! code, so a test here holds for the kernel too.
//!
//! This crate imports only `core` and has no unsafe code.
#![no_std]

pub mod abi;
pub mod class;
pub mod frame;
pub mod hierarchy;
pub mod limits;
pub mod ranges;
pub mod reason;
pub mod verdict;

pub use class::{Class, ClassSet, Enforcement};
pub use frame::{Address, Family, Frame, Syn};
pub use reason::{Disposition, Reason};
