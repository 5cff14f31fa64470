//! What may be done about an address: offered on pages, confirmed, then done.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use ipnet::IpNet;
use maud::{Markup, html};
use serde_json::Value;

use super::layout::{self, Place};
use super::traffic::encoded;
use super::{PageError, Shown};
use crate::config::web::Rights;
use crate::control::protocol::{LiveAnswer, Request, RuntimeList};
use crate::web::Site;
use crate::web::access::Caller;
use crate::web::error::ApiError;
use crate::web::parts::Parts;

/// Links to what may be done about an address.
pub(super) async fn offers(site: &Site, caller: &Caller, ip: IpAddr, back: &str) -> Markup {
    let request = Request::Lookup { addresses: vec![ip] };
    let found: Result<Vec<LiveAnswer>, _> = site.ask(request, caller.peer()).await;
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

/// What is to be done.
struct Act {
    what: &'static str,
    title: &'static str,
    net: String,
    /// Where the user came from: a path of this site.
    back: String,
    note: Option<String>,
    lasts: Option<u64>,
}

const ACTS: [(&str, &str); 5] = [
    ("approve", "Approve"),
    ("block", "Block"),
    ("unapprove", "No longer approve"),
    ("unblock", "No longer block"),
    ("lift", "Lift the temporary block of"),
];

/// The times that an entry may be given, in seconds; 0 is for good.
const TIMES: [(u64, &str); 6] = [
    (0, "for good"),
    (3_600, "for an hour"),
    (86_400, "for a day"),
    (604_800, "for a week"),
    (2_592_000, "for 30 days"),
    (31_536_000, "for a year"),
];

impl Act {
    fn of(parts: &Parts) -> Result<Self, ApiError> {
        let what = parts.get("what").unwrap_or_default();
        let known = ACTS.into_iter().find(|(name, _)| *name == what);
        let (what, title) = known.ok_or_else(|| ApiError::bad_request("nothing to be done"))?;
        let net = parts.get("net").ok_or_else(|| ApiError::bad_request("net is needed"))?;
        let back = parts.get("back").unwrap_or("/lists");
        // No other host: a path, and none that browsers take for one.
        let is_here = back.starts_with('/')
            && !back.starts_with("//")
            && !back.contains(['\\', '\r', '\n', '\t']);
        let lasts = parts.get("for").and_then(|text| text.parse().ok()).filter(|time| *time > 0);
        Ok(Self {
            what,
            title,
            net: net.trim().to_owned(),
            back: if is_here { back.to_owned() } else { "/lists".to_owned() },
            note: parts.get("note").map(str::to_owned),
            lasts,
        })
    }

    fn adds(&self) -> bool {
        ["approve", "block"].contains(&self.what)
    }

    fn request(&self) -> Result<Request, ApiError> {
        let wrong = || ApiError::bad_request(format!("`{}` is no address or network", self.net));
        let address = self.net.parse::<IpAddr>();
        let prefix = || {
            let net = self.net.parse::<IpNet>().ok();
            net.or_else(|| address.clone().ok().map(IpNet::from)).ok_or_else(wrong)
        };
        let list = if self.what.ends_with("approve") {
            RuntimeList::Approved
        } else {
            RuntimeList::Blocked
        };
        Ok(match self.what {
            "lift" => Request::TemporaryRemove { address: address.map_err(|_| wrong())? },
            "unapprove" | "unblock" => Request::RuntimeRemove { list, prefix: prefix()? },
            _ => Request::RuntimeAdd {
                list,
                prefix: prefix()?,
                note: self.note.clone(),
                expires_in_s: self.lasts,
                force: false,
            },
        })
    }
}

/// Asks whether it is meant.
pub(super) async fn confirm(
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Shown {
    let wrong = |error| PageError::of(Place::Lists, error);
    let act = Parts::of(query.as_deref()).and_then(|parts| Act::of(&parts)).map_err(wrong)?;
    act.request().map_err(wrong)?;
    let body = html! {
        h1 { (act.title) " " (act.net) "?" }
        form.confirm method="post" action="/act" {
            input type="hidden" name="what" value=(act.what);
            input type="hidden" name="net" value=(act.net);
            input type="hidden" name="back" value=(act.back);
            @if act.adds() {
                label { span { "Note" } input name="note" maxlength="200" value=[act.note.as_deref()] autocomplete="off"; }
                label { span { "How long" }
                    select name="for" {
                        @for (seconds, name) in TIMES { option value=(seconds) { (name) } }
                    }
                }
            }
            @if caller.rights < Rights::Write {
                p.quiet { "This needs a token that may write: your browser will ask for it, as a password." }
            }
            p.buttons {
                button type="submit" autofocus { (act.title) " " (act.net) }
                a href=(act.back) { "Back" }
            }
        }
    };
    Ok(layout::page(Place::Lists, act.title, &body))
}

/// Does it, and goes back.
pub(super) async fn act(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, PageError> {
    let wrong = |error| PageError::of(Place::Lists, error);
    let text = String::from_utf8(body.into());
    let text = text.map_err(|_| wrong(ApiError::bad_request("the form is not UTF-8")))?;
    let act = Parts::of(Some(&text)).and_then(|parts| Act::of(&parts)).map_err(wrong)?;
    let request = act.request().map_err(wrong)?;
    let done: Result<Value, _> = site.ask(request, caller.peer()).await;
    done.map_err(PageError::at(Place::Lists))?;
    Ok(Redirect::to(&act.back).into_response())
}
