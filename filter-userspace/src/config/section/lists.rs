//! Keys that are arrays.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Key;
use super::{At, Section, from_to};

/// An empty array, in the reference.
const NOTHING: &str = "`[]`";

impl<'a> Section<'a> {
    /// The strings of an array.
    pub(in crate::config) fn strings(&self, key: Key) -> Vec<At<&'a str>> {
        self.describe(key, "array of strings", NOTHING);
        self.list(key).iter().filter_map(|value| self.string_of(key, value)).collect()
    }

    /// The integers of an array, each in `range`.
    pub(in crate::config) fn integers<T: TryFrom<i64>>(
        &self,
        key: Key,
        range: &RangeInclusive<i64>,
    ) -> Vec<At<T>> {
        self.describe(key, &format!("array of {}", from_to(range)), NOTHING);
        let values = self.list(key).iter();
        values
            .filter_map(|value| {
                let number = self.integer_of(key, value, range.clone())?;
                Some(self.at(number, value))
            })
            .collect()
    }

    /// The elements of an array, each a string or a table.
    pub(in crate::config) fn strings_or_sections(&self, key: Key) -> Vec<TextOrSection<'a>> {
        self.describe(key, "array of strings or tables", NOTHING);
        let mut elements = Vec::new();
        for value in self.list(key) {
            match value.get_ref() {
                DeValue::String(text) => {
                    elements.push(TextOrSection::Text(self.at(text.as_ref(), value)));
                }
                DeValue::Table(table) => {
                    elements.push(TextOrSection::Section(self.element(
                        key,
                        Some(table),
                        value.span(),
                    )));
                }
                other => self.wrong_type(key, value, "a string or a table", other),
            }
        }
        elements
    }

    /// The tables of an array of tables, such as `[[domain]]`. Where its keys are to be
    /// described and there is none, it is one empty table.
    pub(in crate::config) fn sections(&self, key: Key) -> Vec<Self> {
        self.describe(key, "tables", NOTHING);
        let mut sections = Vec::new();
        for value in self.list(key) {
            match value.get_ref() {
                DeValue::Table(table) => {
                    sections.push(self.element(key, Some(table), value.span()));
                }
                other => self.wrong_type(key, value, "a table", other),
            }
        }
        if sections.is_empty() && self.document.descriptions.is_some() {
            sections.push(self.element(key, None, self.span()));
        }
        sections
    }

    fn element(&self, key: Key, table: Option<&'a DeTable<'a>>, span: Range<usize>) -> Self {
        Self {
            document: self.document,
            path: self.name(key),
            table,
            span,
            is_wrong: false,
            known: RefCell::default(),
        }
    }

    /// How many elements an array has; none where the value is something else.
    pub(in crate::config) fn count(&self, key: Key) -> Option<usize> {
        self.get(key).and_then(|value| value.get_ref().as_array()).map(|list| list.len())
    }

    fn list(&self, key: Key) -> &'a [Spanned<DeValue<'a>>] {
        let value = self.get(key);
        let list = value.and_then(|value| self.typed(key, value, "an array", DeValue::as_array));
        list.map_or(&[], |list| list)
    }
}

/// An element of an array that may be written short or long.
pub(in crate::config) enum TextOrSection<'a> {
    /// The short form.
    Text(At<&'a str>),
    /// The long form.
    Section(Section<'a>),
}

impl TextOrSection<'_> {
    /// Where it stands.
    pub(in crate::config) fn span(&self) -> Range<usize> {
        match self {
            Self::Text(text) => text.span.clone(),
            Self::Section(section) => section.span(),
        }
    }
}
