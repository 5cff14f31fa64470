//! Check an address: which lists name it, and what would happen to a message.

use std::net::IpAddr;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::layout::{self, Column, or_dash};
use super::offers;
use super::visit::Visit;
use crate::control::protocol::{LiveAnswer, Request};
use crate::policy::explain::{ExplainedEnvelope, Explanation};
use crate::policy::relay::Direction;
use crate::record::{Kind, Record, Stage};
use crate::smtp::refusal as smtp;
use crate::web::error::ApiError;
use crate::web::parts::Parts;

const FIELDS: [(&str, &str, &str); 5] = [
    ("ip", "Sender IP", "192.0.2.7"),
    ("from", "Sender", "a@example.com (empty: the null sender)"),
    ("rcpt", "Recipient", "bob@example.org"),
    ("helo", "HELO", "mail.example.com"),
    ("size", "Size", "4096 or 5MB"),
];

pub(super) async fn page(visit: Visit) -> Response {
    let parts = &visit.parts;
    let wanted = wanted(parts);
    let answer = match &wanted {
        // The form is filled in; nothing is evaluated until it is sent.
        Ok(Some(_)) if visit.caller.is_from_elsewhere => {
            html! { p.quiet role="status" { "A link on another site filled in this form. Select Check to evaluate it." } }
        }
        Ok(None) => html! {},
        Ok(Some(Wanted::Lists(ip))) => looked_up(&visit, *ip).await,
        Ok(Some(Wanted::Message(envelope))) => explained(&visit, envelope.clone()).await,
        Err(error) => html! { p.alarm role="alert" { (error.0.message) } },
    };
    let offers = match parts.get("ip").and_then(|ip| ip.trim().parse().ok()) {
        Some(ip) => offers::offers(&visit, ip, &format!("/check?ip={ip}")).await,
        None => html! {},
    };
    let tls = parts.get("tls").unwrap_or("none");
    let body = html! {
        h1 { "Check an address" }
        form.filters method="get" action="/check" {
            @for (name, label, example) in FIELDS {
                label { span { (label) }
                    input name=(name) value=[parts.get(name)] placeholder=(example)
                        autocomplete="off" spellcheck="false" maxlength="500" required[name == "ip"];
                }
            }
            label { span { "TLS" }
                select name="tls" {
                    @for version in ["none", "1.2", "1.3"] {
                        option value=(version) selected[version == tls] { (version) }
                    }
                }
            }
            label.tick {
                input type="checkbox" name="relay" value="true" checked[parts.get("relay").is_some()];
                span { "Outgoing" }
            }
            p.buttons { button type="submit" { "Check" } }
            p.quiet { "Leave the recipient empty to check IP lists only." }
        }
        (answer)
        (offers)
    };
    let status = wanted.map_or_else(|error| error.status(), |_| StatusCode::OK);
    (status, visit.frame.page("Check an address", &body)).into_response()
}

/// What the form asks for.
enum Wanted {
    /// The lists that name an address.
    Lists(IpAddr),
    /// What happens to a message.
    Message(ExplainedEnvelope),
}

fn wanted(parts: &Parts) -> Result<Option<Wanted>, ApiError> {
    parts.only(&["ip", "from", "rcpt", "helo", "size", "tls", "certificate", "relay"])?;
    if parts.get("ip").is_none() {
        // An empty form is not one in which the address was forgotten.
        return match parts.iter().find(|(name, value)| !value.is_empty() && name != "tls") {
            None => Ok(None),
            Some((name, _)) => Err(ApiError::bad_request(format!("ip is required with {name}"))),
        };
    }
    if parts.get("rcpt").is_none() {
        let ip = parts.need("ip")?;
        // Checked as in an envelope, though only the lists are searched.
        parts.envelope_of(ip, String::new())?;
        return Ok(Some(Wanted::Lists(ip)));
    }
    parts.envelope().map(|envelope| Some(Wanted::Message(envelope)))
}

