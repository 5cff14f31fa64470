//! A request to the API, as every handler receives it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request as HttpRequest};
use axum::http::header;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::{Answer, Answered};
use crate::control::protocol::{Failure, FailureKind, Request, RuntimeList};
use crate::web::access::Caller;
use crate::web::error::ApiError;
use crate::web::parts::Parts;
use crate::web::site::Site;

/// A request: who sent it, its parameters and its body.
pub(in crate::web) struct Asked {
    /// The parameters of the query string.
    pub(in crate::web) parts: Parts,
    pub(super) site: Arc<Site>,
    pub(super) caller: Caller,
    /// The part of the path in braces.
    list: Option<String>,
    content_type: Option<String>,
    body: Bytes,
}

/// The body of a request: its type reads it, and says what it may hold.
pub(in crate::web) trait Body: DeserializeOwned {
    /// The JSON schema.
    fn schema() -> Value;
}

impl FromRequest<Arc<Site>> for Asked {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, site: &Arc<Site>) -> Result<Self, ApiError> {
        let (mut http, body) = request.into_parts();
        let caller = http.extensions.get::<Caller>().cloned().ok_or_else(|| {
            let message = "the caller of this request is unknown".to_owned();
            ApiError(Failure { kind: FailureKind::System, message })
        })?;
        let parts = Parts::of(http.uri.query())?;
        let list = Path::<String>::from_request_parts(&mut http, site).await;
        let content_type = http.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|it| it.to_str().ok()).map(str::to_owned);
        let body = Bytes::from_request(HttpRequest::from_parts(http, body), site).await;
        let body = body.map_err(|error| ApiError::bad_request(error.body_text()))?;
        let list = list.ok().map(|Path(name)| name);
        Ok(Self { parts, site: site.clone(), caller, list, content_type, body })
    }
}

impl Asked {
    /// Sends a question to the daemon and decodes its reply.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, ApiError> {
        Ok(self.site.ask(request, self.caller.peer()).await?)
    }

    /// Sends a question to the daemon and passes its reply on.
    pub(super) async fn answer<T: DeserializeOwned>(&self, request: Request) -> Answered<T> {
        self.ask(request).await.map(Answer::of)
    }

    /// The list that the path names.
    pub(super) fn list(&self) -> Result<RuntimeList, ApiError> {
        match self.list.as_deref() {
            Some("approved") => Ok(RuntimeList::Approved),
            Some("blocked") => Ok(RuntimeList::Blocked),
            _ => Err(ApiError::bad_request("the lists are `approved` and `blocked`")),
        }
    }

    /// Reads the body.
    pub(in crate::web) fn body<B: Body>(&self) -> Result<B, ApiError> {
        // A form of another site cannot send this type.
        let kind = self.content_type.as_deref().and_then(|kind| kind.split(';').next());
        if kind.map(str::trim) != Some("application/json") {
            return Err(ApiError::bad_request("the body must be application/json"));
        }
        let value = serde_json::from_slice(&self.body);
        value.map_err(|error| ApiError::bad_request(format!("invalid body: {error}")))
    }
}
