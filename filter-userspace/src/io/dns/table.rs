//! Queries that are under way: how many there may be, and for whom.
//!
//! Senders choose which servers their queries go to, and how slowly they are answered. So senders'
//! queries take at most half of the slots, and those of one client network a small part, which
//! leaves slots for DNS lists. Customers' mail and the names of clients have slots of their own,
//! which no stranger's sender can take.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::sync::watch;

use crate::dns::{Lookup, Query};
use crate::io::descriptors;
use crate::io::networks::wide;
use crate::lists::ClientNetwork;

/// A receiver of the answer.
pub(super) type Waiting = watch::Receiver<Option<Lookup>>;

/// The minimum number of queries that a client network may have under way, if there are so many
/// slots: an `mx` of SPF alone sends ten queries, and DNS lists have up to 128 zones.
const LEAST: usize = 64;

/// The purpose of a query, which decides its share of slots and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The configuration's own: domains that it names, test entries of DNS lists. They are few.
    Own,
    /// DNS lists are queried about this client.
    Lists(IpAddr),
    /// This client or its sender named the domain.
    Sender(IpAddr),
    /// This customer's host named a recipient of the domain.
    Customer(IpAddr),
    /// This client's own names are queried.
    Names(IpAddr),
}

impl Purpose {
    /// The same, by the client network.
    pub(super) fn folded(self) -> Self {
        self.of(|client| ClientNetwork::of(client).first())
    }

    /// The same for what one customer of a provider is given: for IPv6 a /48.
    fn wide(self) -> Self {
        self.of(wide)
    }

    fn of(self, holder: fn(IpAddr) -> IpAddr) -> Self {
        match self {
            Self::Own => Self::Own,
            Self::Lists(client) => Self::Lists(holder(client)),
            Self::Sender(client) => Self::Sender(holder(client)),
            Self::Customer(client) => Self::Customer(holder(client)),
            Self::Names(client) => Self::Names(holder(client)),
        }
    }

    /// The owner of the cached answer.
    pub(super) const fn owner(self) -> IpAddr {
        match self {
            Self::Own => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Self::Lists(client)
            | Self::Sender(client)
            | Self::Customer(client)
            | Self::Names(client) => client,
        }
    }

    /// The maximum number of slots of a client network, if lists and senders have `most` together.
    fn of_client(self, most: usize) -> usize {
        let reserved = descriptors::reserved(most);
        match self {
            Self::Own => usize::MAX,
            Self::Lists(_) | Self::Sender(_) => (most / 16).max(LEAST).min(most.div_ceil(4)),
            // Customers are known, and one of them may send most of the mail.
            Self::Customer(_) => reserved.div_ceil(2),
            Self::Names(_) => (reserved / 16).max(LEAST).min(reserved.div_ceil(2)),
        }
    }
}

/// Queries that are under way.
#[derive(Debug, Default)]
pub(super) struct Table {
    waiting: HashMap<Query, (Waiting, Purpose)>,
    /// The number of each purpose and network.
    counts: HashMap<Purpose, usize>,
    /// The same for each /48.
    sites: HashMap<Purpose, usize>,
    lists: usize,
    senders: usize,
    customers: usize,
    names: usize,
}

impl Table {
    /// The receiver for a query that is under way already.
    pub(super) fn waiting(&self, query: &Query) -> Option<Waiting> {
        self.waiting.get(query).map(|(waiting, _)| waiting.clone())
    }

