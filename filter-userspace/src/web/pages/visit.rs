//! A visit of a page, as every handler receives it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts as HttpParts;
use serde::de::DeserializeOwned;

use super::failure::PageError;
use super::layout::Frame;
use crate::control::protocol::{Failure, FailureKind, Request};
use crate::web::access::Caller;
use crate::web::error::ApiError;
use crate::web::parts::Parts;
use crate::web::site::Site;

/// Who visits which page, with which parameters.
pub(super) struct Visit {
    pub(super) site: Arc<Site>,
    pub(super) caller: Caller,
    /// The parameters of the query string.
    pub(super) parts: Parts,
    pub(super) frame: Frame,
}

impl FromRequestParts<Arc<Site>> for Visit {
    type Rejection = PageError;

    async fn from_request_parts(http: &mut HttpParts, site: &Arc<Site>) -> Result<Self, PageError> {
        let frame = http.extensions.get::<Frame>().copied().unwrap_or_default();
        let caller = http.extensions.get::<Caller>().cloned().ok_or_else(|| {
            let message = "the caller of this request is unknown".to_owned();
            PageError { frame, failure: Failure { kind: FailureKind::System, message } }
        })?;
        let parts = Parts::of(http.uri.query());
        let parts = parts.map_err(|error| PageError { frame, failure: error.0 })?;
        Ok(Self { site: site.clone(), caller, parts, frame })
    }
}

impl Visit {
    /// Sends a question to the daemon. The page states the type of the reply that it needs;
    /// a failure takes the place of the page.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, PageError> {
        self.try_ask(request).await.map_err(|failure| self.failure(failure))
    }

    /// The same, for a page that shows the failure itself.
    pub(super) async fn try_ask<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<T, Failure> {
        self.site.ask(request, self.caller.peer()).await
    }

    /// Refuses parameters that the page does not have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), PageError> {
        self.parts.only(known).map_err(|error| self.error(error))
    }

    /// What is shown instead of the page.
    pub(super) const fn failure(&self, failure: Failure) -> PageError {
        PageError { frame: self.frame, failure }
    }

    /// The same, of a request that is wrong.
    pub(super) fn error(&self, error: ApiError) -> PageError {
        self.failure(error.0)
    }
}
