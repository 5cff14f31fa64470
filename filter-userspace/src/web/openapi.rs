//! The description of the API for programs: OpenAPI 3.1, from the table of endpoints.

use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::schema::Schema;
use crate::config::web::Rights;

/// Describes endpoints.
pub(super) fn describe(endpoints: &[Endpoint]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let methods = paths.entry(endpoint.path.to_owned()).or_insert_with(|| json!({}));
        methods[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint);
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

fn operation(endpoint: &Endpoint) -> Value {
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
        let schema = Schema::Choice(&["approved", "blocked"]).json();
        parameters.push(json!({"name": "list", "in": "path", "required": true, "schema": schema}));
    }
    let method = endpoint.method.as_str().to_ascii_lowercase();
    let name = endpoint.path.strip_prefix("/api/v1").unwrap_or(endpoint.path);
    let rights = match endpoint.rights {
        Rights::None => "Needs no token.",
        Rights::Read => "Needs the right to read.",
        Rights::Write => "Needs the right to write.",
    };
    let mut operation = json!({
        "summary": endpoint.summary, "description": rights, "parameters": parameters, "responses": responses(endpoint),
        "operationId": format!("{method}{}", name.replace(['/', '{', '}', '.'], "_")),
    });
    if let Some([body, _]) = endpoint.body {
        let content = json!({"application/json": {"schema": body()}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    if endpoint.rights == Rights::None {
        operation["security"] = json!([]);
    }
    operation
}

/// The errors of a request.
const ERRORS: [(&str, &str); 10] = [
    ("400", "The request is invalid"),
    ("401", "The request has no valid token"),
    ("403", "The token does not have the right, or a page of another site sent the request"),
    ("404", "There is no such entry or path"),
    ("405", "The path does not support the method"),
    ("408", "The request body did not arrive in time"),
    ("409", "The configuration or a list has errors"),
    ("413", "The request body is too large"),
    ("429", "The client sends too many requests"),
    ("503", "The daemon or the kernel cannot carry out the request"),
];

/// The endpoints as a table in Markdown.
pub(super) fn table(endpoints: &[Endpoint]) -> String {
    let mut text = String::from("| method and path | rights | purpose |\n|---|---|---|\n");
    for Endpoint { method, path, rights, summary, .. } in endpoints {
        let rights = match rights {
            Rights::None => "none",
            Rights::Read => "read",
            Rights::Write => "write",
        };
        text.push_str(&format!("| {method} `{path}` | {rights} | {summary} |\n"));
    }
    text
}

fn responses(endpoint: &Endpoint) -> Value {
    let (kind, schema) = endpoint.reply.content();
    let mut responses = json!({
        "200": {"description": "The request succeeded", "content": {kind: {"schema": schema}}},
    });
    if endpoint.rights == Rights::None {
        responses["503"] = json!({"description": "mxdp is not ready"});
        return responses;
    }
    for (status, meaning) in ERRORS {
        responses[status] = json!({
            "description": meaning,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        });
    }
    responses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::endpoint::Reply;
    use crate::web::endpoints::ENDPOINTS;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = describe(&ENDPOINTS);
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

    /// Every JSON reply is described by its type, and every endpoint by a summary.
    #[test]
    fn every_reply_has_a_schema() {
        for endpoint in ENDPOINTS.iter() {
            assert!(!endpoint.summary.is_empty(), "{}", endpoint.path);
            if let Reply::Json(_) | Reply::Warned(_) = endpoint.reply {
                let (_, schema) = endpoint.reply.content();
                assert!(schema["type"].is_string(), "{}: {schema}", endpoint.path);
                assert!(endpoint.path == "/openapi.json" || is_whole(&schema), "{schema}");
            }
        }
    }

    /// Whether every part of a schema is described.
    fn is_whole(schema: &Value) -> bool {
        let is_known = match schema["type"].as_str() {
            Some("object") => schema["properties"].is_object(),
            Some("array") => is_whole(&schema["items"]),
            Some(_) => true,
            None => schema["anyOf"].as_array().is_some_and(|any| any.iter().all(is_whole)),
        };
        let fields = schema["properties"].as_object();
        is_known && fields.is_none_or(|fields| fields.values().all(is_whole))
    }

    /// `MXDP_WRITE=1 cargo test -p filter-userspace the_committed_description` writes it anew.
    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&describe(&ENDPOINTS)).unwrap());
        if std::env::var_os("MXDP_WRITE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "docs/openapi.json is outdated");
    }
}
