//! Walks a TOML document with the place of everything in it, and collects every
//! error instead of stopping at the first.
//!
//! A [`Section`] hands out values by key. What nobody asked for by
//! [`Section::finish`] is unknown, and an error.

pub(super) mod key;
mod lists;
mod quantities;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use key::{Descriptions, Key};

pub(super) use lists::TextOrSection;
pub(super) use quantities::Unit;

/// A document, and what was found wrong with it.
pub(super) struct Document<'a> {
    text: &'a str,
    file: &'a str,
    errors: RefCell<Vec<ConfigError>>,
    /// Whether the syntax is broken: then what seems missing may stand in what could not
    /// be read, and is not an error.
    broken: Cell<bool>,
    /// What is said of the keys, where somebody wants to know.
    descriptions: Option<RefCell<Descriptions>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str, file: &'a str) -> Self {
        Self {
            text,
            file,
            errors: RefCell::default(),
            broken: Cell::new(false),
            descriptions: None,
        }
    }

    /// One of which [`Self::into_descriptions`] says what is read of it.
    pub(super) fn described(text: &'a str, file: &'a str) -> Self {
        Self { descriptions: Some(RefCell::default()), ..Self::new(text, file) }
    }

    /// Every error, in the order of the file.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort();
        errors.dedup();
        errors
    }

    /// Notes that the syntax is broken somewhere.
    pub(super) fn is_broken(&self) {
        self.broken.set(true);
    }

    /// What the reader said of each key that it asked for.
    pub(super) fn into_descriptions(self) -> Descriptions {
        self.descriptions.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(super) fn error(&self, span: &Range<usize>, key: &str, message: impl fmt::Display) {
        let (line, column) = self.place(span.start);
        self.errors.borrow_mut().push(ConfigError {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: message.to_string(),
        });
    }

    /// Line and column of a byte of the text.
    fn place(&self, byte: usize) -> (usize, usize) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    fn line(&self, span: &Range<usize>) -> u32 {
        u32::try_from(self.place(span.start).0).unwrap_or(u32::MAX)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
    pub(super) line: u32,
}

/// A table of the document; one that is missing is empty.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    path: String,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    /// Whether something else than a table stands in its place.
    is_wrong: bool,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The document's own table.
    pub(super) fn root(document: &'a Document<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            document,
            path: String::new(),
            table: Some(table.get_ref()),
            span: 0..0,
            is_wrong: false,
            known: RefCell::default(),
        }
    }

    /// The table at `key`.
    pub(super) fn section(&self, key: Key) -> Self {
        self.describe(key, "table", "none");
        let value = self.get(key);
        let table = value.and_then(|value| self.typed(key, value, "a table", DeValue::as_table));
        Self {
            document: self.document,
            path: self.name(key),
            table,
            span: value.map_or(self.span.clone(), Spanned::span),
            is_wrong: value.is_some() && table.is_none(),
            known: RefCell::default(),
        }
    }

    /// Whether the document has the section.
    pub(super) const fn is_there(&self) -> bool {
        self.table.is_some() || self.is_wrong
    }

    /// Where the section stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The key with its sections.
    pub(super) fn name(&self, key: Key) -> String {
        self.below(key.name)
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Notes an error of the value at `span`.
    pub(super) fn error(&self, span: &Range<usize>, key: Key, message: impl fmt::Display) {
        self.document.error(span, &self.name(key), message);
    }

    /// Notes an error of a key, at its value where it has one, else at its section.
    pub(super) fn wrong(&self, key: Key, message: impl fmt::Display) {
        self.error(&self.place(key), key, message);
    }

    /// Notes that something is missing that would stand under a key.
    pub(super) fn missing(&self, key: Key, message: impl fmt::Display) {
        if !self.document.broken.get() && !self.is_wrong {
            self.wrong(key, message);
        }
    }

    /// Notes that a list has nothing in it or is not there; a wrong type has an error
    /// of its own, and so has each element that is wrong.
    pub(super) fn needs_some(&self, key: Key, message: impl fmt::Display) {
        match self.get(key).map(Spanned::get_ref) {
            None => self.missing(key, message),
            Some(DeValue::Array(list)) if list.is_empty() => self.wrong(key, message),
            Some(_) => {}
        }
    }

    /// Where a key has its value, or its section begins.
    pub(super) fn place(&self, key: Key) -> Range<usize> {
        self.get(key).map_or(self.span.clone(), Spanned::span)
    }

    pub(super) fn string(&self, key: Key) -> Option<At<&'a str>> {
        self.describe(key, "string", "none");
        let value = self.get(key)?;
        self.string_of(key, value)
    }

    pub(super) fn boolean(&self, key: Key, default: bool) -> bool {
        self.describe(key, "boolean", &code(default));
        let value = self.get(key);
        value
            .and_then(|value| self.typed(key, value, "a boolean", DeValue::as_bool))
            .unwrap_or(default)
    }

    /// A whole number in `range`; `default` where it is missing or wrong.
    pub(super) fn integer<T: TryFrom<i64> + Copy + fmt::Display>(
        &self,
        key: Key,
        range: RangeInclusive<i64>,
        default: T,
    ) -> T {
        self.describe(key, &from_to(&range), &code(default));
        self.get(key).and_then(|value| self.integer_of(key, value, range)).unwrap_or(default)
    }

    /// One of `choices`.
    pub(super) fn choice<T: Copy + PartialEq>(
        &self,
        key: Key,
        choices: &[(&str, T)],
        default: T,
    ) -> T {
        let names: Vec<_> = choices.iter().map(|(name, _)| code(name)).collect();
        let without = choices.iter().find(|(_, value)| *value == default);
        let without = without.map_or_else(String::new, |(name, _)| code(name));
        self.describe(key, &names.join(", "), &without);
        let Some(text) = self.string(key) else {
            return default;
        };
        let chosen = choices.iter().find(|(name, _)| *name == text.value);
        chosen.map_or_else(
            || {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                let message = format!("`{}` is not one of {}", clean(text.value), names.join(", "));
                self.error(&text.span, key, message);
                default
            },
            |(_, value)| *value,
        )
    }

    /// The line where the section starts.
    pub(super) fn line(&self) -> u32 {
        self.document.line(&self.span)
    }

    /// The line of a key, or where there is none that of the section.
    pub(super) fn line_of(&self, key: Key) -> u32 {
        self.document.line(&self.place(key))
    }

    /// Says which values a key takes and what holds without it, for the reference. What
    /// was said first counts: who knows more than the type says it before reading.
    pub(super) fn describe(&self, key: Key, kind: &str, default: &str) {
        if let Some(descriptions) = &self.document.descriptions {
            descriptions.borrow_mut().add(self.name(key), key, kind, default);
        }
    }

    /// Whether the value of a key is a string.
    pub(super) fn is_text(&self, key: Key) -> bool {
        self.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let near = known.iter().filter(|known| distance(known, name) <= 2);
            let hint = near.min_by_key(|known| distance(known, name)).map_or_else(
                || format!("; known here: {}", known.join(", ")),
                |known| format!("; did you mean `{known}`?"),
            );
            let path = self.below(&clean(name));
            self.document.error(&key.span(), &path, format!("unknown key{hint}"));
        }
    }

    fn get(&self, key: Key) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key.name) {
            known.push(key.name);
            self.describe(key, "", "");
        }
        self.table?.get(key.name)
    }

    fn string_of(&self, key: Key, value: &'a Spanned<DeValue<'a>>) -> Option<At<&'a str>> {
        let text = self.typed(key, value, "a string", DeValue::as_str)?;
        Some(self.at(text, value))
    }

    fn integer_of<T: TryFrom<i64>>(
        &self,
        key: Key,
        value: &'a Spanned<DeValue<'a>>,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let number = self.typed(key, value, "an integer", DeValue::as_integer)?;
        let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let fitting = parsed.filter(|number| range.contains(number));
        let converted = fitting.and_then(|number| T::try_from(number).ok());
        if converted.is_none() {
            let (from, to) = range.into_inner();
            self.error(&value.span(), key, format!("{number} is not from {from} to {to}"));
        }
        converted
    }

    fn typed<T>(
        &self,
        key: Key,
        value: &'a Spanned<DeValue<'a>>,
        wanted: &str,
        convert: impl Fn(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let converted = convert(value.get_ref());
        if converted.is_none() {
            self.wrong_type(key, value, wanted, value.get_ref());
        }
        converted
    }

    fn wrong_type(
        &self,
        key: Key,
        place: &Spanned<DeValue<'a>>,
        wanted: &str,
        found: &DeValue<'a>,
    ) {
        let found = kind_of(found);
        self.error(&place.span(), key, format!("expected {wanted}, found {found}"));
    }

    fn at<T>(&self, value: T, place: &Spanned<DeValue<'a>>) -> At<T> {
        let span = place.span();
        At { value, line: self.document.line(&span), span }
    }
}

/// What a value is, in words.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A value as the reference shows it.
pub(super) fn code(value: impl fmt::Display) -> String {
    format!("`{value}`")
}

fn from_to(range: &RangeInclusive<i64>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// A text of the file for a terminal: short, and without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// The edits between two words, two letters changed over being one (optimal string
/// alignment), for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut edits = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                edits = edits.min(rows[i - 2][j - 2] + 1);
            }
            row.push(edits);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
