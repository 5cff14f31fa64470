//! Mail servers behind the proxy, and what their replies mean.

mod names;
mod openings;
mod recipients;
mod replies;
