//! Keys that are lists.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::DeValue;

use super::{At, Section, from_to};

/// An empty list, in the reference.
const NOTHING: &str = "`[]`";

impl<'a> Section<'a> {
    /// The texts of a list.
    pub(in crate::config) fn strings(&self, key: &'static str) -> Vec<At<&'a str>> {
        self.describe(key, "list of texts", NOTHING);
        self.list(key).iter().filter_map(|value| self.string_of(key, value)).collect()
    }

    /// The whole numbers of a list, each in `range`.
    pub(in crate::config) fn integers<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        range: &RangeInclusive<i64>,
    ) -> Vec<At<T>> {
        self.describe(key, &format!("list of {}", from_to(range)), NOTHING);
        let values = self.list(key).iter();
        values
            .filter_map(|value| {
                let number = self.integer_of(key, value, range.clone())?;
                Some(self.at(number, value))
            })
            .collect()
    }

    /// The elements of a list, each a text or a table.
    pub(in crate::config) fn strings_or_sections(
        &self,
        key: &'static str,
    ) -> Vec<TextOrSection<'a>> {
        self.describe(key, "list of texts or tables", NOTHING);
        let mut elements = Vec::new();
        for value in self.list(key) {
            match value.get_ref() {
                DeValue::String(text) => {
                    elements.push(TextOrSection::Text(self.at(text.as_ref(), value)));
                }
                DeValue::Table(table) => elements.push(TextOrSection::Section(Self {
                    document: self.document,
                    path: self.name(key),
                    table: Some(table),
                    span: value.span(),
                    is_wrong: false,
                    known: RefCell::default(),
                })),
                other => self.wrong_type(key, value, "a text or a table", other),
            }
        }
        elements
    }

    /// The tables of a list of tables, such as `[[domain]]`.
    pub(in crate::config) fn sections(&self, key: &'static str) -> Vec<Self> {
        self.describe(key, "tables", NOTHING);
        let mut sections = Vec::new();
        for value in self.list(key) {
            match value.get_ref() {
                DeValue::Table(table) => sections.push(Self {
                    document: self.document,
                    path: self.name(key),
                    table: Some(table),
                    span: value.span(),
                    is_wrong: false,
                    known: RefCell::default(),
                }),
                other => self.wrong_type(key, value, "a table", other),
            }
        }
        sections
    }

    /// How many elements a list has; none where something else stands there.
    pub(in crate::config) fn count(&self, key: &'static str) -> Option<usize> {
        self.get(key).and_then(|value| value.get_ref().as_array()).map(|list| list.len())
    }

    fn list(&self, key: &'static str) -> &'a [Spanned<DeValue<'a>>] {
        let value = self.get(key);
        let list = value.and_then(|value| self.typed(key, value, "a list", DeValue::as_array));
        list.map_or(&[], |list| list)
    }
}

/// An element of a list that may be written short or long.
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
