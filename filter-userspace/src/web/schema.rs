//! JSON schemas of what a program sends and receives.

use serde::Deserializer;
use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, Expected, IntoDeserializer as _, MapAccess,
    SeqAccess, Visitor,
};
use serde_json::{Map, Value, json};

use super::parts::{SIZE_LIMIT, VALUE_LIMIT};
use crate::control::protocol::{KernelAnswer, TemporaryEntry};
use crate::lists::Answer;
use crate::record::{PAGE_LIMIT, Record};

/// The type of a parameter.
#[derive(Clone, Copy)]
pub(super) enum Schema {
    Text,
    /// A text that is not empty.
    Filled,
    Ip,
    Network,
    /// How many rows are wanted.
    Number,
    /// The size of a message.
    Size,
    Flag,
    Choice(&'static [&'static str]),
}

impl Schema {
    pub(super) fn json(self) -> Value {
        match self {
            Self::Text => json!({"type": "string", "maxLength": VALUE_LIMIT}),
            Self::Filled => json!({"type": "string", "minLength": 1, "maxLength": VALUE_LIMIT}),
            Self::Ip => json!({
                "type": "string", "example": "192.0.2.7",
                "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
            }),
            Self::Network => json!({
                "type": "string", "example": "192.0.2.0/24",
                "pattern": r"^[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?$",
            }),
            Self::Number => json!({"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT}),
            Self::Size => json!({"type": "integer", "minimum": 0, "maximum": SIZE_LIMIT}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Choice(names) => json!({"type": "string", "enum": names}),
        }
    }
}

/// The schema of a type that serde reads. It comes from the type itself and cannot differ
/// from it.
pub(super) fn of<T: DeserializeOwned>() -> Value {
    // A probe ends with an error as soon as it has arrived.
    explore(&|probe| _ = T::deserialize(probe), &mut Vec::new())
}

/// The schemas of types that hold another type flattened: serde does not name their fields.
fn flattened(expected: &str) -> Value {
    let (mut schema, own) = match expected {
        "struct Stored" => (of::<Record>(), vec![("id", of::<String>())]),
        "struct LiveAnswer" => {
            let temporary = ("temporary", of::<Option<TemporaryEntry>>());
            let kernel = ("kernel", of::<KernelAnswer>());
            (of::<Answer>(), vec![temporary, kernel, ("agree", of::<bool>())])
        }
        _ => (json!({"type": "object"}), Vec::new()),
    };
    for (name, field) in own {
        schema["properties"][name] = field;
        schema["title"] = expected.trim_start_matches("struct ").into();
    }
    schema
}

/// The deepest nesting that is described.
const DEEPEST: usize = 12;

/// What a type asks for at one place within it.
enum Shape {
    Value(Value),
    Nullable,
    List,
    Object(&'static str, &'static [&'static str]),
}

/// Describes what is at the end of a path, by one run of the type's own deserialization for
/// each place: a run goes to one place and ends there.
fn explore(run: &dyn Fn(Probe<'_>), path: &mut Vec<usize>) -> Value {
    let mut found = None;
    run(Probe { path, found: &mut found });
    let mut inside = |index| {
        path.push(index);
        let schema = if path.len() > DEEPEST { json!({}) } else { explore(run, path) };
        path.pop();
        schema
    };
    match found {
        None => json!({}),
        Some(Shape::Value(schema)) => schema,
        Some(Shape::Nullable) => json!({"anyOf": [inside(0), {"type": "null"}]}),
        Some(Shape::List) => json!({"type": "array", "items": inside(0)}),
        Some(Shape::Object(name, fields)) => {
            let fields = fields.iter().enumerate();
            let properties: Map<_, _> =
                fields.map(|(index, field)| ((*field).to_owned(), inside(index))).collect();
            json!({"title": name, "type": "object", "properties": properties})
        }
    }
}

/// A deserializer without data, which follows a path and notes what a type asks for there.
struct Probe<'a> {
    path: &'a [usize],
    found: &'a mut Option<Shape>,
}

impl<'a> Probe<'a> {
    /// Notes the shape at the end of the path; before that, says which way to go.
    fn at(self, shape: Shape) -> Result<(usize, Self), Error> {
        match self.path.split_first() {
            None => {
                *self.found = Some(shape);
                Err(Error::custom("a probe has no data"))
            }
            Some((index, path)) => Ok((*index, Self { path, found: self.found })),
        }
    }

    fn value<T>(self, schema: Value) -> Result<T, Error> {
        self.at(Shape::Value(schema))?;
        Err(Error::custom("there is nothing within a value"))
    }
}

/// Methods for types that hold nothing else.
macro_rules! values {
    ($($method:ident)* => $schema:expr) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            self.value($schema)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    values!(deserialize_any deserialize_identifier deserialize_ignored_any => json!({}));
    values!(deserialize_bytes deserialize_byte_buf => json!({}));
    values!(deserialize_bool => json!({"type": "boolean"}));
    values!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        => json!({"type": "integer"}));
    values!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        => json!({"type": "integer", "minimum": 0}));
    values!(deserialize_f32 deserialize_f64 => json!({"type": "number"}));
    values!(deserialize_char deserialize_str deserialize_string => json!({"type": "string"}));
    values!(deserialize_unit => json!({"type": "null"}));

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: V,
    ) -> Result<V::Value, Error> {
        self.value(json!({"type": "null"}))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.value(json!({"title": name, "type": "string", "enum": variants}))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (_, probe) = self.at(Shape::Nullable)?;
        visitor.visit_some(probe)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (_, probe) = self.at(Shape::List)?;
        visitor.visit_seq(Within { key: "", probe: Some(probe) })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value(flattened(&(&visitor as &dyn Expected).to_string()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (index, probe) = self.at(Shape::Object(name, fields))?;
        let key = fields.get(index).copied().unwrap_or_default();
        visitor.visit_map(Within { key, probe: Some(probe) })
    }
}

/// The one item, or the one field by its name, that a path leads through.
struct Within<'a> {
    key: &'static str,
    probe: Option<Probe<'a>>,
}

impl Within<'_> {
    fn value<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let probe = self.probe.take().ok_or_else(|| Error::custom("a probe goes one way"))?;
        seed.deserialize(probe)
    }
}

impl<'de> SeqAccess<'de> for Within<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.value(seed).map(Some)
    }
}

