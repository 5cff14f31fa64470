//! The frame of every page, with its navigation, and small shared parts.

use maud::{DOCTYPE, Markup, html};

use crate::record::when;

/// The entry of the navigation to which a page belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Blocked,
    Accepted,
    Lists,
    Check,
    Changes,
    None,
}

const PLACES: [(Place, &str, &str); 6] = [
    (Place::Overview, "/", "Overview"),
    (Place::Blocked, "/blocked", "Blocked traffic"),
    (Place::Accepted, "/accepted", "Accepted traffic"),
    (Place::Lists, "/lists", "Lists"),
    (Place::Check, "/check", "Check an address"),
    (Place::Changes, "/changes", "Changes"),
];

/// A whole page.
pub(super) fn page(place: Place, title: &str, body: &Markup) -> Markup {
    reloading(place, title, body, 0)
}

/// A whole page that is loaded again after so many seconds, while it is in sight.
pub(super) fn reloading(place: Place, title: &str, body: &Markup, seconds: u32) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · mxdp" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                script src="/script.js" defer {}
            }
            body data-reload=[(seconds > 0).then_some(seconds)] {
                a.skip href="#main" { "Skip to content" }
                header {
                    a.brand href="/" { "mxdp" }
                    nav aria-label="Pages" {
                        @for (known, path, name) in PLACES {
                            a href=(path) aria-current=[(known == place).then_some("page")] { (name) }
                        }
                    }
                }
                main #main { (body) }
            }
        }
    }
}

/// A page of text alone, for those who may see nothing else.
pub(super) fn bare(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · mxdp" }
            }
            body { main #main { (body) } }
        }
    }
}

/// Says that what is shown is not everything, and what is missing.
pub(super) fn partial(skipped: &[String]) -> Markup {
    html! {
        @for missing in skipped { p.alarm role="alert" { "Partial: " (missing) } }
    }
}

/// A point in time.
pub(super) fn time(milliseconds: u64) -> Markup {
    let text = when::show(milliseconds);
    let shown = text.replace('T', " ").trim_end_matches('Z').to_owned();
    html! { time datetime=(text) { (shown) } }
}

/// A text, or a dash where there is none.
pub(super) fn or_dash(text: Option<&str>) -> Markup {
    html! {
        @match text {
            Some(text) => (text),
            None => span.none aria-label="none" { "–" },
        }
    }
}

/// How long ago something was, in the largest unit.
pub(super) fn ago(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    match units.into_iter().find(|(factor, _)| seconds >= *factor) {
        Some((factor, unit)) => format!("{} {unit}", seconds / factor),
        None => format!("{seconds} s"),
    }
}
