//! Mail servers behind the proxy, and what their replies mean.

mod openings;
mod recipients;
mod replies;
