//! The state of the daemon, what it does with an address or a message, and reloads.

use super::answer::Answered;
use super::asked::Asked;
use crate::control::protocol::{LiveAnswer, Reloaded, Request, Status};
use crate::policy::explain::Explanation;

pub(in crate::web) async fn status(asked: Asked) -> Answered<Status> {
    asked.answer(Request::Status).await
}

pub(in crate::web) async fn lookup(asked: Asked) -> Answered<Vec<LiveAnswer>> {
    asked.answer(Request::Lookup { addresses: vec![asked.parts.need("ip")?] }).await
}

pub(in crate::web) async fn explain(asked: Asked) -> Answered<Explanation> {
    asked.answer(Request::Explain(asked.parts.envelope()?)).await
}

pub(in crate::web) async fn reload(asked: Asked) -> Answered<Reloaded> {
    let accept = asked.parts.get("accept").map(str::to_owned).into_iter().collect();
    asked.answer(Request::Reload { accept }).await
}
