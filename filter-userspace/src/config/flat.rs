//! A configuration key by key, and what is another between two of them.

use std::collections::BTreeMap;

use serde::Serialize;

/// Keys with their sections, and their values as TOML has them.
pub type Keys = BTreeMap<String, String>;

/// The longest value that is shown, in characters.
const SHOWN: usize = 120;

/// The keys of a text; none where it is not TOML.
#[must_use]
pub fn keys(text: &str) -> Keys {
    let mut keys = Keys::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        flatten("", &toml::Value::Table(table), &mut keys);
    }
    keys
}

/// The keys of a value whose fields have the names of keys.
pub(super) fn of(value: &impl Serialize) -> Keys {
    let mut keys = Keys::new();
    if let Ok(value) = toml::Value::try_from(value) {
        flatten("", &value, &mut keys);
    }
    keys
}

fn flatten(path: &str, value: &toml::Value, keys: &mut Keys) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, keys);
            }
        }
        toml::Value::Array(elements) if elements.iter().any(toml::Value::is_table) => {
            for (place, element) in elements.iter().enumerate() {
                // By name, so that one more in front does not change all behind it.
                let name = element.get("name").or_else(|| element.get("names"));
                let name = name.map_or_else(|| (place + 1).to_string(), named);
                flatten(&format!("{path}[{name}]"), element, keys);
            }
        }
        value => {
            keys.insert(path.to_owned(), value.to_string());
        }
    }
}

fn named(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(names) => names.first().map(named).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// What is another now, a line a key: `filter.ports: [25] → [25, 587]`.
#[must_use]
pub fn differences(old: &Keys, new: &Keys) -> Vec<String> {
    let all: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    all.into_iter()
        .filter_map(|key| match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => Some(format!("{key}: {} → {}", short(old), short(new))),
            (Some(old), None) => Some(format!("{key}: {} → not set", short(old))),
            (None, Some(new)) => Some(format!("{key}: not set → {}", short(new))),
            (None, None) => None,
        })
        .collect()
}

fn short(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &value[..cut]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_another_is_said_by_key() {
        let old = keys(
            "[filter]\nports = [25]\n[web]\n[[backend]]\nname = \"a\"\nservers = [\"h:25\"]\n\
             [[domain]]\nnames = [\"x.example\"]\nbackend = \"a\"\n",
        );
        let new = keys(
            "[filter]\nports = [25, 587]\n[[backend]]\nname = \"b\"\n[[backend]]\nname = \"a\"\n\
             servers = [\"h:26\"]\n[[domain]]\nnames = [\"x.example\"]\nbackend = \"a\"\n\
             [smtp]\ncommand_timeout = \"5m\"\n",
        );
        assert_eq!(
            differences(&old, &new),
            [
                "backend[a].servers: [\"h:25\"] → [\"h:26\"]",
                "backend[b].name: not set → \"b\"",
                "filter.ports: [25] → [25, 587]",
                "smtp.command_timeout: not set → \"5m\"",
            ]
        );
        assert!(differences(&old, &old).is_empty());
        assert!(differences(&Keys::new(), &keys("x =")).is_empty());
    }
}
