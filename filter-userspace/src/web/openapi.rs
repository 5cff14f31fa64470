//! The description of the API for programs: OpenAPI 3.1.

use axum::Json;
use serde_json::{Map, Value, json};

use super::parts::{SIZE_LIMIT, VALUE_LIMIT};
use crate::control::protocol::TEMPORARY_LIMIT_S;
use crate::record::PAGE_LIMIT;
use crate::runtime::{LONGEST_S, NOTE_LIMIT};

/// A path of the API.
struct Endpoint {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Parts of the query: name, schema, whether it is needed, meaning.
    query: &'static [(&'static str, Schema, bool, &'static str)],
    /// The body, if there is one.
    body: Option<fn() -> Value>,
}

#[derive(Clone, Copy)]
enum Schema {
    Text,
    /// Text that is not empty.
    Filled,
    Ip,
    Network,
    /// How many are wanted.
    Number,
    /// The size of a message.
    Size,
    Flag,
    Choice(&'static [&'static str]),
}

impl Schema {
    fn json(self) -> Value {
        match self {
            Self::Text => json!({"type": "string", "maxLength": VALUE_LIMIT}),
            Self::Filled => json!({"type": "string", "minLength": 1, "maxLength": VALUE_LIMIT}),
            Self::Ip => ip(),
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

fn ip() -> Value {
    json!({
        "type": "string", "example": "192.0.2.7",
        "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
    })
}

use Schema::{Choice, Filled, Flag, Ip, Network, Number, Size, Text};

/// The parts of a search.
const SEARCH: &[(&str, Schema, bool, &str)] = &[
    ("type", Choice(&["blocked", "accepted"]), false, "One view only"),
    ("since", Text, false, "Start: 24h, 7d, 2026-11-23, 2026-11-23T04:14:07Z"),
    ("until", Text, false, "End (exclusive)"),
    ("direction", Choice(&["inbound", "outgoing"]), false, "One direction only"),
    ("status", Text, false, "temporary, permanent, dropped or delivered, separated by commas"),
    ("stage", Text, false, "Stages, separated by commas"),
    ("reason", Text, false, "Reasons, separated by commas"),
    ("ip", Network, false, "A client or network"),
    ("country", Text, false, "Country codes, separated by commas; `none` if it is not known"),
    ("sender", Text, false, "The envelope sender, `*` for any text; `<>` is the null sender"),
    ("recipient", Text, false, "The envelope recipient, `*` for any text"),
    ("reference", Text, false, "A reference or session"),
    ("text", Text, false, "Words of Subject or Message-ID"),
    ("after", Text, false, "Newer than this `id`"),
    ("before", Text, false, "Older than this `id`; `next` of the page before"),
    ("limit", Number, false, "Maximum number of entries of a page; default 50"),
];

/// The parts of an export, which has all pages.
const EXPORT: &[(&str, Schema, bool, &str)] = SEARCH.split_at(SEARCH.len() - 2).0;

const NONE: &[(&str, Schema, bool, &str)] = &[];

/// The parts of a question for a long list. Where the next part is, a Link header says.
const PART: &[(&str, Schema, bool, &str)] = &[
    ("search", Text, false, "An address, a network, or a word of the note"),
    ("after", Network, false, "Behind this network; the Link header of relation `next` has it"),
    ("limit", Number, false, "Maximum number of entries; default 1000"),
];

const ENDPOINTS: [Endpoint; 18] = [
    of("get", "/status", "State of the daemon", NONE),
    of("get", "/traffic", "The newest records of a search, a page at a time", SEARCH),
    of(
        "get",
        "/traffic.csv",
        "The records of a search as CSV; with more than 100,000 it ends before its time",
        EXPORT,
    ),
    of(
        "get",
        "/summary",
        "What happened in a time, summed up in steps",
        &[
            ("since", Text, false, "Start; default 24h"),
            ("until", Text, false, "End (exclusive); default now"),
        ],
    ),
    of(
        "get",
        "/changes",
        "Changes that operators made, newest first",
        &[("limit", Number, false, "Maximum number of changes; default 50")],
    ),
    of(
        "get",
        "/lookup",
        "What the lists and the kernel do with an address",
        &[("ip", Ip, true, "Which")],
    ),
    of(
        "get",
        "/explain",
        "What would happen to a message, stage by stage",
        &[
            ("ip", Ip, true, "The client"),
            ("rcpt", Filled, true, "The envelope recipient"),
            ("from", Text, false, "The envelope sender; nothing is the null sender"),
            ("helo", Text, false, "The client's HELO name"),
            ("size", Size, false, "The size that MAIL declares, in bytes"),
            ("tls", Choice(&["none", "1.2", "1.3"]), false, "The version of TLS"),
            ("certificate", Flag, false, "Whether it shows a valid certificate"),
            ("relay", Flag, false, "Whether the message is outgoing"),
        ],
    ),
    of("get", "/entries/{list}", "The managed entries of a list, a part at a time", PART),
    Endpoint {
        body: Some(addition),
        ..of("post", "/entries/{list}", "Adds or replaces a runtime entry", NONE)
    },
    of(
        "delete",
        "/entries/{list}",
        "Removes a runtime entry",
        &[("prefix", Network, true, "The network, as it is listed")],
    ),
    of("get", "/temporary", "The temporary blocks, a part at a time", PART),
    Endpoint {
        body: Some(block),
        ..of("post", "/temporary", "Blocks an address temporarily", NONE)
    },
    of("delete", "/temporary", "Lifts a temporary block", &[("address", Ip, true, "Which")]),
    of("get", "/relay", "Suspended relay hosts", NONE),
    Endpoint {
        body: Some(resumed),
        ..of("post", "/relay/resume", "Resumes suspended relay hosts", NONE)
    },
    of(
        "post",
        "/reload",
        "Reloads configuration and lists",
        &[(
            "accept",
            Text,
            false,
            "A file, `ldap:NAME` or `spf:DOMAIN`, accepted however little it has left",
        )],
    ),
    of("get", "/../../healthz", "Whether mxdp runs; needs no token", NONE),
    of("get", "/../../readyz", "Whether the filter and a backend are up; needs no token", NONE),
];

const fn of(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, Schema, bool, &'static str)],
) -> Endpoint {
    Endpoint { method, path, summary, query, body: None }
}

fn addition() -> Value {
    json!({
        "type": "object", "required": ["prefix"], "additionalProperties": false,
        "properties": {
            "prefix": Network.json(),
            "note": {"type": ["string", "null"], "maxLength": NOTE_LIMIT},
            "expires_in_s": {"type": ["integer", "null"], "minimum": 1, "maximum": LONGEST_S},
            "permanent": {"type": "boolean"},
            "force": {"type": "boolean"},
        },
    })
}

fn block() -> Value {
    json!({
        "type": "object", "required": ["address", "seconds"], "additionalProperties": false,
        "properties": {
            "address": ip(),
            "seconds": {"type": "integer", "minimum": 1, "maximum": TEMPORARY_LIMIT_S},
            "force": {"type": "boolean"},
        },
    })
}

fn resumed() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "address": {"anyOf": [ip(), {"type": "null"}]},
            "customer": {"type": ["string", "null"]},
            "all": {"type": "boolean"},
        },
    })
}