impl<'de> MapAccess<'de> for Within<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        seed.deserialize(self.key.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.value(seed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use serde::Deserialize;

    use super::*;
    use crate::control::protocol::LiveAnswer;
    use crate::record::{Reason, Stage, Status, Stored};

    #[derive(Deserialize)]
    struct Known {
        #[serde(rename = "first")]
        _one: u64,
        #[serde(default, rename = "second")]
        _two: Option<Vec<Inner>>,
    }

    #[derive(Deserialize)]
    struct Inner {
        _address: IpAddr,
        _status: Status,
    }

    #[test]
    fn a_schema_has_the_fields_of_its_type_however_deep() {
        let status = json!({
            "title": "Status", "type": "string",
            "enum": ["temporary", "permanent", "dropped", "delivered"],
        });
        let inner = json!({
            "title": "Inner", "type": "object",
            "properties": {"_address": {"type": "string"}, "_status": status},
        });
        let second = json!({"anyOf": [{"type": "array", "items": inner}, {"type": "null"}]});
        let known = json!({
            "title": "Known", "type": "object",
            "properties": {"first": {"type": "integer", "minimum": 0}, "second": second},
        });
        assert_eq!(of::<Known>(), known);
        assert_eq!(of::<Vec<Known>>(), json!({"type": "array", "items": known}));
    }

    /// What serde does not tell of flattened types is what they write.
    #[test]
    fn flattened_types_have_the_fields_that_they_write() {
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect();
        let ip = IpAddr::from([192, 0, 2, 1]);
        let record =
            Record::new(1, ip, Status::Delivered, Stage::read("backend"), Reason::Accepted);
        let written: BTreeSet<String> =
            names(&serde_json::to_value(Stored { id: 1, record }).unwrap());
        let described: BTreeSet<String> = names(&of::<Stored>()["properties"]);
        assert!(written.is_subset(&described), "{written:?} {described:?}");
        let text = json!({
            "ip": ip, "class": "none", "action": "pass", "listed": [], "agree": true,
            "kernel": {"reason": "unlisted", "action": "pass", "listed": []},
        });
        let live: LiveAnswer = serde_json::from_value(text).unwrap();
        let written: BTreeSet<String> = names(&serde_json::to_value(live).unwrap());
        let described: BTreeSet<String> = names(&of::<LiveAnswer>()["properties"]);
        assert!(written.is_subset(&described), "{written:?} {described:?}");
    }
}
