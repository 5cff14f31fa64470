//! Bounded slots for connections, in which nobody has to wait for an idle client.
//!
//! When all slots are in use, or all that one owner may use, a new connection replaces the one that
//! has been idle for the longest: of the owner that has too many, or else of the owner that has the
//! most. So a client that opens connections and neither reads nor writes ends its own, and
//! everybody else is served at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How long it is assumed that nobody gives way.
const LOOK: Duration = Duration::from_millis(100);

/// The numbers of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all owners together.
    pub total: usize,
    /// Of one owner.
    pub each: usize,
    /// An owner of more than this gives way whatever its connections do.
    pub greedy: usize,
}

/// The slots, by their owners.
#[derive(Debug)]
pub struct Places<K> {
    bounds: Bounds,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    next: u64,
    places: HashMap<u64, Kept<K>>,
    /// The number of slots of each owner.
    counts: HashMap<K, usize>,
    /// How long it is known that nobody gives way, so that another search would be in vain. If an
    /// owner is greedy, this applies to that owner only.
    nobody: Option<(Instant, Option<K>)>,
}

#[derive(Debug)]
struct Kept<K> {
    owner: K,
    activity: Arc<Activity>,
    taken: Arc<Notify>,
}

/// The activity of a connection.
#[derive(Debug)]
pub struct Activity {
    born: Instant,
    /// When it last made progress, in milliseconds since then.
    moved: AtomicU64,
    /// Whether one of its requests is being answered.
    works: AtomicBool,
}

impl Activity {
    fn new() -> Self {
        Self { born: Instant::now(), moved: AtomicU64::new(0), works: AtomicBool::new(false) }
    }

