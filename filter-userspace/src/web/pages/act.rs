//! Changes for an address: offered on pages, confirmed, then made.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Redirect, Response};
use ipnet::IpNet;
use maud::{Markup, html};
use serde_json::Value;

use super::check;
use super::failure::{PageError, Shown};
use super::layout::ago;
use super::visit::Visit;
use crate::config::units;
use crate::config::web::Rights;
use crate::control::protocol::{Failure, LiveAnswer, Request, RuntimeEntry, RuntimeList};
use crate::io::clock;
use crate::lists::normalise;
use crate::record::when;
use crate::runtime::LONGEST_S;
use crate::text::grouped;
use crate::web::conflict::conflict;
use crate::web::error::{ApiError, status};
use crate::web::parts::{Parts, encoded};

/// A change that a user asks for.
struct Act {
    what: &'static str,
    title: &'static str,
    net: IpNet,
    /// The network as the user wrote it.
    given: String,
    /// Where the user came from: a path of this site.
    back: String,
    note: Option<String>,
    lasts: Lasts,
    force: bool,
}

/// How long an entry lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    /// Permanently.
    Permanently,
    /// For a number of seconds.
    Seconds(u64),
    /// As long as the existing entry; without one, this is an error.
    AsNow,
    /// Not stated: as long as an existing entry, otherwise permanently.
    Unsaid,
}

/// The changes: their names and titles.
const ACTS: [(&str, &str); 5] = [
    ("approve", "Approve"),
    ("block", "Block"),
    ("unapprove", "Remove the approval of"),
    ("unblock", "Remove the block of"),
    ("lift", "Lift the temporary block of"),
];

/// The durations on offer, in seconds; 0 means permanently.
const TIMES: [(u64, &str); 6] = [
    (0, "permanently"),
    (3_600, "for an hour"),
    (86_400, "for a day"),
    (604_800, "for a week"),
    (2_592_000, "for 30 days"),
    (31_536_000, "for a year"),
];

/// The value of the form that keeps the expiry of an entry.
const AS_NOW: &str = "unchanged";

impl Act {
    fn of(parts: &Parts) -> Result<Self, ApiError> {
        parts.only(&["what", "net", "back", "note", "for", "force"])?;
        let what = parts.get("what").unwrap_or_default();
        let known = ACTS.into_iter().find(|(name, _)| *name == what);
        let (what, title) = known.ok_or_else(|| {
            let names = ACTS.map(|(name, _)| name).join(", ");
            ApiError::bad_request(format!("what: expected one of {names}"))
        })?;
        let net = parts.network("net")?;
        let given = parts.get("net").unwrap_or_default().trim().to_owned();
        if what == "lift" && given.parse::<IpAddr>().is_err() {
            let message = "net: a temporary block has a single address, such as 192.0.2.7";
            return Err(ApiError::bad_request(message));
        }
        let back = parts.get("back").unwrap_or("/lists");
        // A path on this host, and nothing that a browser takes for another host.
        let is_here = back.starts_with('/')
            && !back.starts_with("//")
            && !back.contains(['\\', '\r', '\n', '\t']);
        Ok(Self {
            what,
            title,
            net,
            given,
            back: if is_here { back.to_owned() } else { "/lists".to_owned() },
            note: parts.get("note").map(str::to_owned),
            lasts: lasts(parts.given("for"))?,
            force: parts.parse("force")?.unwrap_or(false),
        })
    }

    fn adds(&self) -> bool {
        ["approve", "block"].contains(&self.what)
    }

    fn list(&self) -> RuntimeList {
        if self.what.ends_with("approve") { RuntimeList::Approved } else { RuntimeList::Blocked }
    }

