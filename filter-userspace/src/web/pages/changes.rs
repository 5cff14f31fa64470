//! Changes that operators made.

use maud::html;

use super::failure::Shown;
use super::layout::{self, Column, time};
use super::visit::Visit;
use crate::control::protocol::Request;
use crate::record::Changes;

pub(super) async fn page(visit: Visit) -> Shown {
    visit.only(&[])?;
    let Changes { changes, skipped } = visit.ask(Request::Changes { limit: 200 }).await?;
    let rows = html! {
        @for change in &changes {
            tr {
                td { (time(change.time)) } td { (change.who) } td { (change.what) } td { (change.outcome) }
            }
        }
    };
    let columns = ["Time (UTC)", "Who", "What", "Outcome"].map(Column::Text);
    let body = html! {
        h1 { "Changes" }
        (layout::partial(&skipped))
        @if changes.is_empty() { p.quiet { "No changes yet." } }
        @else { (layout::table("Changes", &columns, &rows)) }
    };
    Ok(visit.frame.page("Changes", &body))
}