pub(super) async fn document() -> Json<Value> {
    Json(whole())
}

fn whole() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in &ENDPOINTS {
        let outside = endpoint.path.strip_prefix("/../..");
        let path = outside.map_or(format!("/api/v1{}", endpoint.path), str::to_owned);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(endpoint.method.to_owned(), operation(endpoint, outside.is_some()));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mxdp", "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": {
                "type": "object", "required": ["error"],
                "properties": {"error": {
                    "type": "object", "required": ["kind", "message"],
                    "properties": {"kind": {"type": "string"}, "message": {"type": "string"}},
                }},
            }},
        },
        "security": [{"token": []}, {}],
    })
}

fn operation(endpoint: &Endpoint, is_open: bool) -> Value {
    let mut parameters: Vec<_> = endpoint
        .query
        .iter()
        .map(|(name, schema, required, meaning)| {
            json!({
                "name": name, "in": "query", "required": required,
                "description": meaning, "schema": schema.json(),
            })
        })
        .collect();
    if endpoint.path.contains("{list}") {
        let schema = Choice(&["approved", "blocked"]).json();
        parameters.push(json!({"name": "list", "in": "path", "required": true, "schema": schema}));
    }
    let kind = match endpoint.path {
        _ if is_open => "text/plain",
        "/traffic.csv" => "text/csv",
        _ => "application/json",
    };
    let schema = if kind == "application/json" { json!({}) } else { json!({"type": "string"}) };
    let error = json!({
        "description": "Error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    let mut responses = json!({
        "200": {"description": "Success", "content": {kind: {"schema": schema}}},
    });
    if is_open {
        responses["503"] = json!({"description": "Not ready"});
    } else {
        for status in ["400", "401", "403", "404", "405", "408", "409", "413", "429", "503"] {
            responses[status] = error.clone();
        }
    }
    let mut operation = json!({
        "summary": endpoint.summary, "parameters": parameters, "responses": responses,
        "operationId": format!("{}{}", endpoint.method, endpoint.path.replace(['/', '{', '}', '.'], "_")),
    });
    if let Some(body) = endpoint.body {
        let content = json!({"application/json": {"schema": body()}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_the_parts_of_a_query() {
        let named: Vec<_> = SEARCH.iter().map(|part| part.0).collect();
        assert_eq!(named.len(), crate::record::PARTS.len());
        assert!(crate::record::PARTS.iter().all(|part| named.contains(part)));
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = whole();
        let paths = document["paths"].as_object().unwrap();
        let names: Vec<_> = paths
            .values()
            .flat_map(|methods| methods.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!((names.len(), unique.len()), (ENDPOINTS.len(), ENDPOINTS.len()));
        assert!(paths.contains_key("/healthz") && paths.contains_key("/api/v1/traffic"));
    }
}