    /// Whether a block is so large that it needs to be forced.
    fn is_large(&self) -> bool {
        let net = normalise(self.net);
        self.what == "block" && net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 16 }
    }

    /// The number of addresses, if there is more than one.
    fn size(&self) -> Option<String> {
        let net = normalise(self.net);
        let bits = net.max_prefix_len() - net.prefix_len();
        match bits {
            0 => None,
            1..=32 => Some(format!("{net}: {} addresses", grouped(1_u64 << bits))),
            _ => Some(format!("{net}: 2^{bits} addresses")),
        }
    }

    /// The existing entry.
    async fn entry(&self, visit: &Visit) -> Result<Option<RuntimeEntry>, Failure> {
        let request = Request::RuntimeList { list: self.list() };
        let entries: Vec<RuntimeEntry> = visit.try_ask(request).await?;
        let net = normalise(self.net);
        Ok(entries.into_iter().find(|entry| entry.prefix == net))
    }

    /// A warning about an entry that contradicts others.
    async fn conflict(&self, visit: &Visit) -> Option<String> {
        if self.adds() {
            conflict(&visit.site, &visit.caller, self.list(), normalise(self.net)).await
        } else {
            None
        }
    }

    async fn request(&self, visit: &Visit) -> Result<Request, Failure> {
        let (list, prefix) = (self.list(), self.net);
        Ok(match self.what {
            "lift" => Request::TemporaryRemove { address: prefix.addr() },
            "unapprove" | "unblock" => Request::RuntimeRemove { list, prefix },
            _ => Request::RuntimeAdd {
                list,
                prefix,
                note: self.note.clone(),
                permanent: self.lasts == Lasts::Permanently,
                expires_in_s: match self.lasts {
                    Lasts::Permanently | Lasts::Unsaid => None,
                    Lasts::Seconds(seconds) => Some(seconds),
                    Lasts::AsNow => self.remaining(visit).await?,
                },
                force: self.force,
            },
        })
    }

    /// The seconds until the entry expires; none if it is permanent.
    async fn remaining(&self, visit: &Visit) -> Result<Option<u64>, Failure> {
        let entry = self.entry(visit).await?;
        let gone = || {
            let message = format!(
                "{} is no longer listed, so its expiry cannot be kept: choose a duration",
                self.net
            );
            ApiError::bad_request(message).0
        };
        let end = entry.ok_or_else(gone)?.expires_at;
        let now = clock::unix_seconds();
        end.map(|end| end.checked_sub(now).filter(|left| *left > 0).ok_or_else(gone)).transpose()
    }
}

/// How long the entry lasts, as the field `for` says it: 0 means permanently, and an empty value is
/// an error.
fn lasts(text: Option<&str>) -> Result<Lasts, ApiError> {
    let Some(text) = text.map(str::trim) else { return Ok(Lasts::Unsaid) };
    if text == AS_NOW {
        return Ok(Lasts::AsNow);
    }
    let wrong = || {
        ApiError::bad_request(format!(
            "for: `{text}` is not a duration; write 90s, 10m, 2h30m or 7d, a number of seconds, or \
             0 for permanently"
        ))
    };
    let seconds = match text.parse::<u64>() {
        Ok(0) => return Ok(Lasts::Permanently),
        Ok(seconds) => seconds,
        Err(_) => match units::milliseconds(text) {
            Ok(milliseconds) if milliseconds >= 1_000 => milliseconds / 1_000,
            _ => return Err(wrong()),
        },
    };
    if seconds > LONGEST_S {
        return Err(ApiError::bad_request(format!(
            "for: `{text}` is more than {} days",
            LONGEST_S / 86_400
        )));
    }
    Ok(Lasts::Seconds(seconds))
}

/// Asks for confirmation.
pub(super) async fn confirm(visit: Visit) -> Shown {
    let act = Act::of(&visit.parts).map_err(|error| visit.error(error))?;
    let body = form(&visit, &act, None).await.map_err(|failure| visit.failure(failure))?;
    Ok(visit.frame.page(act.title, &body))
}