    /// Notes that the connection made progress.
    pub fn moved(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// Notes whether a request is being answered: then a connection is not idle.
    pub fn set_working(&self, works: bool) {
        self.moved();
        self.works.store(works, Ordering::Relaxed);
    }

    /// How long it has made no progress, without a request being answered.
    fn still(&self) -> Duration {
        self.still_at(Instant::now())
    }

    /// The same at a given time: reading the clock for thousands of connections would take too
    /// long.
    fn still_at(&self, now: Instant) -> Duration {
        if self.works.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        now.saturating_duration_since(self.born).saturating_sub(moved)
    }

    /// Returns when the connection has been idle for as long as it may.
    pub async fn stands_still(&self, patience: Duration) {
        loop {
            let still = self.still();
            if still >= patience {
                return;
            }
            tokio::time::sleep((patience - still).max(Duration::from_millis(10))).await;
        }
    }
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash + Clone> {
    places: Arc<Places<K>>,
    number: u64,
    /// The activity of its connection.
    pub activity: Arc<Activity>,
    taken: Arc<Notify>,
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// Free slots.
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let held = Held { next: 0, places: HashMap::new(), counts: HashMap::new(), nobody: None };
        Arc::new(Self { bounds, held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a slot, for which another connection may have to end.
    pub fn enter(self: &Arc<Self>, owner: K) -> Place<K> {
        let mut held = self.held();
        let gives_way = held.who_gives_way(self.bounds, &owner);
        if let Some((number, _)) = gives_way {
            held.end(number);
        }
        self.give(held, owner)
    }

    /// Gives a slot. If another connection would have to end for it that has not been idle long
    /// enough, there is none, unless that is one of an owner with far more than its share. If the
    /// largest owner has no idle connection, any owner's may end.
    pub fn try_enter(self: &Arc<Self>, owner: K, a_while: Duration) -> Option<Place<K>> {
        let mut held = self.held();
        if held.places.len() >= self.bounds.total && held.is_known_to_wait(&owner) {
            return None;
        }
        let gives_way = held.who_gives_way(self.bounds, &owner);
        if let Some((number, still)) = gives_way {
            let mut number = Some(number);
            let greedy = number.and_then(|one| held.greedy(one, self.bounds)).cloned();
            // Ending an owner's connection for another of the same owner helps nobody: all clients
            // of a balancer without PROXY are one owner.
            let is_of_another = greedy.as_ref().is_some_and(|greedy| *greedy != owner);
            if still < a_while && !is_of_another {
                let is_own = held.count(&owner) >= self.bounds.each;
                let anybody = held.stillest(|_| !is_own);
                number = anybody.filter(|(_, still)| *still >= a_while).map(|(one, _)| one);
            }
            let Some(number) = number else {
                held.nobody = Some((Instant::now() + LOOK, greedy));
                return None;
            };
            held.end(number);
        }
        Some(self.give(held, owner))
    }

    fn give(self: &Arc<Self>, mut held: MutexGuard<'_, Held<K>>, owner: K) -> Place<K> {
        let (activity, taken) = (Arc::new(Activity::new()), Arc::new(Notify::new()));
        let number = held.next;
        held.next += 1;
        *held.counts.entry(owner.clone()).or_default() += 1;
        let kept = Kept { owner, activity: activity.clone(), taken: taken.clone() };
        held.places.insert(number, kept);
        drop(held);
        Place { places: self.clone(), number, activity, taken }
    }

    /// The number of slots in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().places.len()
    }

    /// Whether no slot is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash + Clone> Held<K> {
    fn count(&self, owner: &K) -> usize {
        self.counts.get(owner).copied().unwrap_or(0)
    }

    /// Whether it is known that nobody gives way to an owner.
    fn is_known_to_wait(&self, owner: &K) -> bool {
        self.nobody.as_ref().is_some_and(|(until, greedy)| {
            Instant::now() < *until && greedy.as_ref().is_none_or(|greedy| greedy == owner)
        })
    }

    /// The owner of a slot, if it has so many that its connections give way whatever they do.
    fn greedy(&self, number: u64, bounds: Bounds) -> Option<&K> {
        let owner = &self.places.get(&number)?.owner;
        (self.count(owner) > bounds.greedy).then_some(owner)
    }

    /// The connection that has to end for a new one of an owner, and how long it has been idle;
    /// none if a slot is free.
    fn who_gives_way(&self, bounds: Bounds, owner: &K) -> Option<(u64, Duration)> {
        if self.count(owner) >= bounds.each {
            return self.stillest(|kept| kept.owner == *owner);
        }
        if self.places.len() < bounds.total {
            return None;
        }
        let most = self.counts.values().max()?;
        let largest: Vec<_> = self.counts.iter().filter(|(_, count)| *count == most).collect();
        match largest.as_slice() {
            [(owner, _)] => self.stillest(|kept| kept.owner == **owner),
            _ => self.stillest(|kept| self.count(&kept.owner) == *most),
        }
    }

    /// Of those with the same time, the oldest.
    fn stillest(&self, is_one: impl Fn(&Kept<K>) -> bool) -> Option<(u64, Duration)> {
        let now = Instant::now();
        let some = self.places.iter().filter(|(_, kept)| is_one(kept));
        let still = some.map(|(number, kept)| (*number, kept.activity.still_at(now)));
        still.max_by_key(|(number, still)| (*still, std::cmp::Reverse(*number)))
    }

    fn end(&mut self, number: u64) {
        if let Some(kept) = self.remove(number) {
            kept.taken.notify_one();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Kept<K>> {
        let kept = self.places.remove(&number)?;
        self.uncount(&kept.owner);
        Some(kept)
    }

    fn uncount(&mut self, owner: &K) {
        if let Some(count) = self.counts.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(owner);
            }
        }
    }
}

impl<K: Eq + Hash + Clone> Place<K> {
    /// Sets the owner of the slot: the first owner was the balancer in front.
    pub fn belong_to(&self, owner: K) {
        let mut held = self.places.held();
        let Some(kept) = held.places.get_mut(&self.number) else { return };
        let before = std::mem::replace(&mut kept.owner, owner.clone());
        held.uncount(&before);
        *held.counts.entry(owner).or_default() += 1;
    }

    /// Returns when another connection has taken the slot.
    pub async fn taken(&self) {
        self.taken.notified().await;
    }
}

/// Returns when another connection has taken the slot; never if there is none.
pub async fn taken<K: Eq + Hash + Clone>(place: Option<&Place<K>>) {
    match place {
        Some(place) => place.taken().await,
        None => std::future::pending().await,
    }
}

impl<K: Eq + Hash + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        self.places.held().remove(self.number);
    }
}

/// A stream that reports when bytes move.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    /// A stream, and the activity that is updated.
    pub const fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.moved();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.activity.moved();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_taken(place: &Place<&'static str>) -> bool {
        place.taken().now_or_never().is_some()
    }

