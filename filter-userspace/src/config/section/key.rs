//! What a key is called, what it means, and when a change of it takes effect; and how all
//! of that is told to the reference.

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Applies {
    /// At the next reload.
    Live,
    /// When mxdp is restarted.
    Restart,
}

/// A key, as the file of its section declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Key {
    /// Its name in its section.
    pub(in crate::config) name: &'static str,
    /// What it means, for the reference; empty for a table that is described by its keys.
    pub(in crate::config) meaning: &'static str,
    /// When a change takes effect.
    pub(in crate::config) applies: Applies,
}

impl Key {
    /// A key that a reload changes.
    pub(in crate::config) const fn live(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, applies: Applies::Live }
    }

    /// A key that only a restart changes.
    pub(in crate::config) const fn restart(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, applies: Applies::Restart }
    }

    /// A table that is described by its keys.
    pub(in crate::config) const fn table(name: &'static str) -> Self {
        Self { name, meaning: "", applies: Applies::Live }
    }
}

/// Declares keys: the comment above one is its meaning in the reference, and `live` or
/// `restart` says when a change of it takes effect.
macro_rules! keys {
    ($($(#[doc = $meaning:literal])+ $applies:ident $constant:ident = $name:literal;)+) => {
        $(
            pub(in crate::config) const $constant: $crate::config::section::key::Key =
                $crate::config::section::key::Key::$applies($name, concat!($($meaning),+));
        )+
    };
}

pub(in crate::config) use keys;

/// What is said of a key that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Description {
    /// The key with its sections.
    pub(in crate::config) path: String,
    /// Which values it takes.
    pub(in crate::config) kind: String,
    /// What holds without it.
    pub(in crate::config) default: String,
    /// What it means.
    pub(in crate::config) meaning: &'static str,
    /// When a change takes effect.
    pub(in crate::config) applies: Applies,
}

/// The keys that were read, in that order.
#[derive(Debug, Default)]
pub(in crate::config) struct Descriptions(Vec<Description>);

impl Descriptions {
    /// Notes what a reader says of a key. What was said first counts.
    pub(in crate::config) fn add(&mut self, path: String, key: Key, kind: &str, default: &str) {
        let known = self.0.iter_mut().find(|known| known.path == path);
        let Some(said) = known else {
            let (kind, default) = (kind.to_owned(), default.to_owned());
            let (meaning, applies) = (key.meaning.trim(), key.applies);
            self.0.push(Description { path, kind, default, meaning, applies });
            return;
        };
        for (part, text) in [(&mut said.kind, kind), (&mut said.default, default)] {
            if part.is_empty() {
                text.clone_into(part);
            }
        }
    }

    /// All of them.
    pub(in crate::config) fn into_vec(self) -> Vec<Description> {
        self.0
    }
}

/// A chapter of the reference: the sections of one file.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Chapter {
    /// The heading.
    pub(in crate::config) title: &'static str,
    /// The sections whose keys it lists.
    pub(in crate::config) sections: &'static [&'static str],
    /// What is said before the keys, in Markdown.
    pub(in crate::config) before: &'static str,
    /// What is said after them.
    pub(in crate::config) after: &'static str,
}
