//! The frame of every page, with its navigation, and small shared parts.

use maud::{DOCTYPE, Markup, html};

use crate::record::when;

/// An entry of the navigation: its path and its name.
pub(super) type Entry = (&'static str, &'static str);

/// The frame of a page: the navigation, and which of its entries is current.
#[derive(Clone, Copy, Default)]
pub(super) struct Frame {
    navigation: &'static [Entry],
    current: &'static str,
}

impl Frame {
    /// A frame with the path of its current entry; an empty one is none.
    pub(super) const fn new(navigation: &'static [Entry], current: &'static str) -> Self {
        Self { navigation, current }
    }

    /// The same frame with another current entry.
    pub(super) const fn at(self, current: &'static str) -> Self {
        Self { current, ..self }
    }

    /// A whole page.
    pub(super) fn page(self, title: &str, body: &Markup) -> Markup {
        self.reloading(title, body, 0)
    }

    /// A whole page that is loaded again after so many seconds, while it is visible.
    pub(super) fn reloading(self, title: &str, body: &Markup, seconds: u32) -> Markup {
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
                            @for (path, name) in self.navigation {
                                a href=(path) aria-current=[(*path == self.current).then_some("page")] { (name) }
                            }
                        }
                    }
                    main #main { (body) }
                }
            }
        }
    }
}

/// A page of text alone, for clients that may see nothing else.
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

/// A heading of a table's column.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table that scrolls within the page; its label is for screen readers.
pub(super) fn table(label: &str, columns: &[Column], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table.records {
                thead { tr {
                    @for column in columns {
                        @match column {
                            Column::Text(name) => th scope="col" { (name) },
                            Column::Number(name) => th.number scope="col" { (name) },
                        }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// Names what is missing of a page.
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
