//! What an endpoint is: one row of the table of everything that a program may call.

use std::sync::Arc;

use axum::http::Method;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::answer::Answered;
use super::api::asked::{Asked, Body};
use super::error::ApiError;
use super::schema::{self, Schema};
use super::site::Site;
use crate::config::web::Rights;

/// A parameter: its name, its type, whether it is required, and its meaning.
pub(super) type Parameter = (&'static str, Schema, bool, &'static str);

/// One thing that a program may call.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// What a caller needs; [`Rights::None`] answers without a token.
    pub(super) rights: Rights,
    /// The parameters of the query. Others are refused.
    pub(super) query: &'static [Parameter],
    /// The schema of the body as it is described, and as its type reads it.
    pub(super) body: Option<[fn() -> Value; 2]>,
    pub(super) reply: Reply,
    pub(super) handler: MethodRouter<Arc<Site>>,
}

/// What a successful request receives.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// JSON with a schema.
    Json(fn() -> Value),
    /// JSON with a schema, and possibly a member `warning`.
    Warned(fn() -> Value),
    /// A text of a media type.
    Text(&'static str),
}

impl Reply {
    /// The media type and the schema.
    pub(super) fn content(self) -> (&'static str, Value) {
        match self {
            Self::Text(kind) => (kind, json!({"type": "string"})),
            Self::Json(schema) => ("application/json", schema()),
            Self::Warned(schema) => {
                let mut schema = schema();
                schema["properties"]["warning"] = json!({"type": "string"});
                ("application/json", schema)
            }
        }
    }
}

impl Endpoint {
    /// A question. It needs the right to read.
    pub(super) fn get<T, F>(
        path: &'static str,
        summary: &'static str,
        query: &'static [Parameter],
        handler: fn(Asked) -> F,
    ) -> Self
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = Answered<T>> + Send + 'static,
    {
        let (method, reply) = (Method::GET, Reply::Json(schema::of::<T>));
        let handler = on(MethodFilter::GET, move |asked| checked(asked, query, handler));
        Self { method, path, summary, rights: Rights::Read, query, body: None, reply, handler }
    }

    /// A question whose reply is a text. It needs the right to read.
    pub(super) fn get_text<F>(
        path: &'static str,
        summary: &'static str,
        query: &'static [Parameter],
        kind: &'static str,
        handler: fn(Asked) -> F,
    ) -> Self
    where
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        let (method, reply) = (Method::GET, Reply::Text(kind));
        let handler = on(MethodFilter::GET, move |asked| checked(asked, query, handler));
        Self { method, path, summary, rights: Rights::Read, query, body: None, reply, handler }
    }

    /// A change without a body. It needs the right to write.
    pub(super) fn change<T, F>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        query: &'static [Parameter],
        handler: fn(Asked) -> F,
    ) -> Self
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = Answered<T>> + Send + 'static,
    {
        let filter =
            if method == Method::DELETE { MethodFilter::DELETE } else { MethodFilter::POST };
        let reply = Reply::Json(schema::of::<T>);
        let handler = on(filter, move |asked| checked(asked, query, handler));
        Self { method, path, summary, rights: Rights::Write, query, body: None, reply, handler }
    }

    /// A change with a body of JSON. It needs the right to write.
    pub(super) fn post<B, T, F>(
        path: &'static str,
        summary: &'static str,
        handler: fn(Asked, B) -> F,
    ) -> Self
    where
        B: Body + Send + 'static,
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = Answered<T>> + Send + 'static,
    {
        let (method, reply) = (Method::POST, Reply::Json(schema::of::<T>));
        let body: Option<[fn() -> Value; 2]> = Some([B::schema, schema::of::<B>]);
        let run = move |asked: Asked| async move {
            asked.parts.only(&[])?;
            let body = asked.body::<B>()?;
            handler(asked, body).await
        };
        let handler = on(MethodFilter::POST, run);
        let (rights, query) = (Rights::Write, &[][..]);
        Self { method, path, summary, rights, query, body, reply, handler }
    }

    /// What a monitoring system fetches, with the rights that it needs.
    pub(super) fn plain(
        path: &'static str,
        summary: &'static str,
        rights: Rights,
        reply: Reply,
        handler: MethodRouter<Arc<Site>>,
    ) -> Self {
        Self { method: Method::GET, path, summary, rights, query: &[], body: None, reply, handler }
    }

    /// The reply may have a member `warning`.
    pub(super) fn warns(mut self) -> Self {
        if let Reply::Json(schema) = self.reply {
            self.reply = Reply::Warned(schema);
        }
        self
    }

    /// Whether a path is that of this row, whose parts in braces match any part.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        let same = self.path.split('/').all(|known| {
            let part = parts.next();
            part.is_some_and(|part| part == known || known.starts_with('{') && !part.is_empty())
        });
        same && parts.next().is_none()
    }
}

/// Refuses parameters that the row does not have, and runs its handler.
async fn checked<R, F>(
    asked: Asked,
    query: &'static [Parameter],
    handler: fn(Asked) -> F,
) -> Result<R, ApiError>
where
    F: Future<Output = Result<R, ApiError>> + Send,
{
    let known: Vec<_> = query.iter().map(|parameter| parameter.0).collect();
    asked.parts.only(&known)?;
    handler(asked).await
}
