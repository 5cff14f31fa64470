//! Managed entries, temporary blocks and suspended hosts: listed and changed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Answered};
use super::asked::{Asked, Body};
use crate::control::protocol::{
    Request, RuntimeEntry, SuspendedHost, TEMPORARY_LIMIT_S, TemporaryEntry, WINDOW_LIMIT, Windowed,
};
use crate::runtime::{LONGEST_S, NOTE_LIMIT};
use crate::web::conflict::{approved_first, conflict};
use crate::web::error::ApiError;
use crate::web::parts::{Network, Parts, encoded};
use crate::web::schema::Schema;

pub(in crate::web) async fn list(asked: Asked) -> Answered<Vec<RuntimeEntry>> {
    let list = asked.list()?;
    let window = asked.parts.window(WINDOW_LIMIT)?;
    let path = format!("/api/v1/entries/{}", list.name());
    let part = asked.ask(Request::RuntimePart { list, window }).await?;
    Ok(windowed(&path, &asked.parts, part))
}

/// A part of a list: its entries as an array, and a Link of relation `next` (RFC 8288) to
/// the next part, as long as there is one.
fn windowed<T: Serialize>(path: &str, parts: &Parts, part: Windowed<T>) -> Answer<Vec<T>> {
    let Windowed { entries, next, found, .. } = part;
    let answer = Answer::of(entries).with_header("x-total-count", found);
    let Some(next) = next else { return answer };
    let mut link = format!("<{path}?after={}", encoded(&next.to_string()));
    for name in ["search", "limit"] {
        if let Some(value) = parts.get(name) {
            link.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    link.push_str(">; rel=\"next\"");
    answer.with_header("link", link)
}

/// The body of a request that adds an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct Addition {
    prefix: Network,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    expires_in_s: Option<u64>,
    #[serde(default)]
    permanent: bool,
    #[serde(default)]
    force: bool,
}

impl Body for Addition {
    fn schema() -> Value {
        json!({
            "type": "object", "required": ["prefix"], "additionalProperties": false,
            "properties": {
                "prefix": Schema::Network.json(),
                "note": {"type": ["string", "null"], "maxLength": NOTE_LIMIT},
                "expires_in_s": {"type": ["integer", "null"], "minimum": 1, "maximum": LONGEST_S},
                "permanent": {"type": "boolean"},
                "force": {"type": "boolean"},
            },
        })
    }
}

pub(in crate::web) async fn add(asked: Asked, addition: Addition) -> Answered<RuntimeEntry> {
    let list = asked.list()?;
    let Addition { prefix: Network(prefix), note, expires_in_s, permanent, force } = addition;
    let request = Request::RuntimeAdd { list, prefix, note, expires_in_s, permanent, force };
    let entry = asked.ask(request).await?;
    let warning = conflict(&asked.site, &asked.caller, list, prefix).await;
    Ok(Answer::of(entry).with_warning(warning))
}

pub(in crate::web) async fn remove(asked: Asked) -> Answered<RuntimeEntry> {
    let (list, prefix) = (asked.list()?, asked.parts.network("prefix")?);
    asked.answer(Request::RuntimeRemove { list, prefix }).await
}

pub(in crate::web) async fn temporary(asked: Asked) -> Answered<Vec<TemporaryEntry>> {
    let window = asked.parts.window(WINDOW_LIMIT)?;
    let part = asked.ask(Request::TemporaryPart { window }).await?;
    Ok(windowed("/api/v1/temporary", &asked.parts, part))
}

/// The body of a request that blocks an address temporarily.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct Block {
    address: IpAddr,
    seconds: u64,
    #[serde(default)]
    force: bool,
}

impl Body for Block {
    fn schema() -> Value {
        json!({
            "type": "object", "required": ["address", "seconds"], "additionalProperties": false,
            "properties": {
                "address": Schema::Ip.json(),
                "seconds": {"type": "integer", "minimum": 1, "maximum": TEMPORARY_LIMIT_S},
                "force": {"type": "boolean"},
            },
        })
    }
}

pub(in crate::web) async fn block(asked: Asked, block: Block) -> Answered<TemporaryEntry> {
    let Block { address, seconds, force } = block;
    let entry = asked.ask(Request::TemporaryAdd { address, seconds, force }).await?;
    let warning = approved_first(&asked.site, &asked.caller, address, address.into()).await;
    Ok(Answer::of(entry).with_warning(warning))
}

pub(in crate::web) async fn lift(asked: Asked) -> Answered<TemporaryEntry> {
    asked.answer(Request::TemporaryRemove { address: asked.parts.need("address")? }).await
}

pub(in crate::web) async fn suspended(asked: Asked) -> Answered<Vec<SuspendedHost>> {
    asked.answer(Request::RelayList).await
}

/// The body of a request that resumes hosts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct Resumed {
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    customer: Option<String>,
    #[serde(default)]
    all: bool,
}

impl Body for Resumed {
    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "address": {"anyOf": [Schema::Ip.json(), {"type": "null"}]},
                "customer": {"type": ["string", "null"]},
                "all": {"type": "boolean"},
            },
        })
    }
}

pub(in crate::web) async fn resume(asked: Asked, wanted: Resumed) -> Answered<Vec<SuspendedHost>> {
    let Resumed { address, customer, all } = wanted;
    // An empty object is a mistake and does not mean everybody.
    if usize::from(address.is_some()) + usize::from(customer.is_some()) + usize::from(all) != 1 {
        let message = "expected exactly one of `address`, `customer` and `all`: true";
        return Err(ApiError::bad_request(message));
    }
    asked.answer(Request::RelayResume { address, customer }).await
}
