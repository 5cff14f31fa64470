//! Buttons for the actions that a page offers for an address.

use std::net::IpAddr;

use maud::{Markup, html};

use super::visit::Visit;
use crate::control::protocol::{LiveAnswer, Request};
use crate::web::parts::encoded;

/// Links to the actions that are possible for an address.
pub(super) async fn offers(visit: &Visit, ip: IpAddr, back: &str) -> Markup {
    let request = Request::Lookup { addresses: vec![ip] };
    let found: Result<Vec<LiveAnswer>, _> = visit.try_ask(request).await;
    let is_held = found.is_ok_and(|found| found.iter().any(|live| live.temporary.is_some()));
    let (net, back) = (encoded(&ip.to_string()), encoded(back));
    let link = |what: &str| format!("/act?what={what}&net={net}&back={back}");
    html! {
        p.acts {
            a.button href=(link("approve")) { "Approve " (ip) }
            a.button href=(link("block")) { "Block " (ip) }
            @if is_held { a.button href=(link("lift")) { "Lift its temporary block" } }
        }
    }
}