    /// The connection that has been idle for the longest ends, and never one of another owner.
    #[test]
    fn who_has_too_many_ends_its_own_connection() {
        let places = Places::new(Bounds { total: 10, each: 3, greedy: usize::MAX });
        let other = places.enter("other");
        let own: Vec<_> = (0..3).map(|_| places.enter("own")).collect();
        std::thread::sleep(Duration::from_millis(5));
        own[0].activity.moved();
        own[1].activity.set_working(true);
        let fourth = places.enter("own");
        assert_eq!(own.iter().map(is_taken).collect::<Vec<_>>(), [false, false, true]);
        assert!(!is_taken(&other) && !is_taken(&fourth));
        assert_eq!(places.len(), 4);
        drop((own, fourth, other));
        assert!(places.is_empty());
    }

    /// However many connections arrive, the largest owner gives way, and a newcomer always finds a
    /// slot.
    #[test]
    fn who_has_the_most_gives_way_when_all_places_are_held() {
        let places = Places::new(Bounds { total: 8, each: 5, greedy: usize::MAX });
        let many: Vec<_> = (0..5).map(|_| places.enter("many")).collect();
        let few: Vec<_> = (0..3).map(|_| places.enter("few")).collect();
        let newcomers = ["a", "b"].map(|owner| places.enter(owner));
        assert_eq!(many.iter().filter(|place| is_taken(place)).count(), 2);
        assert!(!few.iter().chain(&newcomers).any(is_taken));
        assert_eq!(places.len(), 8);
    }

    #[test]
    fn who_does_something_need_not_give_way_to_those_who_can_wait() {
        let places = Places::new(Bounds { total: 32, each: 2, greedy: usize::MAX });
        let a_while = Duration::from_millis(50);
        let one = places.enter("own");
        let two = places.enter("own");
        assert!(places.try_enter("own", Duration::from_secs(60)).is_none());
        two.activity.set_working(true);
        std::thread::sleep(a_while);
        let three = places.try_enter("own", a_while);
        assert!(three.is_some() && is_taken(&one) && !is_taken(&two));
    }

    /// A busy owner of many connections does not protect others' idle ones.
    #[test]
    fn anybody_gives_way_where_the_largest_is_busy() {
        let places = Places::new(Bounds { total: 8, each: 8, greedy: 8 });
        let a_while = Duration::from_millis(50);
        let busy: Vec<_> = (0..4).map(|_| places.enter("busy")).collect();
        busy.iter().for_each(|place| place.activity.set_working(true));
        let idle: Vec<_> = ["a", "b", "c", "d"].map(|owner| places.enter(owner)).into();
        assert!(places.try_enter("new", Duration::from_secs(60)).is_none());
        std::thread::sleep(LOOK + a_while);
        assert!(places.try_enter("new", a_while).is_some());
        assert!(!busy.iter().any(is_taken));
        assert_eq!(idle.iter().filter(|place| is_taken(place)).count(), 1);
    }

    /// Source: 9,000 connections from one IPv6 /57 held every slot of SMTP.
    #[test]
    fn who_holds_far_more_than_its_share_gives_way_whatever_it_does() {
        let places = Places::new(Bounds { total: 32, each: 32, greedy: 4 });
        let a_while = Duration::from_secs(60);
        let many: Vec<_> = (0..31).map(|_| places.enter("many")).collect();
        let balancer = places.enter("balancer");
        balancer.belong_to("client");
        many.iter().for_each(|place| place.activity.set_working(true));
        // Not for its own connections, which do not keep others from being served.
        assert!(places.try_enter("many", a_while).is_none());
        let others: Vec<_> = (0..8).map(|_| places.try_enter("other", a_while)).collect();
        assert!(others.iter().all(Option::is_some));
        assert!(!is_taken(&balancer));
        assert_eq!(places.len(), 32);
        drop((many, balancer, others));
        assert!(places.held().counts.is_empty());
    }

    #[tokio::test]
    async fn a_connection_stands_still_when_no_byte_moves() {
        let activity = Arc::new(Activity::new());
        let (client, server) = tokio::io::duplex(16);
        let mut watched = Watched::new(server, activity.clone());
        let patience = Duration::from_millis(200);
        let start = Instant::now();
        activity.stands_still(patience).await;
        assert!(start.elapsed() >= patience);
        tokio::io::AsyncWriteExt::write_all(&mut watched, b"x").await.unwrap();
        assert!(activity.still() < patience);
        activity.set_working(true);
        tokio::time::sleep(patience).await;
        assert_eq!(activity.still(), Duration::ZERO);
        drop(client);
    }
}
