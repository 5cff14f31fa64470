//! The compiler of the scale engine: from the verdict table to ranges in arrays.
//!
//! What the arrays mean is said in `filter_common::ranges`, with the lookups.

mod v4;
mod v6;
mod words;

use std::net::IpAddr;

use filter_common::ranges;
use filter_common::{Address, ClassSet};

use super::prefix::canonical;

pub use v4::V4;
pub use v6::V6;
pub use words::{TooLarge, Words};

/// Both families' tables, where they are not empty.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// IPv4.
    pub v4: Option<V4>,
    /// IPv6.
    pub v6: Option<V6>,
}

impl Ranges {
    /// Compiles a verdict table.
    ///
    /// # Errors
    ///
    /// When it is too large.
    pub fn compile(table: &super::Table) -> Result<Self, TooLarge> {
        let v4 = (!table.v4.is_empty()).then(|| V4::compile(&table.v4)).transpose()?;
        let v6 = (!table.v6.is_empty()).then(|| V6::compile(&table.v6)).transpose()?;
        Ok(Self { v4, v6 })
    }

    /// The classes of an address: what the kernel answers.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> ClassSet {
        match canonical(address) {
            IpAddr::V4(address) => self.v4.as_ref().map_or(ClassSet::EMPTY, |table| {
                let plane = |index: usize| table.planes().get(index).copied().unwrap_or(0);
                ranges::v4::look_up(address.to_bits(), plane, &table.words().slice())
            }),
            IpAddr::V6(address) => self.v6.as_ref().map_or(ClassSet::EMPTY, |table| {
                let (high, low) = Address::v6(address.octets()).halves();
                ranges::v6::look_up(high, low, &table.words().slice())
            }),
        }
    }
}