/// What would happen to a record's message now.
pub(super) async fn now(visit: &Visit, record: &Record) -> Markup {
    if visit.caller.is_from_elsewhere {
        return html! { p.quiet { "Not evaluated, because a link of another site led here. Reload the page to evaluate it." } };
    }
    match (&record.sender, &record.recipient) {
        (Some(sender), Some(recipient)) => {
            let envelope = ExplainedEnvelope {
                ip: record.ip,
                helo: record.helo.clone(),
                from: sender.clone(),
                rcpt: recipient.clone(),
                size: (record.size > 0).then_some(record.size),
                tls: record.tls.as_ref().map(|tls| if tls.contains("1.3") { 13 } else { 12 }),
                certificate: false,
                relay: record.direction == Direction::Outgoing.into(),
            };
            let explained = explained(visit, envelope).await;
            html! {
                @if let Some(text) = unchecked(record) { p.quiet { (text) } }
                (explained)
            }
        }
        _ => looked_up(visit, record.ip).await,
    }
}

/// Says what decided about a record, if that cannot be checked again.
fn unchecked(record: &Record) -> Option<String> {
    if record.kind != Kind::Blocked {
        return None;
    }
    let reason = &record.reason;
    let Stage::Session(stage) = record.stage else { return None };
    match stage {
        smtp::Stage::Data => Some(format!(
            "The message was refused for its content ({reason}). mxdp does not keep the content, so \
             only the envelope is checked here."
        )),
        smtp::Stage::Backend => Some(format!(
            "The backend refused the message ({reason}). The backend is not queried here; only the \
             checks of mxdp are repeated."
        )),
        smtp::Stage::Greeting | smtp::Stage::Protocol => Some(format!(
            "The session was refused because the client broke the protocol ({reason}). Only the \
             envelope is checked here."
        )),
        _ => None,
    }
}

pub(super) async fn looked_up(visit: &Visit, ip: IpAddr) -> Markup {
    let request = Request::Lookup { addresses: vec![ip] };
    let found: Result<Vec<LiveAnswer>, _> = visit.try_ask(request).await;
    let found = match found {
        Ok(found) => found,
        Err(failure) => return html! { p.alarm role="alert" { (failure.message) } },
    };
    html! {
        @for live in &found {
            @let answer = &live.answer;
            p.verdict {
                "A SYN from " b { (answer.ip) } " would be "
                b { @if live.kernel.action == "drop" { "dropped" } @else { "let in" } }
                ": " (live.kernel.reason) "."
                @if answer.action == "reject" { " SMTP would answer 550." }
            }
            dl.facts {
                dt { "Class" } dd { (answer.class) }
                dt { "Prefix" }
                dd { (or_dash(answer.prefix.map(|prefix| prefix.to_string()).as_deref())) }
                dt { "Listed in" } dd { code { (or_dash(answer.source.as_deref())) } }
                dt { "Note" } dd { (or_dash(answer.note.as_deref())) }
                dt { "Country" } dd { (or_dash(answer.country.as_deref())) }
                dt { "All classes" } dd { (or_dash(Some(answer.listed.join(", ")).filter(|all| !all.is_empty()).as_deref())) }
                @if let Some(block) = &live.temporary {
                    dt { "Temporary block" }
                    dd { (block.reason) ", " (layout::ago(block.remaining_s)) " left" }
                }
            }
            @if !live.agree {
                p.alarm role="alert" { "The kernel's verdict differs from the lists." }
            }
        }
    }
}

async fn explained(visit: &Visit, envelope: ExplainedEnvelope) -> Markup {
    let found = visit.try_ask(Request::Explain(envelope)).await;
    let explanation: Explanation = match found {
        Ok(explanation) => explanation,
        Err(failure) => return html! { p.alarm role="alert" { (failure.message) } },
    };
    html! {
        p.verdict {
            @match &explanation.decided_by {
                None => {
                    "All checks of the envelope pass. The content is checked when the message arrives, \
                     and the mail server decides."
                },
                Some(stage) => { "The message would be stopped by the stage " b { (stage) } "." },
            }
        }
        (layout::table(
            "Stages",
            &["Stage", "Finding", "Rule or note", "Reply"].map(Column::Text),
            &stages(&explanation),
        ))
    }
}

fn stages(explanation: &Explanation) -> Markup {
    html! {
        @for stage in &explanation.stages {
            tr.stop[stage.reached && !stage.passes] {
                th scope="row" { (stage.stage) }
                td {
                    @match (&stage.reason, stage.reached, stage.passes) {
                        (Some(reason), ..) => (reason),
                        (None, false, _) => span.quiet { "not reached" },
                        (None, true, true) => "passes",
                        (None, true, false) => "stops",
                    }
                }
                td { (stage.note) }
                td { (or_dash(stage.reply.as_deref())) }
            }
        }
    }
}
