//! Entries that contradict each other.

use std::net::IpAddr;

use ipnet::IpNet;

use super::access::Caller;
use super::site::Site;
use crate::control::protocol::{LiveAnswer, Request, RuntimeList};

/// Warns of a new entry that contradicts others: a block that an approval overrides, or an
/// approval that overrides blocks.
pub(super) async fn conflict(
    site: &Site,
    caller: &Caller,
    list: RuntimeList,
    prefix: IpNet,
) -> Option<String> {
    match list {
        RuntimeList::Blocked => approved_first(site, caller, prefix.network(), prefix).await,
        RuntimeList::Approved => {
            site.ask(Request::Shadowed { prefix }, caller.peer()).await.ok().flatten()
        }
    }
}

/// The approval that overrides a block of this network.
pub(super) async fn approved_first(
    site: &Site,
    caller: &Caller,
    address: IpAddr,
    blocked: IpNet,
) -> Option<String> {
    let request = Request::Lookup { addresses: vec![address] };
    let found: Vec<LiveAnswer> = site.ask(request, caller.peer()).await.ok()?;
    found.first()?.answer.approved_first(blocked)
}
