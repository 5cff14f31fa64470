//! The mail log: searches, summaries and changes.

use super::answer::{Answer, Answered};
use super::asked::Asked;
use crate::control::protocol::Request;
use crate::record::{Change, Changes, PAGE_LIMIT, Page, Summary};
use crate::web::error::ApiError;

pub(in crate::web) async fn traffic(asked: Asked) -> Answered<Page> {
    let query = asked.parts.clone().into_inner();
    asked.answer(Request::Traffic { query }).await
}

pub(in crate::web) async fn summary(asked: Asked) -> Answered<Summary> {
    let text = |name: &str| asked.parts.get(name).map(str::to_owned);
    asked.answer(Request::Summary { since: text("since"), until: text("until") }).await
}

pub(in crate::web) async fn changes(asked: Asked) -> Answered<Vec<Change>> {
    let limit = asked.parts.parse("limit")?.unwrap_or(50);
    if !(1..=PAGE_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit: 1 to {PAGE_LIMIT}")));
    }
    let Changes { changes, skipped } = asked.ask(Request::Changes { limit }).await?;
    Ok(Answer::of(changes).without(&skipped))
}
