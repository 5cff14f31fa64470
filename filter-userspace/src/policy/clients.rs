//! What is remembered about clients, in bounded memory that an owner of many addresses cannot fill
//! alone.
//!
//! A client is a [`ClientNetwork`]. Whoever has an IPv6 /48 has 65,536 of them, as many as are
//! remembered; so a /48 has a share, and what is beyond it takes the place of its own oldest.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::lists::ClientNetwork;

/// What is remembered of each client; the longest unused is forgotten first.
#[derive(Debug)]
pub(super) struct Clients<V> {
    known: LruCache<ClientNetwork, V>,
    /// The clients of each /48 that are remembered, the oldest first.
    sites: HashMap<Ipv6Addr, VecDeque<ClientNetwork>>,
    share: usize,
}

impl<V> Clients<V> {
    /// Of so many clients, of which each /48 may have a share.
    pub(super) fn new(most: NonZeroUsize, share: usize) -> Self {
        Self { known: LruCache::new(most), sites: HashMap::new(), share }
    }

    /// What is known of a client; it is used thereby.
    pub(super) fn get_or_insert(
        &mut self,
        client: ClientNetwork,
        new: impl FnOnce() -> V,
    ) -> &mut V {
        if !self.known.contains(&client) {
            self.make_room(client);
        }
        self.known.get_or_insert_mut(client, new)
    }

    /// Sets what is known of a client.
    pub(super) fn put(&mut self, client: ClientNetwork, value: V) {
        if !self.known.contains(&client) {
            self.make_room(client);
        }
        self.known.put(client, value);
    }

    /// What is known of a client; that does not count as use.
    pub(super) fn peek(&self, client: ClientNetwork) -> Option<&V> {
        self.known.peek(&client)
    }

    /// All that is known, the least recently used first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientNetwork, &V)> {
        self.known.iter().rev().map(|(client, value)| (*client, value))
    }

    /// Forgets a client.
    pub(super) fn pop(&mut self, client: ClientNetwork) {
        if self.known.pop(&client).is_some() {
            self.leave(client);
        }
    }

    /// Makes room for a client that is not known yet, and counts it.
    fn make_room(&mut self, client: ClientNetwork) {
        let full = client.site().and_then(|site| {
            let clients = self.sites.get(&site)?;
            clients.front().copied().filter(|_| clients.len() >= self.share)
        });
        if let Some(oldest) = full {
            self.pop(oldest);
        } else if self.known.len() == self.known.cap().get()
            && let Some((oldest, _)) = self.known.pop_lru()
        {
            self.leave(oldest);
        }
        if let Some(site) = client.site() {
            self.sites.entry(site).or_default().push_back(client);
        }
    }

    /// A client is known no more.
    fn leave(&mut self, client: ClientNetwork) {
        let Some(site) = client.site() else { return };
        let Some(clients) = self.sites.get_mut(&site) else { return };
        clients.retain(|known| *known != client);
        if clients.is_empty() {
            self.sites.remove(&site);
        }
    }
}

/// The recipients of each client that are accepted, and whose message is still under way: what
/// was named beside them is weighed against them too. As many clients as have sessions.
#[derive(Debug, Default)]
pub(super) struct Open(HashMap<ClientNetwork, u32>);

impl Open {
    /// Of a session of the client there were so many, and are so many now.
    pub(super) fn change(&mut self, client: ClientNetwork, before: usize, now: usize) {
        let [before, now] = [before, now].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let count = self.0.entry(client).or_default();
        *count = count.saturating_sub(before).saturating_add(now);
        if *count == 0 {
            self.0.remove(&client);
        }
    }

    /// How many a client has.
    pub(super) fn of(&self, client: ClientNetwork) -> u32 {
        self.0.get(&client).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");

    fn v6(site: u16, number: u16) -> ClientNetwork {
        ClientNetwork::of(Ipv6Addr::new(0x2001, 0xdb8, site, number, 0, 0, 0, 0).into())
    }

    #[test]
    fn a_48_has_its_share_and_no_more() {
        let mut clients = Clients::new(MOST, 10);
        let v4 = |last: u8| ClientNetwork::of([192, 0, 2, last].into());
        for number in 0..40 {
            clients.put(v4(number), 0);
            clients.put(v6(u16::from(number) + 10, 0), 0);
        }
        for number in 0..1_000 {
            *clients.get_or_insert(v6(1, number), || 0) += 1;
            clients.put(v6(2, number), 0);
        }
        for number in 0..40 {
            assert!(clients.peek(v4(number)).is_some(), "{number}");
            assert!(clients.peek(v6(u16::from(number) + 10, 0)).is_some(), "{number}");
        }
        assert_eq!(clients.known.len(), 100);
        let kept = |clients: &Clients<i32>| {
            (0..1_000).filter(|number| clients.peek(v6(1, *number)).is_some()).count()
        };
        assert_eq!(kept(&clients), 10);
        assert_eq!(clients.peek(v6(1, 999)), Some(&1), "the newest are kept");
        // Where there are too many /48, the longest unused is forgotten.
        for site in 100..400 {
            clients.put(v6(site, 0), 0);
        }
        assert_eq!((clients.known.len(), kept(&clients)), (100, 0));
        let listed: usize = clients.sites.values().map(VecDeque::len).sum();
        assert_eq!((listed, clients.sites.len()), (100, 100), "none is counted that is forgotten");
        clients.pop(v6(399, 0));
        assert_eq!((clients.sites.len(), clients.peek(v6(399, 0))), (99, None));
    }
}