/// The form for confirmation, with the failure of an earlier attempt.
async fn form(visit: &Visit, act: &Act, failure: Option<&Failure>) -> Result<Markup, Failure> {
    let entry = if act.adds() { act.entry(visit).await? } else { None };
    let now = clock::unix_seconds();
    let note = act.note.clone().or_else(|| entry.as_ref()?.note.clone());
    let warning = act.conflict(visit).await;
    let is_permanent = entry.as_ref().is_some_and(|entry| entry.expires_at.is_none());
    let chosen = match (act.lasts, &entry) {
        (Lasts::Unsaid, Some(_)) | (Lasts::AsNow, _) => AS_NOW.to_owned(),
        (Lasts::Permanently, _) if is_permanent => AS_NOW.to_owned(),
        (Lasts::Permanently | Lasts::Unsaid, _) => "0".to_owned(),
        (Lasts::Seconds(seconds), _) => seconds.to_string(),
    };
    let is_offered = |seconds: u64| TIMES.iter().any(|(known, _)| *known == seconds);
    let needs_force =
        act.is_large() || failure.is_some_and(|failure| failure.message.contains("force"));
    Ok(html! {
        h1 { (act.title) " " (act.given) "?" }
        @if let Some(failure) = failure { p.alarm role="alert" { (failure.message) } }
        @if let Some(warning) = &warning { p.warning { (warning) } }
        @if let Some(size) = act.size() { p.quiet { (size) } }
        form.confirm method="post" action="/act" {
            input type="hidden" name="what" value=(act.what);
            input type="hidden" name="net" value=(act.given);
            input type="hidden" name="back" value=(act.back);
            @if act.adds() {
                label { span { "Note" } input name="note" maxlength="200" value=[note.as_deref()] autocomplete="off"; }
                label { span { "Duration" }
                    select name="for" {
                        @if let Some(entry) = &entry {
                            option value=(AS_NOW) selected[chosen == AS_NOW] {
                                @match entry.expires_at {
                                    Some(end) => { "unchanged: " (ago(end.saturating_sub(now))) " left" },
                                    None => "unchanged: permanently",
                                }
                            }
                        }
                        @if let Lasts::Seconds(seconds) = act.lasts {
                            @if !is_offered(seconds) {
                                option value=(seconds) selected {
                                    "for " (units::show_milliseconds(seconds.saturating_mul(1_000)))
                                }
                            }
                        }
                        @for (seconds, name) in TIMES {
                            @if seconds > 0 || !is_permanent {
                                option value=(seconds) selected[chosen == seconds.to_string()] { (name) }
                            }
                        }
                    }
                }
            }
            @if needs_force {
                label.tick {
                    input type="checkbox" name="force" value="true" checked[act.force];
                    span { "Yes, block all of these addresses (force)" }
                }
            }
            @if visit.caller.rights < Rights::Write {
                p.quiet { "This change requires a token with the right to write. Your browser asks for it as the password." }
            }
            p.buttons {
                button type="submit" { (act.title) " " (act.given) }
                a href=(act.back) { "Back" }
            }
        }
    })
}

/// Makes the change, and shows the state after it.
pub(super) async fn act(visit: Visit, body: Bytes) -> Result<Response, PageError> {
    let text = String::from_utf8(body.into());
    let text = text.map_err(|_| ApiError::bad_request("the form is not UTF-8"));
    let act = text.and_then(|text| Act::of(&Parts::of(Some(&text))?));
    let act = act.map_err(|error| visit.error(error))?;
    let request = act.request(&visit).await.map_err(|failure| visit.failure(failure))?;
    let done: Result<Value, Failure> = visit.try_ask(request).await;
    match done {
        Ok(_) => {
            let (net, back) = (encoded(&act.given), encoded(&act.back));
            let done = format!("/done?what={}&net={net}&back={back}", act.what);
            Ok(Redirect::to(&done).into_response())
        }
        // The box that forces it can be ticked at once.
        Err(failure) if act.adds() => {
            let form = form(&visit, &act, Some(&failure)).await;
            let form = form.map_err(|failure| visit.failure(failure))?;
            Ok((status(failure.kind), visit.frame.page(act.title, &form)).into_response())
        }
        Err(failure) => Err(visit.failure(failure)),
    }
}

/// Shows the state after a change. It is queried again, so that the page is true whenever it is
/// loaded.
pub(super) async fn done(visit: Visit) -> Shown {
    let act = Act::of(&visit.parts).map_err(|error| visit.error(error))?;
    let is = if act.what == "lift" {
        let request = Request::Lookup { addresses: vec![act.net.addr()] };
        let found: Vec<LiveAnswer> = visit.ask(request).await?;
        match found.first().and_then(|live| live.temporary.as_ref()) {
            None => format!("{} has no temporary block.", act.given),
            Some(block) => format!("{} has a temporary block: {}.", act.given, block.reason),
        }
    } else {
        let entry = act.entry(&visit).await.map_err(|failure| visit.failure(failure))?;
        let (net, list) = (normalise(act.net), act.list().name());
        match entry {
            None => format!("{net} is not {list} by a managed entry."),
            Some(RuntimeEntry { expires_at: None, .. }) => format!("{net} is {list} permanently."),
            Some(RuntimeEntry { expires_at: Some(end), .. }) => {
                let left = end.saturating_sub(clock::unix_seconds());
                let end = when::show(end.saturating_mul(1_000));
                format!("{net} is {list} for {}, until {end}.", ago(left))
            }
        }
    };
    let warning = act.conflict(&visit).await;
    let body = html! {
        h1 { "Done" }
        p role="status" { (is) }
        @if let Some(warning) = &warning { p.warning { (warning) } }
        (check::looked_up(&visit, act.net.addr()).await)
        p.buttons { a.button href=(act.back) { "Back" } }
    };
    Ok(visit.frame.page("Done", &body))
}