    /// Takes a slot for a query: one of the `most` of lists and senders, or of the
    /// [`descriptors::reserved`] ones of customers or of names.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn begin(
        &mut self,
        query: &Query,
        waiting: Waiting,
        purpose: Purpose,
        most: usize,
    ) -> Result<(), &'static str> {
        let purpose = purpose.folded();
        let own = self.counts.get(&purpose).copied().unwrap_or(0);
        let reserved = descriptors::reserved(most);
        let under_way = self.lists + self.senders;
        let of_senders = most.saturating_sub(under_way);
        let free = match purpose {
            Purpose::Own => usize::MAX,
            Purpose::Lists(_) => of_senders,
            Purpose::Sender(_) => of_senders.min(most.div_ceil(2).saturating_sub(self.senders)),
            Purpose::Customer(_) => reserved.saturating_sub(self.customers),
            Purpose::Names(_) => reserved.saturating_sub(self.names),
        };
        if free == 0 {
            return Err("too many questions are under way");
        }
        // The owner of many networks may use no more slots than are left free.
        let of_site = self.sites.get(&purpose.wide()).copied().unwrap_or(0);
        if own >= purpose.of_client(most) || of_site >= free {
            return Err("too many questions of this client are under way");
        }
        *self.counts.entry(purpose).or_insert(0) += 1;
        *self.sites.entry(purpose.wide()).or_insert(0) += 1;
        if let Some(all) = self.all_of(purpose) {
            *all += 1;
        }
        self.waiting.insert(query.clone(), (waiting, purpose));
        Ok(())
    }

    /// Releases the slot.
    pub(super) fn end(&mut self, query: &Query) {
        let Some((_, purpose)) = self.waiting.remove(query) else { return };
        if let Some(all) = self.all_of(purpose) {
            *all = all.saturating_sub(1);
        }
        for (counts, key) in [(&mut self.counts, purpose), (&mut self.sites, purpose.wide())] {
            if let Some(count) = counts.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }

    /// The number of queries of this kind that are under way; those of the configuration are not
    /// counted.
    const fn all_of(&mut self, purpose: Purpose) -> Option<&mut usize> {
        match purpose {
            Purpose::Own => None,
            Purpose::Lists(_) => Some(&mut self.lists),
            Purpose::Sender(_) => Some(&mut self.senders),
            Purpose::Customer(_) => Some(&mut self.customers),
            Purpose::Names(_) => Some(&mut self.names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RecordType;

    fn query(number: usize) -> Query {
        Query::new(&format!("{number}.example"), RecordType::A)
    }

    #[test]
    fn senders_leave_half_of_the_places_to_dns_lists() {
        let (_sender, waiting) = watch::channel(None);
        let mut table = Table::default();
        let mut asked = 0;
        let mut ask = |table: &mut Table, purpose| {
            asked += 1;
            table.begin(&query(asked), waiting.clone(), purpose, 1024)
        };
        let client = |number: usize| -> IpAddr {
            let [.., high, low] = number.to_be_bytes();
            [198, 18, high, low].into()
        };
        // One client network alone gets a small part, of either kind.
        let first = (0..500).filter(|_| ask(&mut table, Purpose::Sender(client(0))).is_ok());
        assert_eq!(first.count(), 64);
        // All senders together get half.
        let more =
            (1..2000).filter(|number| ask(&mut table, Purpose::Sender(client(*number))).is_ok());
        assert_eq!(more.count(), 512 - 64);
        // The lists get the other half, and the configuration's queries as many as they need.
        let lists =
            (1..2000).filter(|number| ask(&mut table, Purpose::Lists(client(*number))).is_ok());
        assert_eq!(lists.count(), 512);
        assert!(ask(&mut table, Purpose::Own).is_ok());
        // Addresses of one /64 are one client network.
        let mut table = Table::default();
        let of_64 = |number: usize| -> IpAddr { format!("2001:db8::{number:x}").parse().unwrap() };
        let one = (0..500).filter(|number| ask(&mut table, Purpose::Lists(of_64(*number))).is_ok());
        assert_eq!(one.count(), 64);
    }

    /// Strangers' senders take nothing of what customers' mail and the names of clients need, and
    /// no client network takes the share of all others.
    #[test]
    fn customers_and_names_have_places_that_nobody_else_takes() {
        let (_sender, waiting) = watch::channel(None);
        let client = |number: usize| -> IpAddr {
            let [.., high, low] = number.to_be_bytes();
            [198, 18, high, low].into()
        };
        for most in [1, 2, 37, 64, 1024, 4096] {
            let mut table = Table::default();
            let mut asked = 0;
            let mut granted = |table: &mut Table, purpose: fn(IpAddr) -> Purpose, clients| {
                let mut granted = 0;
                for number in (0..clients).flat_map(|client| [client; 1024]) {
                    asked += 1;
                    let begun =
                        table.begin(&query(asked), waiting.clone(), purpose(client(number)), most);
                    granted += usize::from(begun.is_ok());
                }
                granted
            };
            assert_eq!(granted(&mut table, Purpose::Sender, 100), most.div_ceil(2), "{most}");
            let reserved = descriptors::reserved(most);
            let lists = granted(&mut table, Purpose::Lists, 100);
            assert_eq!(lists, most - most.div_ceil(2), "{most}");
            let one = granted(&mut table, Purpose::Customer, 1);
            assert!((1..=reserved.div_ceil(2)).contains(&one), "{most}: {one}");
            assert_eq!(one + granted(&mut table, Purpose::Customer, 100), reserved, "{most}");
            let one = granted(&mut table, Purpose::Names, 1);
            assert!((1..=reserved.div_ceil(2)).contains(&one), "{most}: {one}");
            assert_eq!(one + granted(&mut table, Purpose::Names, 100), reserved, "{most}");
            assert!(table.begin(&query(0), waiting.clone(), Purpose::Own, most).is_ok());
            for number in 0..=asked {
                table.end(&query(number));
            }
            assert!(table.counts.is_empty() && table.customers == 0 && table.names == 0);
        }
    }

    #[test]
    fn places_are_given_back() {
        let (_sender, waiting) = watch::channel(None);
        let mut table = Table::default();
        for round in 0..3 {
            for number in 0..8 {
                let client = Purpose::Sender([198, 18, 0, number].into());
                let query = query(usize::from(number));
                assert!(table.begin(&query, waiting.clone(), client, 16).is_ok(), "{round}");
            }
            assert!(
                table
                    .begin(&query(99), waiting.clone(), Purpose::Sender([198, 18, 0, 9].into()), 16)
                    .is_err()
            );
            for number in 0..8 {
                table.end(&query(number));
            }
        }
        assert!(table.counts.is_empty() && table.waiting.is_empty() && table.senders == 0);
    }
}
